"""What docs/tasks.md shows whole is run as a user would copy it."""

import numpy as np
import pytest
import reading
from running import CHECKOUT

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A folder with every block of docs/tasks.md whose first line names a file."""
    folder, name, blocks = tmp_path_factory.mktemp("copied"), None, {}
    for line in (CHECKOUT / "docs" / "tasks.md").read_text().splitlines():
        if line.startswith("    # my"):
            name = line.removeprefix("    # ").strip()
            assert name not in blocks, f"{name} is shown twice"
            blocks[name] = []
        elif line and (not line.startswith("    ") or line.startswith("    $")):
            name = None
        elif name:
            blocks[name].append(line[4:])
    for name, lines in blocks.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    x = np.random.default_rng(0).normal(size=(64, 5)).astype(np.float32)
    np.savez(folder / "houses.npz", x_train=x, y_train=x.sum(axis=1), x_test=x, y_test=x.sum(axis=1))
    return folder


@pytest.mark.parametrize(
    "name, metrics",
    [
        ("my.gin", {"test/loss", "test/accuracy"}),
        ("my_regression.gin", {"test/loss", "test/mean_absolute_error"}),
        ("my_source.gin", {"test/loss"}),
        ("my_task.gin", {"test/loss", "test/sparse_categorical_accuracy"}),
        ("my_gan.gin", {"train/generator", "train/discriminator", "test/real"}),
    ],
)
def test_a_program_of_the_documents_trains(convoy, copied, tmp_path, name, metrics):
    run_dir = tmp_path / "run"
    done = convoy(f"--gin_file={name}", "--gin_param=EPOCHS = 1", f"--run_dir={run_dir}", cwd=copied)
    assert done.code == 0, done.err
    found = reading.report(run_dir)["metrics"]
    assert metrics <= set(found) and all(np.isfinite(value) for value in found.values())
