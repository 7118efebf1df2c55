"""Kills a run at random moments, and starts the same command again each time. By hand:

    python tests/process/campaign.py --kills=30 --seed=7

runs it undisturbed too, and compares: weights, input digest, TensorBoard. With --s3 its run directory is on an object
store. With --workers it is one run on two Ray workers, which are killed, stopped (SIGSTOP) and made to hang in a step in
turn.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cluster
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


def run(command: Callable[[], Run], place, kills: int, seed: int, say=print) -> Campaign:
    """Kills `kills` processes and lets the one after them finish.

    The moments take turns, so that a few kills meet them all; what is drawn is their order and the delays.

    place: the run directory, as reading.OnDisk or reading.OnS3.
    """
    chance = random.Random(seed)
    moments: list[str] = []
    while len(moments) < kills:
        moments += chance.sample(MOMENTS, len(MOMENTS))
    done = []
    for number, moment in enumerate(moments[:kills]):
        process = command()
        try:
            _wait(process, moment, number * user_code.TOTAL // (kills + 1), place, chance)
            assert process.process.poll() is None, f"{moment}: ended by itself\n{process.output}"
            process.kill()
            process.wait()
        finally:
            process.end()
        done.append(_describe(process, place, moment))
        say(f"kill {number + 1} of {kills}, seed {seed}: {done[-1]}")
    process = command()
    try:
        assert process.wait() == 0, process.output
    finally:
        process.end()
    return Campaign(done, 1 + sum(kill.worked for kill in done))


class WorkerKill(NamedTuple):
    """way: kill, stop or hang."""

    moment: str
    rank: int
    step: int
    way: str


def kill_workers(
    run, kills: int, seed: int, say=print, asked: Path | None = None, total: int = user_code.TOTAL
) -> list[WorkerKill]:
    """Kills a worker of a Ray run, `kills` times over its length, each time of another group that has shown itself.

    total: steps of the run.
    asked: the folder in which user_code's hanging network looks for whether to hang: a third of the workers are stopped
      instead, and another third hang.
    """
    chance, done, seen = random.Random(seed), [], 0
    moments: list[str] = []
    while len(moments) < kills:
        moments += chance.sample(MOMENTS, len(MOMENTS))
    for number, moment in enumerate(moments[:kills]):
        rank, first, delay = chance.randrange(2), number * total // (kills + 1), chance.random()
        _wait_for(run, lambda before=seen: run.groups() > before)
        seen, attempts = run.groups(), _begun(run)
        ways = ["kill", "stop"] + ["hang"] * (moment != "start-up")  # where a step is only tried
        way = chance.choice(ways) if asked is not None else "kill"
        for file in asked.iterdir() if asked is not None else ():
            file.unlink()  # whoever hung is gone
        begun = lambda before=attempts: _begun(run) > before
        if moment == "start-up":
            time.sleep(0.7 * delay)
        else:
            _wait_for(run, begun)
            if moment == "step":
                _wait_for(run, lambda first=first: run.step() >= first)
            elif moment == "evaluation":
                due = (max(run.step(), first) // user_code.EVALUATE_EVERY + 1) * user_code.EVALUATE_EVERY
                _wait_for(run, lambda due=due: run.step() >= due)
            elif moment == "saving":
                _wait_for(run, lambda first=first: run.step() >= first and reading.being_saved(run.run_dir))
            time.sleep(0.3 * delay if moment in ("compilation", "evaluation") else 0.02 * delay)
        assert run.process.poll() is None, run.output
        if way == "hang" and asked is not None:
            (asked / f"step_{rank}").touch()
        else:
            run.kill_worker(rank, signal.SIGSTOP if way == "stop" else signal.SIGKILL)
        done.append(WorkerKill(moment, rank, run.step(), way))
        say(f"kill {number + 1} of {kills}, seed {seed}: {done[-1]}")
    return done


def _begun(run) -> int:
    """How many attempts have begun so far."""
    return sum(line.startswith("run ") for line in list(run.out))


def _wait_for(run, condition: Callable[[], object]) -> None:
    for _ in forever():
        if condition() or run.process.poll() is not None:
            return


def _wait(process: Run, moment: str, first: int, place, chance: random.Random) -> None:
    """Waits for the moment, not before step `first` where it is one of training."""
    first, delay = max([first, *place.checkpoints()]), chance.random()
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
            if place.being_saved() or process.process.poll() is not None:
                break
        time.sleep(0.02 * delay)


def _wait_for_step(process: Run, step: int) -> None:
    for _ in forever():
        if process.step() >= step or process.process.poll() is not None:
            return


def _describe(process: Run, place, moment: str) -> Kill:
    saved = max(place.checkpoints(), default=-1)
    return Kill(moment, process.find("^run ") is not None, process.step(), saved, place.being_saved())


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", action="store_true", help="kill the workers of one run on Ray, not whole commands")
    parser.add_argument("--s3", action="store_true", help="the run directory is on S3, a server on loopback")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary:
        folder, killed, whole = (Path(temporary) / name for name in ("user", "killed", "whole"))
        folder.mkdir()
        user_code.write(folder)
        if options.workers:
            epochs = max(8, options.kills // 2)  # or the run would be over before all are killed
            _on_ray(folder, whole, 0, options.seed, epochs)
            _on_ray(folder, killed, options.kills, options.seed, epochs)
        else:
            _alone(folder, reading.OnDisk(whole), str(whole), 0, options.seed)
            if options.s3:
                sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
                import s3_server

                server = s3_server.Server()
                url = f"{server.bucket()}/killed"
                place = reading.OnS3(url, server.environment)
                attempts = _alone(folder, place, url, options.kills, options.seed, **server.environment)
                place.download(killed)
                server.close()
            else:
                attempts = _alone(folder, reading.OnDisk(killed), str(killed), options.kills, options.seed)
            assert reading.report(killed)["attempts"] == attempts, f"{attempts} processes got to work"
        reading.require_equal(whole, killed)
        report = reading.report(killed)
        print(
            f"the same as undisturbed, bit for bit: step {report['step']}, digest {report['input_digest']}; "
            f"{report['attempts']} attempts, {report['repeated_steps']} steps repeated, seconds: {report['goodput']}"
        )


def _alone(folder: Path, place, run_dir: str, kills: int, seed: int, **more: str) -> int:
    return run(lambda: Run(*user_code.LONG, f"--run_dir={run_dir}", cwd=folder, **more), place, kills, seed).attempts


def _on_ray(folder: Path, run_dir: Path, kills: int, seed: int, epochs: int) -> None:
    asked = folder / "asked"
    asked.mkdir(exist_ok=True)
    ray = cluster.RayRun(
        run_dir,
        *user_code.LONG,
        *cluster.TWO,
        "--gin_file=hanging.gin",
        f"--gin_param=EPOCHS = {epochs}",
        "--gin_param=restart_policy.RestartPolicy.without_progress = 20",
        "--gin_param=hang_detector.HangLimits.slow = 60",
        cwd=folder,
        HANG_IN=str(asked),
    )
    try:
        kill_workers(ray, kills, seed, asked=asked, total=epochs * user_code.EPOCH)
        for _ in forever(1800):  # on a busy machine, too
            if ray.process.poll() is not None:
                break
        assert ray.wait() == 0, ray.output
        ray.require_nothing_left()
    finally:
        ray.end()


if __name__ == "__main__":
    _main()
