"""The configuration as a file, and that file in gin."""

import importlib

import gin
import pytest

from trainer.base.errors import UsageError
from trainer.config import parse, text, validation

HEAD = """from __gin__ import dynamic_registration
from app import experiment
from app import parts
from app.models import mlp as m
experiment.run.task = @parts.task
"""


def read(body, params=()):
    with open("run.gin", "w") as file:
        file.write(HEAD + body)
    return parse.read(["run.gin"], params=params)


def values(configuration):
    return {statement.name: statement.value for statement in configuration.final.values()}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "B = 1\nA = %B\nB = 2\nx/A = 3\nparts.task.size = %x/A\n",
        "A = [1e999, -1e999, -1, -1.5, {'x': (1,), -2: ()}, 1e-7, None, True, 12345678901234567890]\n",
        "A = 'two\\nlines \"and\" \\'quotes\\' é # no comment'\nB = '''three\nlines'''\nC = b'x'\n",
        "experiment.run.actions = [@parts.Layer, @a/b/parts.Tool.make, (@parts.Tool.measure(),), {'k': %A}]\nA = @m.build\n",
        "a/b/m.build:\n    width = 3\n    rate = %gin.REQUIRED\n",
        f"experiment.run.actions = {['a long enough text'] * 9}\nexperiment.run.names = { {str(i): 'x' * 20 for i in range(9)} }\n",
        f"experiment.run.actions = {('a long enough text',) * 9}\n",
        "import app.api\napp.api.Layer.units = 2\n",
    ],
)
def test_reading_the_text_gives_an_equal_configuration(body):
    configuration = read(body)
    written = text.text(configuration)
    again = parse.read_text(written, "config.gin")
    assert values(again) == values(configuration)
    assert text.text(again) == written
    assert max(map(len, written.splitlines())) <= 110


def test_the_text_stands_alone_and_is_for_people():
    configuration = read(
        "B = 2\nA = 1\nm.build.width = %B\nexperiment.run.steps = %A\nexperiment.run.sizes = (1, 2)\na/m.build.width = 1\n",
        ["A = 3"],
    )
    assert text.text(configuration).split("\n\n", 1)[1] == (
        "import app.experiment\nimport app.models.mlp\nimport app.parts\n\n"
        "B = 2\nA = 3\n\n"
        "app.experiment.run:\n    task = @app.parts.task\n    steps = %A\n    sizes = (1, 2)\n\n"
        "app.models.mlp.build:\n    width = %B\n\n"
        "a/app.models.mlp.build:\n    width = 1\n"
    )


def test_one_alias_for_two_modules_does_not_clash(write):
    write("a.gin", HEAD + "experiment.run.model = @m.build\n")
    write("b.gin", "from app.models import cnn as m\nm.build.filters = 2\n")
    written = text.text(parse.read(["a.gin", "b.gin"]))
    assert "app.models.cnn.build:" in written
    assert "@app.models.mlp.build" in written


def test_modules_come_from_the_names_that_are_used():
    importlib.import_module("app.actions.save")
    assert "import app.actions.save\n" in text.text(read("import app\napp.actions.save.Save.every = 1\n"))


def test_modules_that_are_imported_for_their_effect_stay():
    assert "import app.actions.save\n" in text.text(read("import app.actions.save\n"))


def test_the_loaded_root_takes_what_its_caller_does_not_pass():
    configuration = read("S = 4\nexperiment.run.steps = %S\nexperiment.run.model = @a/m.build\na/m.build.width = 2\n")
    configuration, _ = validation.check(configuration, "app.experiment.run", ["run_dir"])
    run = text.load(text.text(configuration), "app.experiment.run")
    assert run("somewhere") == (1, ("mlp", 2), 4)
    assert run("somewhere", steps=9)[2] == 9
    assert gin.config_is_locked()


def test_loading_again_forgets_the_last_configuration():
    text.load(text.text(read("parts.task.size = 7\n")), "app.experiment.run")
    assert text.load(text.text(read("")), "app.experiment.run")("x") == (1, None, None)


def test_a_root_that_no_file_mentions_is_loaded_too():
    assert text.load("", "app.parts.task")() == 1


def test_methods_of_classes_are_given_their_parameters():
    body = "experiment.run.model = @parts.Tool.make\nparts.Tool.make.size = 5\nparts.Tool.measure.size = 6\n"
    body += "parts.task.size = @parts.Tool.measure()\n"
    task, (_, size), _ = text.load(text.text(read(body)), "app.experiment.run")("x")
    assert (task, size) == (6, 5)


def test_what_was_used_is_gin_text_with_defaults_and_without_the_rest():
    body = "S = 4\nexperiment.run.steps = %S\nexperiment.run.model = @m.build\nparts.Layer.units = 3\n"
    text.load(text.text(read(body)), "app.experiment.run")("somewhere", flag=True)
    used = values(parse.read_text(text.operative(), "operative_config.gin"))
    assert used["app.experiment.run.sizes"] == (1, 1)
    assert used["app.models.mlp.build.width"] == 8
    assert used["S"] == 4
    assert not {"app.parts.Layer.units", "app.experiment.run.run_dir", "app.experiment.run.flag"} & set(used)
    assert "# None" not in text.operative()


def test_a_text_with_a_mistake_names_where_it_came_from():
    with pytest.raises(UsageError, match="config.gin:1"):
        parse.read_text("x.y = 1", "config.gin")
