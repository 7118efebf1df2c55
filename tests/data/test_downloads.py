"""Files by their address: fetched once, checked, unpacked; nothing that was fetched by half is ever used."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trainer.base.errors import UsageError
from trainer.data.sources import downloads

SAID = b"1,2\n3,4\n" * 1000
SHA256 = hashlib.sha256(SAID).hexdigest()


@pytest.fixture
def server(tmp_path):
    """A real server on this machine; returns its address, its folder and the list of what it was asked for."""
    root, asked = tmp_path / "server", []
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=root)) as one:
        thread = threading.Thread(target=one.serve_forever)
        thread.start()
        (root / "table.csv").write_bytes(SAID)
        yield f"http://127.0.0.1:{one.server_port}", root, asked
        one.shutdown()
        thread.join()


def test_a_file_is_fetched_once_by_whoever_asks_first(server, tmp_path):
    address, _, asked = server
    fetch = functools.partial(downloads.file, f"{address}/table.csv?raw=1", SHA256, str(tmp_path / "kept"))
    with ThreadPoolExecutor(4) as pool:
        paths = [future.result() for future in [pool.submit(fetch) for _ in range(4)]]
    assert set(paths) == {str(tmp_path / "kept" / "table.csv")} and Path(paths[0]).read_bytes() == SAID
    assert len(asked) == 1 and fetch() == paths[0] and len(asked) == 1


def test_what_is_there_is_used_from_a_folder_that_nobody_can_write_to():
    file = Path("/proc/version")  # where nobody can, root neither
    assert downloads.file("https://example.org/version", hashlib.sha256(file.read_bytes()).hexdigest(), "/proc") == str(
        file
    )


def test_another_file_is_not_taken_for_it(server, tmp_path):
    address, root, _ = server
    (root / "table.csv").write_bytes(SAID + b"5,6\n")
    with pytest.raises(UsageError, match=f"not the file that is meant: its sha256 is .*, not {SHA256}"):
        downloads.file(f"{address}/table.csv", SHA256, str(tmp_path))
    assert not (tmp_path / "table.csv").exists()
    (tmp_path / "table.csv").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists, but is another file.*remove it"):
        downloads.file(f"{address}/table.csv", SHA256, str(tmp_path))
    assert (tmp_path / "table.csv").read_bytes() == b"mine"


def test_what_was_fetched_by_half_is_fetched_again(server, tmp_path):
    (tmp_path / "part.table.csv").write_bytes(SAID[:100])  # of a process that was killed
    assert Path(downloads.file(f"{server[0]}/table.csv", SHA256, str(tmp_path))).read_bytes() == SAID
    assert not (tmp_path / "part.table.csv").exists()


def test_archives_are_unpacked_whole(server, tmp_path):
    address, root, asked = server
    with tarfile.open(root / "flowers.tar.gz", "w:gz") as archive:
        for name in ("rose/1.txt", "tulip/2.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"text"))
    with zipfile.ZipFile(root / "flowers.zip", "w") as archive:
        archive.writestr("rose/1.txt", "text")
        archive.writestr("tulip/2.txt", "text")
    for name in ("flowers.tar.gz", "flowers.zip"):
        sha256 = hashlib.sha256((root / name).read_bytes()).hexdigest()
        folder = tmp_path / name
        found = downloads.file(f"{address}/{name}", sha256, str(folder), unpack=True)
        assert sorted(path.name for path in Path(found).iterdir()) == ["rose", "tulip"]
        before = len(asked)
        assert downloads.file(f"{address}/{name}", sha256, str(folder), unpack=True) == found and len(asked) == before
    (root / "broken.zip").write_bytes(SAID)
    with pytest.raises(UsageError, match="broken.zip cannot be unpacked"):
        downloads.file(f"{address}/broken.zip", SHA256, str(tmp_path), unpack=True)


@pytest.mark.parametrize(
    ("url", "sha256", "options", "says"),
    [
        ("http://127.0.0.1:9/table.csv", SHA256, {}, "cannot be fetched.*copy the file to"),
        ("http://127.0.0.1:9/", SHA256, {}, "file.url"),
        ("http://127.0.0.1:9/table.csv", "1234", {}, "file.sha256 = '1234'.*sha256sum table.csv"),
        ("http://127.0.0.1:9/table.csv", SHA256, {"unpack": True}, "table.csv is no archive"),
        ("file:///there/is/none.csv", SHA256, {}, "cannot be fetched"),
    ],
)
def test_what_cannot_be_had_is_told(tmp_path, url, sha256, options, says):
    with pytest.raises(UsageError, match=says):
        downloads.file(url, sha256, str(tmp_path), **options)
    assert not list(tmp_path.glob("*.csv"))


def test_checking_what_is_there_counts_as_progress(tmp_path, progress):
    content = bytes(3 << 20)
    (tmp_path / "zeros").write_bytes(content)
    assert progress(downloads.file, "https://any.where/zeros", hashlib.sha256(content).hexdigest(), str(tmp_path)) >= 3
