"""A folder and an object store, held to one contract; and what an object store may answer besides."""

import contextlib
import itertools
import os
import random
import threading

import pytest

from trainer.base.errors import UsageError, of_environment
from trainer.storage.local import LocalStore
from trainer.storage.objects import ObjectStore
from trainer.storage.store import MANIFEST
from trainer.storage.working import working

ODD = [
    "a b",
    "lr=[0.1,0.2]",
    "*",
    "?",
    "{x}",
    "#%20%",
    "ü日本",
    "quote'\"",
    "~",
    "$HOME",
    "a+b&c=d;e,f@g:h",
    "..a",
    "back\\slash",
]


@pytest.fixture(params=["local", "s3"])
def store(request, tmp_path):
    """A store at a place with an odd name."""
    if request.param == "local":
        return LocalStore(tmp_path / "run [1] *")
    return ObjectStore(f"{request.getfixturevalue('bucket')}/runs/run [1] *")


def publish(store, folder, **files):
    with store.staging(folder) as staged:
        for name, content in files.items():
            (staged / name).write_text(content)
        (staged / MANIFEST).write_text(f"{{{folder}}}")
        store.deliver(staged, folder)
        store.publish(staged, folder)


def content(store, folder):
    with store.fetched(folder) as local:
        return {path.name: path.read_text() for path in local.iterdir()}


def test_files(store):
    with pytest.raises(FileNotFoundError):
        store.read("config.gin")
    for text in (b"", b"old", b"new", b"\0" * (1 << 20)):
        store.write("folder/config.gin", text)
        assert store.read("folder/config.gin") == text
    store.write("report.json", b"{}", durable=False)
    assert store.sizes() == {"folder/config.gin": 1 << 20, "report.json": 2}
    store.cut("folder/config.gin", 7)
    assert store.read("folder/config.gin") == b"\0" * 7
    store.cut("report.json", 0)
    for _ in range(2):
        store.remove("folder/config.gin")
    assert store.sizes() == {"report.json": 0} and store.sizes("folder") == {} and store.folders("folder") == []


def test_who_has_a_file_open_that_was_cut_changes_nothing_any_more(tmp_path):
    store = LocalStore(tmp_path)
    with (tmp_path / "events").open("ab", buffering=0) as file:
        file.write(b"12345")
        store.cut("events", 3)
        file.write(b"more")
    assert store.read("events") == b"123"


@pytest.mark.parametrize("name", ODD)
def test_names_are_taken_literally(store, name):
    store.write(name, b"file")
    store.write(f"x/{name}/{name}", b"nested")
    assert store.read(name) == b"file" and store.sizes() == {name: 4, f"x/{name}/{name}": 6}
    assert store.sizes(f"x/{name}") == {f"x/{name}/{name}": 6}
    publish(store, f"checkpoints/{name}", data="1")
    assert store.folders("checkpoints") == [name] and content(store, f"checkpoints/{name}")["data"] == "1"
    store.discard([f"checkpoints/{name}"])
    assert store.folders("checkpoints") == []


def test_a_folder_is_there_once_it_is_published_until_it_is_discarded(store):
    with store.staging("all/one") as staged:
        (staged / "data").write_text("1")
        assert store.folders("all") == []
    publish(store, "all/one", data="1", more="2")
    publish(store, "all/two", data="3")
    assert sorted(store.folders("all")) == ["one", "two"]
    assert content(store, "all/one") == {"data": "1", "more": "2", MANIFEST: "{all/one}"}
    store.discard(["all/one", "all/two"])
    assert store.folders("all") == [] and store.sizes("all") == {}
    with pytest.raises(FileNotFoundError):
        content(store, "all/one")


def test_a_folder_that_is_set_aside_is_kept(store):
    publish(store, "all/one", data="1")
    before = store.sizes("all")
    where = store.set_aside("all/one")
    assert where.startswith(store.where) and "one" not in store.folders("all")
    assert sorted(store.sizes("all").values()) == sorted(before.values())
    store.clean("all")
    assert len(store.sizes("all")) == 2


def test_what_a_killed_process_left_is_cleaned_up(store):
    publish(store, "all/one", data="1")
    if isinstance(store, LocalStore):
        (store.root / "all/.two.0123abcd.staged").mkdir()
        (store.root / "all/.two.0123abcd.staged/data").touch()
    else:
        store.write("all/two.attempt_1/data", b"")
    before = store.sizes("all")
    store.clean("all")
    assert len(store.sizes("all")) == 2 < len(before) and store.folders("all") == ["one"]
    store.clean("nothing")


def test_a_local_folder_that_is_published_again_replaces_the_one_before(tmp_path):
    store = LocalStore(tmp_path)
    publish(store, "all/one", data="1")
    publish(store, "all/one", data="2")
    assert content(store, "all/one")["data"] == "2" and os.listdir(tmp_path / "all") == ["one"]


def test_attempts_publish_under_names_of_their_own_where_nothing_else_keeps_them_apart(bucket, tmp_path):
    assert LocalStore(tmp_path).unique("all/one", 3) == "all/one"
    store = ObjectStore(bucket)
    assert store.unique("all/one", 3) != store.unique("all/one", 4)
    publish(store, "all/one", data="1")
    with pytest.raises(FileExistsError), store.staging("all/one") as staged:
        (staged / MANIFEST).write_text("other")
        store.publish(staged, "all/one")
    assert content(store, "all/one")["data"] == "1"


def test_of_eight_that_create_one_object_at_once_one_succeeds(bucket):
    results = []

    def create(number):
        with contextlib.suppress(FileExistsError):
            ObjectStore(bucket).create("one", b"%d" % number)
            results.append(b"%d" % number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [ObjectStore(bucket).read("one")]


FAULTS = ("refuse", "break", "lose", "slow")


@pytest.mark.parametrize("seed", range(3))
def test_a_server_that_fails_now_and_then_is_asked_again(s3, bucket, seed):
    """Every second request fails in one of four ways, of which one does what it was asked before it fails."""
    chance, store = random.Random(seed), ObjectStore(f"{bucket}/run")
    s3.faults = lambda method, path: chance.choice(FAULTS) if chance.random() < 0.5 and chance.random() < 0.9 else ""
    publish(store, "all/one", data="1")
    publish(store, "all/two", data="2")
    store.create("claimed", b"by me")
    store.write("report.json", b"{}")
    store.set_aside("all/one")
    assert store.folders("all") == ["two"] and content(store, "all/two")["data"] == "2"
    with pytest.raises(FileExistsError):
        store.create("claimed", b"by you")
    store.discard(["all/two"])
    assert store.folders("all") == []


def test_a_server_that_stays_broken_is_given_up_and_left_as_it_is(s3, bucket, monkeypatch):
    store = ObjectStore(f"{bucket}/run")
    publish(store, "all/one", data="1")
    monkeypatch.setattr("trainer.storage.objects._PATIENCE", 0.5)
    s3.faults = lambda method, path: "break"
    for operation in (lambda: store.read("all/one/data"), lambda: store.folders("all"), lambda: store.write("x", b"")):
        with pytest.raises(OSError) as told:
            operation()
        assert of_environment(told.value), "it may pass"
    s3.faults = lambda method, path: ""
    assert content(store, "all/one")["data"] == "1"


@pytest.mark.parametrize("stops_at", range(4))
def test_a_writer_that_stops_within_a_folder_has_published_nothing(s3, bucket, monkeypatch, stops_at):
    store, puts = ObjectStore(f"{bucket}/run"), itertools.count()
    monkeypatch.setattr("trainer.storage.objects._PATIENCE", 0.1)
    s3.faults = lambda method, path: "break" if method == "PUT" and next(puts) >= stops_at else ""
    with contextlib.suppress(OSError):
        publish(store, "all/one", a="1", b="2")
    s3.faults = lambda method, path: ""
    assert store.folders("all") == (["one"] if stops_at == 3 else [])
    store.clean("all")
    assert bool(store.sizes("all")) == (stops_at == 3)


@pytest.mark.parametrize(
    "url, said",
    [
        ("ftp://bucket/run", "there is no ftp:// here"),
        ("s3://", "names no bucket"),
        ("gs:///", "names no bucket"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused(url, said):
    with pytest.raises(UsageError, match=said):
        ObjectStore(url)


def test_credentials_that_are_missing_are_named(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(UsageError, match="no credentials .* AWS_ACCESS_KEY_ID"):
        ObjectStore(bucket).read("x")


def test_what_libraries_write_is_sent_when_it_has_changed(s3, bucket):
    store = ObjectStore(f"{bucket}/run")
    copy = working(store)
    (copy.path / "logs").mkdir()
    (copy.path / "logs/a.log").write_text("one")
    (copy.path / ".0123abcd.b.png").write_text("unfinished")
    copy.send(contextlib.nullcontext)
    assert store.sizes() == {"logs/a.log": 3}
    s3.requests.clear()
    copy.send(contextlib.nullcontext)
    assert not s3.requests
    with (copy.path / "logs/a.log").open("a") as log:
        log.write(" two")
    copy.send(contextlib.nullcontext)
    assert store.read("logs/a.log") == b"one two"
    other = working(store)
    other.fetch("logs")
    assert (other.path / "logs/a.log").read_text() == "one two"
    assert not other.copy("nothing").exists()
    for each in (copy, other):
        each.close()
        assert not each.path.exists()


def test_a_local_folder_is_written_in_place(tmp_path):
    copy = working(LocalStore(tmp_path))
    assert copy.path == tmp_path
    copy.close()
    assert tmp_path.exists()
