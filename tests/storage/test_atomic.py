"""A file is whole or as it was: whoever looks, and whatever goes wrong."""

import pytest

from trainer.storage import atomic


def test_until_it_is_whole_the_old_one_stands_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with atomic.replacing(path) as file:
        file.write_text("half")
        assert path.read_text() == "old" and file.suffix == path.suffix
        file.write_text("whole")
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [["old"], []])
def test_an_error_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "table.csv"
    for text in before:
        path.write_text(text)
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path) as file:
        file.write_text("half")
        raise KeyboardInterrupt
    assert [each.read_text() for each in tmp_path.iterdir()] == before


def test_two_at_a_time_do_not_mix(tmp_path):
    path = tmp_path / "table.csv"
    with atomic.replacing(path) as one, atomic.replacing(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert [each.read_text() for each in tmp_path.iterdir()] == ["one"]
