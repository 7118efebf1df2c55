"""Files whose reading and writing counts: the same bytes as of any file, and a piece of work for every MiB."""

import io
import zipfile

import numpy as np
import pytest

from trainer.base import counted_files

CONTENT = np.random.default_rng(0).bytes((3 << 20) + 5)


def at_once(file):
    content = bytearray(len(CONTENT))
    assert file.readinto(content) == len(CONTENT)
    return bytes(content)


def by_a_library(file):
    with zipfile.ZipFile(file) as archive:
        return archive.read("content")


def packed():
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("content", CONTENT)
    return stream.getvalue()


@pytest.mark.parametrize("content, read", [
    (CONTENT, at_once), (CONTENT, lambda file: b"".join(file)), (packed(), by_a_library),
])  # fmt: skip
def test_what_is_read_counts(tmp_path, progress, content, read):
    (tmp_path / "file").write_bytes(content)
    found = []
    with counted_files.reader(tmp_path / "file") as file:
        assert progress(lambda: found.append(read(file))) >= 3
    assert found == [CONTENT]


def test_what_is_written_counts(tmp_path, progress):
    with counted_files.writer(tmp_path / "file") as file:
        assert progress(file.write, CONTENT) >= 3
        file.write(b"end")
    assert (tmp_path / "file").read_bytes() == CONTENT + b"end"
