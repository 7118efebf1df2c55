"""Every run file under every way to run it: two devices, two Ray workers, the check, a SIGKILL at a random moment.

    python tests/process/matrix.py FOLDER [--seed=1] [NAME …]

Takes about an hour for all of them, so it is no part of the tests. It is given where data/ is (benchmarks/tutorial_data.py);
FOLDER takes the runs. Prints a table, and ends with 1 if a cell is not as it should be. A run that is killed must come to
the same tensors as one that is not, bit for bit. Where a task draws random numbers for the batch as a whole, the check finds
that they differ between replicas, and says so: `samples`.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import reading  # noqa: E402

STEPS = 12
TINY = ("--gin_file=overlays/tiny.gin", f"--gin_param=experiment.run.steps = {STEPS}", "--gin_param=CHECKPOINT_EVERY = 2",
        "--gin_param=STEPS_PER_LOOP = 1", "--gin_param=SHARDS = 2")  # fmt: skip


def command(name: str, run_dir: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "trainer.main", f"--gin_file=runs/{name}.gin", *TINY, f"--run_dir={run_dir}", *more]


def begin(arguments: list[str], output: Path) -> subprocess.Popen:
    search = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with output.open("w") as file:
        return subprocess.Popen(
            arguments, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"PYTHONPATH": search, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip


def run(arguments: list[str], output: Path) -> int:
    return begin(arguments, output).wait()


def killed(name: str, folder: Path, whole: Path, chance: random.Random) -> str:
    """Kills a run twice, each time a random while after it has committed a checkpoint; then lets it end."""
    run_dir = folder / "killed"
    for number in (1, 2):
        process, before = begin(command(name, run_dir), folder / f"killed_{number}.txt"), reading.checkpoints(run_dir)
        while process.poll() is None and reading.checkpoints(run_dir) == before:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.5))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    kills = len([n for n in (1, 2) if "finished at" not in (folder / f"killed_{n}.txt").read_text()])
    if run(command(name, run_dir), folder / "killed_3.txt"):
        return "failed"
    a, b = reading.tensors(whole), reading.tensors(run_dir)
    differing = [key for key in a if key not in b or a[key].tobytes() != b[key].tobytes()]
    same = reading.report(whole)["input_digest"] == reading.report(run_dir)["input_digest"]
    return f"ok, {kills} kills" if not differing and same and a.keys() == b.keys() else f"differs: {differing[:2]}"


def row(name: str, folder: Path, chance: random.Random) -> list[str]:
    folder.mkdir(parents=True)
    found = ["ok" if run(command(name, folder / "one"), folder / "one.txt") == 0 else "failed"]
    for kind, flags in (
        ("mirrored", ["--strategy=mirrored"]),
        ("ray", ["--launcher=ray", "--num_workers=2", "--strategy=multi_worker"]),
    ):
        code = run(command(name, folder / kind, *flags), folder / f"{kind}.txt")
        replicas = reading.report(folder / kind).get("num_replicas") if code == 0 else None
        same = (
            code == 0
            and reading.report(folder / kind)["input_digest"] == reading.report(folder / "one")["input_digest"]
        )
        found.append("ok" if replicas == 2 and same else f"failed ({code}, {replicas} replicas)")
    code = run(command(name, folder / "check", "--mode=check"), folder / "check.txt")
    found.append("ok" if code == 0 else (folder / "check.txt").read_text().strip().splitlines()[-1][:60])
    return [*found, killed(name, folder, folder / "one", chance)]


def main(folder: Path, seed: int, names: list[str]) -> int:
    chance, bad = random.Random(seed), False
    print("| run | one | mirrored | ray | check | killed |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in names or sorted(path.stem for path in (ROOT / "gin" / "runs").glob("*.gin")):
        cells = row(name, folder / name, chance)
        bad |= any(not cell.startswith("ok") for cell in cells)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return int(bad)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a new one, for the run directories and what each command printed")
    parser.add_argument("names", nargs="*", help="run files; all, if none is named")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.folder.exists():
        parser.error(f"{options.folder} is there already: name a new folder (make campaign MATRIX_DIR=…)")
    sys.exit(main(options.folder.absolute(), options.seed, options.names))
