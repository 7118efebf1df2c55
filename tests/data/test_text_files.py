"""Files that others have made: however they are written they are read alike, and what is wrong is told with its position."""

import gzip

import pytest

from trainer.base.errors import UsageError
from trainer.data import text_files
from trainer.data.sources import samples, tables, text

NUMBERS = "a,b\n1,2\n3,4\n"
# Every source that reads a CSV file, as a function of its path that uses the columns a and b.
SOURCES = [
    lambda path: samples.column(path, ["a", "b"]),
    lambda path: text.table(path, "a", "b"),
    lambda path: tables.splits(path, {"x": {"a": tables.Number}, "y": {"b": tables.Amount}}),
]


def refused(function, *arguments):
    """What it says, which is one line."""
    with pytest.raises(UsageError) as error:
        function(*arguments)
    assert len(error.value.message.splitlines()) == 1
    return error.value.message


@pytest.mark.parametrize("content", [
    NUMBERS.encode(), NUMBERS.encode("utf-8-sig"), NUMBERS.replace("\n", "\r\n").encode(),
    NUMBERS.replace("\n", "\r").encode(), b"a,b\n\n1,2\n\n3,4", b'\xef\xbb\xbf"a","b"\n"1","2"\n3,4\n',
])  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_files_are_written_in_many_ways(tmp_path, monkeypatch, content, packed):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.csv.gz" if packed else tmp_path / "t.csv").write_bytes(gzip.compress(content) if packed else content)
    table = text_files.table("~/t.csv.gz" if packed else "~/t.csv", ["b", "a"])
    assert table.columns == {"b": ["2", "4"], "a": ["1", "3"]} and len(table) == 2


def test_a_value_may_be_long_and_have_lines_and_quotes_in_it(tmp_path):
    long = 'said: "so"\n' * 50_000
    quoted = long.replace('"', '""')
    (tmp_path / "t.csv").write_text(f'a,b\n"{quoted}",1\nshort,2\n')
    table = text_files.table(str(tmp_path / "t.csv"), ["a"])
    assert table.columns == {"a": [long, "short"]} and table.lines == [2, 50_003]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("content", "said"), [
    (b'a,b\n1,2\n"3\n,4\n5,6\n', "t.csv, line 3: unexpected end of data: close the quotes"),
    (b'a,b\n1,2\n"3\n,4\n5,"6"\n', "t.csv, line 3: ',' expected after '\"': close the quotes"),
    (b'a,b\n"1\n",2,3\n', "t.csv, line 2: 3 values, but the first line has 2 names"),
    (b'a,b\n"1 ",2\n3\n', "t.csv, line 3: 1 values, but the first line has 2 names"),
    (b"a,c\n1,2\n", "t.csv has no column 'b'; it has: a, c"), (b"", "t.csv has no column 'a'; it has: none"),
    (b"a,b,a\n1,2,3\n", "t.csv has 2 columns 'a': rename all but one of them"),
    (b"a,b\n\n", "t.csv holds no row below its first line"),
    (b"a,b\n" + b"1,2\n" * 5000 + b"1,\xe9\n", "t.csv is no UTF-8 text: invalid continuation byte at byte 20,006"),
    (b"\xef\xbb\xbfa,b\n1,\xe9\n", "t.csv is no UTF-8 text: invalid continuation byte at byte 9; convert it"),
])  # fmt: skip
def test_what_is_wrong_in_a_file_is_told_with_its_place_by_every_source(tmp_path, source, content, said):
    (tmp_path / "t.csv").write_bytes(content)
    assert f"{tmp_path}/{said}" in refused(source, str(tmp_path / "t.csv"))


@pytest.mark.parametrize("source", [*SOURCES, text.read])
def test_what_cannot_be_read_is_refused_by_every_source(tmp_path, source):
    (tmp_path / "folder").mkdir()
    (tmp_path / "no.csv.gz").write_text(NUMBERS)
    (tmp_path / "half.csv.gz").write_bytes(gzip.compress(NUMBERS.encode() * 99)[:-20])
    for name, said in [
        ("nowhere.csv", "no such file: "), ("folder", "folder cannot be read: Is a directory"),
        ("no.csv.gz", "no.csv.gz cannot be read: Not a gzipped file"), ("half.csv.gz", "half.csv.gz cannot be read: "),
        ("no.csv.gz/t.csv", "cannot be read: Not a directory"),
    ]:  # fmt: skip
        assert said in refused(source, str(tmp_path / name))


def test_long_values_and_names_are_shown_in_part_and_on_one_line(tmp_path):
    names = ",".join(f'"name\n{i}"' for i in range(1000))
    (tmp_path / "t.csv").write_text(f"a,{names}\n" + "1" + "," * 1000 + "\n" + '"x\n' + "y" * 1000 + '"' + "," * 1000)
    assert len(refused(text_files.table, str(tmp_path / "t.csv"), ["b"])) < 500
    message = refused(samples.column, str(tmp_path / "t.csv"), ["a"])
    assert "line 1003, column 'a': 'x\\nyyy" in message and len(message) < 300


def test_a_text_is_the_same_with_a_mark_other_ends_of_lines_or_packed(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffüber\r\nden\rFluss\n".encode())
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("über\nden\nFluss\n".encode()))
    assert text.read(str(tmp_path / "a.txt")) == text.read(str(tmp_path / "b.txt.gz")) == "über\nden\nFluss\n"
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbf" + b"a" * 10_000 + b"\xe9\n")
    assert "c.txt is no UTF-8 text: invalid continuation byte at byte 10,003" in refused(
        text.read, str(tmp_path / "c.txt")
    )


def test_what_is_read_counts_as_progress(tmp_path, progress):
    content = "a,b\n" + "1,2\n" * (1 << 18)
    (tmp_path / "t.csv").write_text(content)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(content.encode(), compresslevel=0))
    for name in ("t.csv", "t.csv.gz"):
        assert progress(text_files.table, str(tmp_path / name), ["a"]) >= 16
        assert progress(text_files.read, str(tmp_path / name)) >= 1
    table = text_files.table(str(tmp_path / "t.csv"), ["a"])
    assert progress(table.told, "a", text_files.numbers) == 1
