"""Every run file trains, under the overlay that makes it short, and reports what the contract promises."""

import pytest
import reading
from running import CHECKOUT

pytestmark = pytest.mark.process

KINDS = {"startup", "compilation", "stepping", "data", "evaluation", "checkpoint", "other"}
FILES = sorted(path.name for path in (CHECKOUT / "gin" / "runs").glob("*.gin"))


@pytest.mark.parametrize("name", FILES)
def test_a_run_file_trains(convoy, tmp_path, name):
    run_dir = tmp_path / "run"
    files = (f"--gin_file=runs/{name}", "--gin_file=overlays/tiny.gin")
    result = convoy(*files, f"--run_dir={run_dir}", cwd=tmp_path)
    assert result.code == 0, result.err
    report = reading.report(run_dir)
    assert report.keys() >= {
        "step", "examples_seen", "metrics", "examples_per_second", "num_replicas", "attempts", "goodput",
        "input_digest", "versions",
    }  # fmt: skip
    assert (report["step"], report["attempts"], report["num_replicas"]) == (6, 1, 1)
    assert 0 < report["examples_seen"] <= 48
    assert report["metrics"] and report["examples_per_second"] > 0
    assert report["goodput"].keys() >= KINDS and sum(report["goodput"].values()) > 0
    assert int(report["input_digest"], 16)
    assert {"tensorflow", "keras"} <= report["versions"].keys()
    assert reading.checkpoints(run_dir) == [6]
    assert (run_dir / "config.gin").exists() and (run_dir / "operative_config.gin").exists()
    assert reading.scalars(run_dir, "train")
