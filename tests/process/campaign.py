"""Kills a run at random moments, and starts the same command again each time. By hand:

    python tests/process/campaign.py --kills=30 --seed=7

runs it undisturbed too, and compares: weights, input digest, TensorBoard.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import reading
import user_code
from running import Run, forever

# Each aims at another phase of a process's life.
MOMENTS = ("start-up", "compilation", "step", "saving", "evaluation")


class Kill(NamedTuple):
    """A kill that was done. step: of the last boundary seen.  saved: of the newest checkpoint; -1: none."""

    moment: str
    worked: bool
    step: int
    saved: int
    saving: bool


class Campaign(NamedTuple):
    """attempts: processes that had got to work, the last one included."""

    kills: list[Kill]
    attempts: int


def run(command: Callable[[], Run], run_dir: Path, kills: int, seed: int, say=print) -> Campaign:
    """Kills `kills` processes and lets the one after them finish.

    The moments take turns, so that a few kills meet them all; what is drawn is their order and the delays.
    """
    chance = random.Random(seed)
    moments: list[str] = []
    while len(moments) < kills:
        moments += chance.sample(MOMENTS, len(MOMENTS))
    done = []
    for number, moment in enumerate(moments[:kills]):
        process = command()
        try:
            _wait(process, moment, number * user_code.TOTAL // (kills + 1), run_dir, chance)
            assert process.process.poll() is None, f"{moment}: ended by itself\n{process.output}"
            process.kill()
            process.wait()
        finally:
            process.end()
        done.append(_describe(process, run_dir, moment))
        say(f"kill {number + 1} of {kills}, seed {seed}: {done[-1]}")
    process = command()
    try:
        assert process.wait() == 0, process.output
    finally:
        process.end()
    return Campaign(done, 1 + sum(kill.worked for kill in done))


def _wait(process: Run, moment: str, first: int, run_dir: Path, chance: random.Random) -> None:
    """Waits for the moment, not before step `first` where it is one of training."""
    first, delay = max([first, *reading.checkpoints(run_dir)]), chance.random()
    if moment == "start-up":
        time.sleep(6 * delay)
    elif moment == "compilation":
        process.wait_for("^steps ")
        time.sleep(delay)
    elif moment == "step":
        _wait_for_step(process, first + chance.randint(1, 20))
        time.sleep(0.02 * delay)
    elif moment == "evaluation":
        _wait_for_step(process, (first // user_code.EVALUATE_EVERY + 1) * user_code.EVALUATE_EVERY)
        time.sleep(0.5 * delay)
    elif moment == "saving":
        _wait_for_step(process, first + 1)
        for _ in forever():
            if reading.being_saved(run_dir) or process.process.poll() is not None:
                break
        time.sleep(0.02 * delay)


def _wait_for_step(process: Run, step: int) -> None:
    for _ in forever():
        if process.step() >= step or process.process.poll() is not None:
            return


def _describe(process: Run, run_dir: Path, moment: str) -> Kill:
    saved = max(reading.checkpoints(run_dir), default=-1)
    return Kill(moment, process.find("^run ") is not None, process.step(), saved,
                reading.being_saved(run_dir))  # fmt: skip


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as place:
        folder, killed, whole = (Path(place) / name for name in ("user", "killed", "whole"))
        folder.mkdir()
        user_code.write(folder)

        def command(run_dir):
            return lambda: Run(*user_code.LONG, f"--run_dir={run_dir}", cwd=folder)

        run(command(whole), whole, 0, options.seed)
        found = run(command(killed), killed, options.kills, options.seed)
        report = reading.report(killed)
        print(f"{found.attempts} processes got to work; the report counts {report['attempts']}")
        assert report["attempts"] == found.attempts
        reading.require_equal(whole, killed)
        print(f"the same as undisturbed, bit for bit: step {report['step']}, digest {report['input_digest']}")


if __name__ == "__main__":
    _main()
