"""What gin files and --gin_param texts say, and how mistakes in them are told."""

import pytest

from trainer.base.errors import UsageError
from trainer.config import parse
from trainer.config.configuration import Key, Macro, Reference

HEAD = "from __gin__ import dynamic_registration\n"
RUN = HEAD + "from app import experiment\nfrom app import parts\nfrom app.models import mlp as m\n"


def values(configuration):
    return {statement.name: statement.value for statement in configuration.final.values()}


def test_names_become_full_whatever_they_were_imported_as():
    configuration = parse.read_text(
        HEAD
        + """
import app.models.mlp
import app.models.cnn as c
from app.models import mlp
from app.models import cnn as other
W = 3
a/W = 4
app.models.mlp.build.width = %W
mlp.build.other = [@c.build, {'x': (@a/b/other.build(),)}]
a/other.build:
    filters = %a/W
""",
        "run.gin",
    )
    cnn = "app.models.cnn.build"
    assert values(configuration) == {
        "W": 3,
        "a/W": 4,
        "app.models.mlp.build.width": Macro("W"),
        "app.models.mlp.build.other": [Reference("", cnn, False), {"x": (Reference("a/b", cnn, True),)}],
        "a/app.models.cnn.build.filters": Macro("a/W"),
    }
    assert configuration.imports == ("app.models.cnn", "app.models.mlp")
    assert configuration.final[Key("a", cnn, "filters")].location == "run.gin:12"


def test_two_paths_to_one_thing_are_one_name():
    configuration = parse.read_text(
        HEAD + "import app.api\nimport app.parts\napp.api.Layer.units = 1\napp.parts.Layer.units = 2\n",
        "run.gin",
    )
    assert values(configuration) == {"app.api.Layer.units": 2}


def test_files_then_model_then_strategy_then_params(write):
    write("one.gin", "A = 1\nB = 1\nC = 1\nD = 1\nE = 1\n")
    write("two.gin", "B = 2\nC = 2\nD = 2\nE = 2\n")
    write("places/models/mlp.gin", "C = 3\nD = 3\nE = 3\n")
    write("places/strategies/tpu.gin", "D = 4\nE = 4\n")
    configuration = parse.read(["one.gin", "two.gin"], "mlp", "tpu", ["E = 0", "E = 5"])
    assert values(configuration) == {"A": 1, "B": 2, "C": 3, "D": 4, "E": 5}
    assert [statement.key.parameter for statement in configuration.statements if statement.on_command_line] == [
        "E",
        "E",
    ]
    assert configuration.macros["E"].location == "--gin_param 'E = 5'"


def test_params_use_the_names_of_any_file_and_full_names(write):
    write("base.gin", HEAD + "from app.models import mlp\n")
    write("run.gin", HEAD + "include 'base.gin'\nfrom app import experiment as e\n")
    params = ["e.run.model = @mlp.build", "app.experiment.run.steps = 3", "app.models.mlp.build.width = 2"]
    assert len(parse.read(["run.gin"], params=params).final) == 3


def test_a_file_does_not_see_the_names_of_another(write):
    write("base.gin", HEAD + "from app.models import mlp\n")
    write("run.gin", "include 'base.gin'\nmlp.build.width = 2\n")
    with pytest.raises(UsageError, match="run.gin:2: mlp is not imported"):
        parse.read(["run.gin"])


def test_what_an_include_overrides_is_refused(write):
    write("base.gin", "SHARDS = None\nSIZE = 3\n")
    write("run.gin", "SIZE = 3\nSHARDS = 2\ninclude 'base.gin'\n")
    with pytest.raises(UsageError, match="run.gin:2: SHARDS = 2 has no effect, since .*base.gin:1 sets SHARDS = None"):
        parse.read(["run.gin"])
    write("run.gin", "SIZE = 3\ninclude 'base.gin'\nSHARDS = 2\n")
    assert values(parse.read(["run.gin"])) == {"SIZE": 3, "SHARDS": 2}


def test_a_name_that_means_two_things_in_two_files_is_refused_in_params(write):
    write("a.gin", HEAD + "from app.models import mlp as m\n")
    write("b.gin", HEAD + "from app.models import cnn as m\n")
    with pytest.raises(UsageError, match="m means app.models.cnn or app.models.mlp"):
        parse.read(["a.gin", "b.gin"], params=["m.build.width = 3"])


@pytest.mark.parametrize(
    "text",
    [
        "A = 1; B = 2",
        "A = 1\nB = 2",
        "import app",
        "include 'run.gin'",
        "A",
        "A = ",
        "A = foo",
        "",
        "a.b:\n  c = 1",
        "= 3",
    ],
)
def test_a_param_is_one_binding(write, text):
    write("run.gin", RUN)
    with pytest.raises(UsageError) as error:
        parse.read(["run.gin"], params=[text])
    assert f"--gin_param '{text}'" in str(error.value)


def test_a_param_with_a_module_of_another_package_says_where_it_is(write):
    write("run.gin", RUN)
    with pytest.raises(UsageError, match="app has no mlp; there is app.models.mlp$"):
        parse.read(["run.gin"], params=["app.mlp.build.width = 1"])


@pytest.mark.parametrize(
    "line, parts",
    [
        ("parts.tsak.size = 1", ["app.parts has no tsak", "did you mean task?"]),
        ("experiment.run.model = @m.biuld", ["app.models.mlp has no biuld", "did you mean build?"]),
        ("experiment.run.model = [{'x': @m.biuld}]", ["did you mean build?"]),
        ("experimnt.run.steps = 1", ["experimnt is not imported", "did you mean experiment?"]),
        ("experiment.run.stepz = 1", ["app.experiment.run takes no stepz", "did you mean steps?"]),
        (
            "m.build.size_of_it = 1",
            ["app.models.mlp.build takes no size_of_it", "it takes: width, rate, other"],
        ),
        ("experiment.run.model = @m", ["app.models.mlp is a module", "name a function or a class"]),
        ("experiment.run.model = @parts.VALUE", ["app.parts.VALUE is a value of type int"]),
        ("parts.Layer.nmae = 1", ["app.parts.Layer takes no nmae", "did you mean name?"]),
        ("import app.modles", ["No module named 'app.modles'", "did you mean models?"]),
        ("from app import mlp", ["No module named 'app.mlp'; there is app.models.mlp"]),
        ("from app.models import mpl", ["No module named 'app.models.mpl'", "did you mean mlp?"]),
        ("from app.experiment import run", ["'app.experiment' is not a package"]),
        (
            "import app.needs_missing",
            ["importing app.needs_missing failed", "'not_installed'", "needs_missing.py:2"],
        ),
        ("import app.needs_missing_later", ["'not_installed'", "needs_missing_later.py:2"]),
        ("import app.raises", ["importing app.raises failed with ZeroDivisionError", "raises.py:2"]),
        ("import app.garbled", ["importing app.garbled failed with SyntaxError", "garbled.py:2"]),
        ("A = foo", ["not gin syntax", "'foo'", "in quotes"]),
        ("A = [1, 2", ["not gin syntax"]),
        ("A = 'open", ["not gin syntax"]),
        ("A = {[1]: 2}", ["not gin syntax", "unhashable"]),
        ("A 3", ["not gin syntax"]),
        ("m.build:\n    width = 1\n  rate = 2", ["not gin syntax"]),
    ],
)
def test_mistakes_name_the_line_and_what_was_meant(line, parts):
    with pytest.raises(UsageError) as error:
        parse.read_text(f"{RUN}\n{line}\n", "run.gin")
    message = str(error.value)
    # The tokenizer notices an open bracket or a wrong indent only at the lines after it.
    assert any(message.startswith(f"run.gin:{number}:") for number in (6, 7, 8)), message
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_what_is_missing_is_told_from_what_fails_inside():
    with pytest.raises(UsageError) as error:
        parse.read_text("import app.needs_missing", "run.gin")
    assert "No module named 'app" not in str(error.value)


@pytest.mark.parametrize("name", ["parts.anything.x", "parts.Open.x", "parts.Layer.name", "parts.Layer.units"])
def test_kwargs_accept_what_cannot_be_known_to_be_wrong(name):
    assert len(parse.read_text(f"{RUN}{name} = 1\n", "run.gin").final) == 1
