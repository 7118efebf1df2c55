"""Where gin files are found."""

from pathlib import Path

import pytest

from trainer.base.errors import UsageError
from trainer.config import parse
from trainer.config.files import choose, find


def test_a_file_as_given_comes_before_the_places_and_these_in_their_order(write):
    write("places/runs/a.gin", "")
    write("installed/runs/a.gin", "")
    write("installed/runs/b.gin", "")
    assert find("runs/a.gin") == Path("places/runs/a.gin").absolute()
    assert find("runs/b.gin") == Path("installed/runs/b.gin").absolute()
    write("runs/a.gin", "")
    assert find("runs/a.gin") == Path("runs/a.gin")
    assert find(str(Path("runs/a.gin").absolute())) == Path("runs/a.gin").absolute()


@pytest.mark.parametrize("name, meant", [("runs/mnits.gin", "runs/mnist.gin"), ("minee.gin", "mine.gin")])
def test_a_missing_file_says_where_it_looked_and_what_is_near(write, tmp_path, name, meant):
    write("places/runs/mnist.gin", "")
    write("mine.gin", "")
    with pytest.raises(UsageError) as error:
        find(name)
    for place in ("", "places", "installed"):
        assert str(tmp_path / place) in str(error.value)
    assert f"did you mean {meant}?" in str(error.value)


def test_an_unknown_choice_lists_those_of_all_places(write):
    write("places/models/mlp.gin", "")
    write("installed/models/cnn.gin", "")
    assert choose("--model", "models", "cnn").parent.parent.name == "installed"
    with pytest.raises(UsageError, match="--model=gru.*there are: cnn, mlp"):
        choose("--model", "models", "gru")


def test_an_include_looks_beside_its_own_file_first(write):
    write("places/sizes.gin", "WIDTH = 1")
    write("far/sizes.gin", "WIDTH = 2")
    write("far/run.gin", "include 'sizes.gin'\n")
    assert parse.read(["far/run.gin"]).macros["WIDTH"].value == 2
    write("run.gin", "include 'sizes.gin'\n")
    assert parse.read(["run.gin"]).macros["WIDTH"].value == 1


def test_a_circle_of_includes_is_reported(write):
    write("a.gin", "include 'b.gin'\n")
    write("b.gin", "\ninclude 'a.gin'\n")
    with pytest.raises(UsageError, match="b.gin:2: includes a.gin, which includes this file"):
        parse.read(["a.gin"])


def test_a_missing_include_names_the_line(write):
    write("a.gin", "\ninclude 'b.gin'\n")
    with pytest.raises(UsageError, match="a.gin:2: no gin file b.gin"):
        parse.read(["a.gin"])


def test_a_file_that_is_not_text_is_reported(tmp_path):
    (tmp_path / "a.gin").write_bytes(b"A = 1\nB = '\xff'\n")
    with pytest.raises(UsageError, match="a.gin:2: .*not UTF-8"):
        parse.read(["a.gin"])


def test_a_file_that_may_not_be_read_is_reported(write, monkeypatch):
    write("a.gin", "")

    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UsageError, match="a.gin cannot be read: Permission denied"):
        parse.read(["a.gin"])


def test_a_folder_is_called_so(write):
    write("runs/a.gin", "")
    with pytest.raises(UsageError, match="runs is no gin file but a folder, .*/runs: name a file in it"):
        find("runs")
