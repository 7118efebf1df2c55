"""One writer and its newest attempt, on a folder and on an object store."""

import threading
import time

import pytest

from trainer.base.errors import TrainingError, UsageError
from trainer.storage.local_fence import LocalFence
from trainer.storage.object_fence import ObjectFence
from trainer.storage.objects import ObjectStore


@pytest.fixture
def quick(monkeypatch):
    """Hearts that beat and are taken for dead sooner."""
    monkeypatch.setattr("trainer.storage.object_fence._SECONDS_BETWEEN_BEATS", 0.2)
    monkeypatch.setattr("trainer.storage.object_fence._SILENCE", 3.0)


@pytest.fixture(params=["local", "s3"])
def fence(request, tmp_path, quick):
    """Makes fences of one place, each as another process would."""
    if request.param == "local":
        (tmp_path / "run").mkdir()
        return lambda **options: LocalFence(tmp_path / "run", **options)
    url = f"{request.getfixturevalue('bucket')}/run"
    return lambda **options: ObjectFence(ObjectStore(url), **options)


@pytest.fixture
def remote(bucket, quick):
    return lambda **options: ObjectFence(ObjectStore(f"{bucket}/run"), tell=lambda line: None, **options)


def test_a_second_writer_is_refused_until_the_first_is_done(fence):
    first, second = fence(), fence()
    second.require_free()
    first.acquire()
    first.acquire()
    for ask in (second.require_free, second.acquire):
        with pytest.raises(UsageError, match=r"is in use by process \d+ on .*: wait for it to end, stop it"):
            ask()
    first.release()
    second.acquire()
    second.release()


def test_the_newest_attempt_alone_commits(fence):
    old, new = fence(), fence()
    assert not old.has_begun and old.claim() == 1 and old.has_begun
    with old.committing():
        pass
    assert new.claim() == 2 and new.sees(2)
    with pytest.raises(TrainingError, match="attempt 1 at .*run is over, since attempt 2 has begun"), old.committing():
        raise AssertionError
    with new.committing():
        pass


def test_an_attempt_that_wrote_nothing_is_given_back(fence):
    first, second = fence(), fence()
    first.claim()
    second.claim()
    second.give_back()
    assert fence().claim() == 2
    with pytest.raises(TrainingError), first.committing():
        pass


def test_attempts_that_are_known_otherwise_count_where_the_fence_was_lost(fence):
    assert fence(attempts_known=lambda: 4).claim() == 5


def test_who_may_not_begin_claims_nothing(fence):
    fence().claim()
    with pytest.raises(TrainingError, match="may no longer begin"):
        fence(may_begin=lambda: False).claim()
    assert fence().claim() == 2


def test_of_many_that_claim_at_once_no_two_have_one_number(fence):
    numbers, fences = [], [fence() for _ in range(8)]

    def claim(one):
        try:
            numbers.append(one.claim())
        except TrainingError:
            numbers.append(None)

    threads = [threading.Thread(target=claim, args=(one,)) for one in fences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = sorted(number for number in numbers if number)
    assert claimed == list(range(1, len(claimed) + 1)) and claimed


def test_withdrawing_leaves_nothing(fence):
    one = fence()
    one.acquire()
    one.withdraw()
    assert not fence().exists()


def test_a_writer_whose_heart_does_not_beat_is_replaced_and_can_begin_and_commit_nothing(remote):
    old = remote()
    old.acquire()
    old.claim()
    old._ends.set()  # it is cut off
    new = remote()
    begun = time.monotonic()
    new.acquire()
    assert time.monotonic() - begun >= 3.0
    assert new.claim() == 2
    with pytest.raises(TrainingError), old.committing():
        pass
    with pytest.raises(TrainingError, match="may no longer begin"):
        old.claim()
    new.release()


def test_of_two_that_find_a_dead_writer_one_replaces_it(remote):
    dead, refused, fences = remote(), [], [remote(), remote()]
    dead.acquire()
    dead._ends.set()

    def acquire(one):
        try:
            one.acquire()
        except UsageError as error:
            refused.append(error.message)

    threads = [threading.Thread(target=acquire, args=(one,)) for one in fences]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1 and "is in use by another process" in refused[0]
    for one in fences:
        one.release()


def test_who_claims_while_another_takes_over_does_not_hide_the_other(remote):
    """The old writer has looked at the attempts, and is slow; its number is taken then."""
    old = remote()
    old.acquire()
    old._ends.set()
    new = remote()

    def meanwhile():
        new.acquire()
        new.claim()
        return True

    old._may_begin = meanwhile
    with pytest.raises(TrainingError, match="may no longer begin"):
        old.claim()
    with new.committing():
        pass
    new.release()


def test_a_store_that_creates_twice_is_refused_unless_the_risk_is_taken(remote, monkeypatch):
    monkeypatch.setattr(ObjectStore, "create", ObjectStore.write)
    with pytest.raises(UsageError, match="does not refuse to create an object that exists.*--allow_unfenced"):
        remote().acquire()
    allowed = remote(unfenced=True)
    allowed.acquire()
    allowed.release()
