"""What a run leaves behind, read as a user reads it: checkpoints, scalars, report.json, or nothing at all."""

import json
import re
from pathlib import Path


def report(run_dir: Path) -> dict:
    path = run_dir / "report.json"
    return json.loads(path.read_text()) if path.exists() else {}


def checkpoints(run_dir: Path) -> list[int]:
    """The steps of the committed checkpoints, in order."""
    return sorted(int(path.name[5:]) for path in (run_dir / "checkpoints").glob("step_????????"))


def being_saved(run_dir: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any((run_dir / "checkpoints").glob(".step_*"))


class OnDisk:
    """A run directory that is looked at while others write to it."""

    def __init__(self, run_dir: Path):
        self.run_dir = run_dir

    def checkpoints(self) -> list[int]:
        return checkpoints(self.run_dir)

    def being_saved(self) -> bool:
        return being_saved(self.run_dir)


class OnS3:
    """The same on an object store. url: of the run directory.  server: its endpoint and credentials."""

    def __init__(self, url: str, server: dict[str, str]):
        import s3fs

        self.url = url
        self.files = s3fs.S3FileSystem(
            key=server["AWS_ACCESS_KEY_ID"], secret=server["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=server["AWS_ENDPOINT_URL"], use_listings_cache=False, skip_instance_cache=True,
        )  # fmt: skip

    def _found(self) -> dict[str, set[str]]:
        """The names of the files of each checkpoint's folder, published or not."""
        found: dict[str, set[str]] = {}
        for path in self.files.find(f"{self.url}/checkpoints"):
            folder, _, name = path.rpartition("/")
            found.setdefault(folder.rpartition("/")[2], set()).add(name)
        return found

    def checkpoints(self) -> list[int]:
        return sorted({int(folder[5:13]) for folder, names in self._found().items() if "manifest.json" in names})

    def being_saved(self) -> bool:
        return any("manifest.json" not in names for names in self._found().values())

    def download(self, run_dir: Path) -> Path:
        """Copies all of it; checkpoints get the names that they would have on a disk."""
        root = self.url.removeprefix("s3://") + "/"
        for path in self.files.find(self.url):
            local = run_dir / re.sub(r"\.attempt_\d+/", "/", path.removeprefix(root))
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(self.files.cat_file(path))
        return run_dir


def tensors(run_dir: Path, step: int | None = None) -> dict:
    """The tensors of a checkpoint by name; the newest one's if no step is given."""
    import tensorflow as tf

    step = checkpoints(run_dir)[-1] if step is None else step
    reader = tf.train.load_checkpoint(str(run_dir / "checkpoints" / f"step_{step:08d}" / "state"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def require_equal_state(one: Path, other: Path) -> None:
    """The newest checkpoints of two runs are of the same step and hold the same tensors, bit for bit."""
    assert checkpoints(one)[-1] == checkpoints(other)[-1]
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert [name for name in a if a[name].tobytes() != b[name].tobytes()] == []


def require_equal(one: Path, other: Path) -> None:
    """Two runs came to the same: weights and all other state, what TensorBoard shows, and the report."""
    for key in ("status", "step", "examples_seen", "input_digest", "metrics"):
        assert report(one)[key] == report(other)[key], key
    require_equal_state(one, other)
    require_equal_scalars(one, other)
    assert not being_saved(other), "left half-written"


def scalars(run_dir: Path, which: str) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of its run `which`: (step, value) by tag, in the order of the steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    # 0: keep them all.  Nothing may hide what was written twice.
    events = EventAccumulator(str(run_dir / "tensorboard" / which), {"tensors": 0}, purge_orphaned_data=False)
    events.Reload()
    kinds = {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in events.Tags()["tensors"]}
    return {
        tag: sorted((event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag))
        for tag, kind in kinds.items()
        if kind == "scalars"
    }


def require_equal_scalars(one: Path, other: Path) -> None:
    """Two runs show every step of training and evaluation once, and the same losses and metrics."""
    for which, tags in (("train", ("loss", "accuracy", "learning_rate")), ("eval", ("loss", "accuracy"))):
        a, b = scalars(one, which), scalars(other, which)
        for tag in tags:
            steps = [step for step, _ in b[tag]]
            assert len(steps) == len(set(steps)), f"{which}/{tag}: a step more than once"
            assert a[tag] == b[tag], f"{which}/{tag}"


def snapshot(folder: Path) -> dict[str, bytes] | None:
    """Every file below a folder with its content, and every folder; None if there is none.

    Not the lock: its content is the number of the process that had it last.
    """
    if not folder.exists():
        return None
    paths = (path for path in folder.rglob("*") if path.name != ".lock")
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


def refuse(convoy, *arguments, says, run_dir, lines=1):
    """Runs the command, which must be refused with a message that has every text of `says` in it."""
    before = snapshot(run_dir)
    result = convoy(*arguments, f"--run_dir={run_dir}")
    assert result.code == 2, result.out + result.err
    assert result.err.startswith("error: ") and "Traceback" not in result.err
    assert lines is None or len(result.err.splitlines()) == lines, result.err
    for text in says:
        assert text in result.err
    assert snapshot(run_dir) == before, "something was written"
