"""Checkpoints: bit-exact, committed whole or not at all, verified when read, and one before when one is bad."""

import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import EnvironmentTrouble, TrainingError, UsageError
from trainer.rundir.checkpoints import Checkpoints
from trainer.storage.local import LocalStore


def values(step):
    rng = np.random.default_rng(step)
    return {
        "models/model/dense/kernel": rng.normal(size=(50, 40)).astype(np.float32),
        "optimizers/loss/adam/iteration": np.array(step, np.int64),
        "input/digest": np.array(-(2**63) + step, np.int64),
        "epoch/loss/sum": np.array([np.nan, np.inf, -0.0, 5e-324]),
        "metrics/seen/0": np.array([True, False]),
        "actions/Evaluate/done": np.array(step, np.uint32),
        "empty": np.zeros((0, 3), np.float16),
    }


@pytest.fixture
def said():
    return []


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def new(tmp_path, said):
    """Opens the checkpoints as another attempt would."""
    return lambda attempt=1, **options: Checkpoints(LocalStore(tmp_path), attempt, said.append, **options)


@pytest.fixture
def saved(new, folder):
    """Checkpoints of steps 10, 20 and 30; returns their folder."""
    checkpoints = new()
    for step in (10, 20, 30):
        checkpoints.save(step, values(step), {"shards": step})
    checkpoints.wait()
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_restored_is_what_was_saved(saved, new, said):
    step, restored, notes, name = new().restore(set_bad_aside=True)
    assert (step, notes, name, said) == (30, {"shards": 30}, "step_00000030", [])
    assert restored.keys() == values(30).keys()
    for name, value in values(30).items():
        assert restored[name].dtype == value.dtype and restored[name].shape == value.shape
        assert restored[name].tobytes() == value.tobytes(), name


def test_tensorflow_reads_them(saved):
    reader = tf.train.load_checkpoint(str(saved / "step_00000020" / "state"))
    assert set(reader.get_variable_to_shape_map()) == set(values(20))
    assert (reader.get_tensor("models/model/dense/kernel") == values(20)["models/model/dense/kernel"]).all()


def test_nothing_to_restore(new, tmp_path):
    assert new().restore(set_bad_aside=True) is None
    assert Checkpoints(LocalStore(tmp_path / "not_there"), 1).restore(set_bad_aside=True) is None


@pytest.mark.parametrize("keep", [1, 2])
def test_the_newest_are_kept(new, folder, keep):
    checkpoints = new(keep=keep)
    for step in (10, 20, 30):
        checkpoints.save(step, values(step), {})
    checkpoints.wait()
    assert names(folder) == ["step_00000010", "step_00000020", "step_00000030"][-keep:]


def test_none_to_keep_is_refused(new):
    with pytest.raises(UsageError, match=r"Checkpoints\.keep = 0"):
        new(keep=0)


def data_file(folder):
    return next(folder.glob("state.data-*"))


def flip(folder):
    content = bytearray(data_file(folder).read_bytes())
    content[len(content) // 2] ^= 1
    data_file(folder).write_bytes(content)


def truncate(folder):
    data_file(folder).write_bytes(data_file(folder).read_bytes()[:-1])


def lose_data(folder):
    data_file(folder).unlink()


def lose_manifest(folder):
    (folder / "manifest.json").unlink()


def manifest(content):
    return lambda folder: (folder / "manifest.json").write_bytes(content)


def of_another_step(folder):
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(content | {"step": 29}))


DAMAGES = [
    (flip, "state.data-00000-of-00001 has the wrong checksum"),
    (truncate, "state.data-00000-of-00001 has .* of .* bytes"),
    (lose_data, "state.data-00000-of-00001 is missing"),
    (lose_manifest, "manifest.json"),
    (of_another_step, "another format or step"),
    *((manifest(content), "") for content in [b"", b"{}", b"[]", b"null", b'{"format": 2', b"\xff\x00", b"\0" * 500]),
]


@pytest.mark.parametrize("damage, reason", DAMAGES)
def test_a_damaged_one_is_set_aside_and_the_one_before_is_used(saved, new, said, damage, reason):
    damage(saved / "step_00000030")
    content = {path.name: path.read_bytes() for path in (saved / "step_00000030").iterdir()}
    assert new(2).restore(set_bad_aside=True).step == 20
    damaged, back = said
    assert re.search(f"step_00000030 is damaged .*{reason}", damaged)
    assert f"{saved}/step_00000030.corrupt" in damaged
    assert "step 20" in back
    assert names(saved) == ["step_00000010", "step_00000020", "step_00000030.corrupt"]
    aside = saved / "step_00000030.corrupt"
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == content  # never deleted
    assert new(3).restore(set_bad_aside=True).step == 20 and len(said) == 2


def test_a_second_bad_one_of_a_step_is_set_aside_too(saved, new):
    flip(saved / "step_00000030")
    checkpoints = new(2)
    checkpoints.restore(set_bad_aside=True)
    checkpoints.save(30, values(30), {})
    checkpoints.wait()
    flip(saved / "step_00000030")
    assert new(3).restore(set_bad_aside=True).step == 20
    assert {"step_00000030.corrupt", "step_00000030.corrupt.2"} <= set(names(saved))


def test_who_only_reads_renames_nothing(saved, new, said):
    flip(saved / "step_00000030")
    assert new().restore(set_bad_aside=False).step == 20
    assert "step_00000030" in names(saved) and len(said) == 2


def test_when_none_can_be_read_nothing_is_started_afresh(saved, new):
    for step in (10, 20, 30):
        flip(saved / f"step_000000{step}")
    for attempt in (2, 3):  # the second finds them set aside
        with pytest.raises(UsageError, match=f"no checkpoint in {saved} can be read; to start afresh"):
            new(attempt).restore(set_bad_aside=True)


def test_what_a_killed_writer_left_is_no_checkpoint_and_is_cleaned_up(saved, new, said):
    shutil.copytree(saved / "step_00000030", saved / ".step_00000040.0123abcd.staged")
    (saved / "mine").mkdir()
    checkpoints = new(2)
    assert checkpoints.restore(set_bad_aside=True).step == 30 and not said
    checkpoints.clean()
    assert names(saved) == ["mine", "step_00000010", "step_00000020", "step_00000030"]


def test_a_failure_in_the_background_surfaces_at_the_next_call(tmp_path, said):
    (tmp_path / "checkpoints").write_text("in the way")
    checkpoints = Checkpoints(LocalStore(tmp_path), 1, said.append)
    committed = []
    checkpoints.save(10, values(10), {}, committed=lambda: committed.append(10))
    with pytest.raises(
        TrainingError, match=rf"{tmp_path}/checkpoints, which has [\d,]+ bytes free .*File exists.*room"
    ):
        checkpoints.wait()
    checkpoints.wait()  # said once
    checkpoints.save(10, values(10), {}, committed=lambda: committed.append(10))
    deadline = time.monotonic() + 60
    while not checkpoints.failed():  # which asks without waiting
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(TrainingError):
        checkpoints.save(20, values(20), {}, committed=lambda: committed.append(20))
    assert committed == []


def test_a_step_that_is_saved_already_is_not_saved_again(saved, new):
    checkpoints, committed = new(2), []
    checkpoints.restore(set_bad_aside=True)
    before = data_file(saved / "step_00000030").stat().st_mtime_ns
    checkpoints.save(30, values(31), {}, committed=lambda: committed.append(30))
    checkpoints.wait()
    assert committed == [30] and data_file(saved / "step_00000030").stat().st_mtime_ns == before


def test_committed_is_called_once_the_checkpoint_stands(new):
    checkpoints, seen = new(), []
    checkpoints.save(10, values(10), {}, committed=lambda: seen.append(new(2).restore(False).step))
    checkpoints.wait()
    assert seen == [10]


def test_nothing_half_written_is_ever_seen(new, folder):
    """Looks at the folder, over and over, while a checkpoint of 40 MB is written."""
    checkpoints, looks, done = new(), 0, []
    large = {"large": np.random.default_rng(0).integers(0, 255, 40 << 20).astype(np.uint8)}
    checkpoints.save(10, large, {}, committed=lambda: done.append(True))
    while not done:
        for one in folder.glob("step_*"):
            files = json.loads((one / "manifest.json").read_text())["files"]
            assert {path.name: path.stat().st_size for path in one.iterdir() if path.name in files} == {
                name: entry["bytes"] for name, entry in files.items()
            }
        looks += 1
    checkpoints.wait()
    assert looks > 1 and names(folder) == ["step_00000010"]


class Troubled:
    """A disk that refuses to take a checkpoint a few times."""

    def __init__(self, number, times):
        self.number, self.left = number, times

    @contextlib.contextmanager
    def __call__(self):
        if self.left:
            self.left -= 1
            raise OSError(self.number, os.strerror(self.number))
        yield


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ESTALE])
def test_a_disk_that_is_full_for_a_while_is_tried_again(folder, new, said, number):
    checkpoints = new(committing=Troubled(number, 2))
    checkpoints.save(10, values(10), {})
    checkpoints.wait()
    assert names(folder) == ["step_00000010"]
    assert said == [
        f"warning: the checkpoint of step 10 could not be written ([Errno {number}] {os.strerror(number)}): trying again"
    ]


def test_a_disk_that_stays_full_ends_the_attempt_as_trouble_that_may_pass_and_a_mistake_does_not(new):
    checkpoints = new(committing=Troubled(errno.ENOSPC, 9), patience=0)
    checkpoints.save(10, values(10), {})
    with pytest.raises(EnvironmentTrouble, match="No space left on device"):
        checkpoints.wait()
    forbidden = Troubled(errno.EACCES, 1)
    checkpoints = new(committing=forbidden)
    checkpoints.save(10, values(10), {})
    with pytest.raises(TrainingError) as told:
        checkpoints.wait()
    assert not isinstance(told.value, EnvironmentTrouble) and not forbidden.left, "it was not tried again"
    with pytest.raises(UsageError, match="Checkpoints.patience = -1: give"):
        new(patience=-1)


def test_a_checkpoint_that_could_not_be_read_for_a_reason_that_may_pass_is_left_in_place(saved, new, monkeypatch):
    def stale(*arguments):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(pathlib.Path, "read_bytes", stale)
    with pytest.raises(EnvironmentTrouble, match="step_000000.0 could not be read .* it may be well"):
        Checkpoints(LocalStore(saved.parent, patience=0), 2).restore(set_bad_aside=True)
    assert names(saved) == ["step_00000010", "step_00000020", "step_00000030"]


def test_after_another_failure_nothing_is_tried_again(new, said):
    """Whoever fails for another reason must be heard of soon."""
    checkpoints = new(committing=Troubled(errno.ENOSPC, 10**6), patience=600)
    checkpoints.save(10, values(10), {})
    deadline = time.monotonic() + 60
    while not said:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    begun = time.monotonic()
    checkpoints.finish()
    assert time.monotonic() - begun < 60 and "the last checkpoint could not be written" in said[-1]


@pytest.mark.parametrize("what", [
    {f"small/{i}": np.array(i) for i in range(40)}, {"large": np.zeros(40 << 20, np.uint8)},
])  # fmt: skip
def test_every_value_and_every_chunk_counts_as_progress(new, progress, what):
    def save():
        checkpoints.save(10, what, {})
        checkpoints.wait()

    checkpoints = new()
    assert progress(save) >= 45  # and three files and two folders that are put on the disk
    assert progress(new(2).restore, True) >= 41


def test_other_threads_run_while_large_values_are_saved_and_restored(new, longest_wait):
    """The best of three, since a busy machine lets threads wait, too. With the lock: over a tenth, and two fifths."""
    large, checkpoints, restored = np.arange(32 << 20), new(keep=1), []  # 256 MiB
    steps = iter(range(3))

    def save():
        checkpoints.save(next(steps), {"large": large}, {})
        checkpoints.wait()

    assert any(longest_wait(save) < 0.1 for _ in range(3))
    assert any(longest_wait(lambda: restored.append(new(2).restore(False))) < 0.25 for _ in range(3))
    assert (restored[0].values["large"] == large).all()


def test_what_is_more_than_is_written_at_once_goes_to_several_files(saved, new, monkeypatch):
    monkeypatch.setattr("trainer.rundir.state_files._AT_ONCE", 10)
    checkpoints = new()
    checkpoints.save(40, values(40), {})
    checkpoints.wait()
    assert len(list((saved / "step_00000040").glob("state.data-*"))) == 5  # some values are larger
    reader = tf.train.load_checkpoint(str(saved / "step_00000040" / "state"))
    restored = new(2).restore(set_bad_aside=True).values
    assert restored.keys() == values(40).keys()
    for name, value in values(40).items():
        assert restored[name].tobytes() == np.asarray(reader.get_tensor(name)).tobytes() == value.tobytes(), name


def test_the_files_are_those_of_one_operation_of_tensorflow(saved, tmp_path):
    """As they were before values were written in groups."""
    names = list(values(30))
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "plain" / "state"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.convert_to_tensor(value) for value in values(30).values()],
    )
    for plain in (tmp_path / "plain").iterdir():
        assert (saved / "step_00000030" / plain.name).read_bytes() == plain.read_bytes()


def test_what_is_restored_is_not_copied_but_texts(new):
    checkpoints = new()
    checkpoints.save(10, {"numbers": np.arange(3), "text": np.array("said")}, {})
    checkpoints.wait()
    restored = new(2).restore(set_bad_aside=True).values
    assert not restored["numbers"].flags.owndata and restored["numbers"].tolist() == [0, 1, 2]
    assert restored["text"] == np.array(b"said") and restored["text"].dtype == "S4"
