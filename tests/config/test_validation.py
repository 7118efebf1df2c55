"""What is known to be wrong before anything is built."""

import pytest

from trainer.base.errors import UsageError
from trainer.config import parse, validation

HEAD = """from __gin__ import dynamic_registration
from app import experiment
from app import parts
from app.models import mlp
from app.models import cnn
experiment.run.task = @parts.task
"""


def checked(text, params=(), name="run.gin"):
    with open(name, "w") as file:
        file.write(text)
    return validation.check(parse.read([name], params=params), "app.experiment.run", ["run_dir"])


def problems(text, params=()):
    with pytest.raises(UsageError) as error:
        checked(text, params)
    return str(error.value).split("\n")


@pytest.mark.parametrize(
    "value",
    [
        *["steps = 3", "steps = None", "steps = @parts.task()", "rate = 1", "rate = 1.5", "sizes = (1, 2)"],
        *[
            "layers = []",
            "layers = [1, %N]",
            "mode = 'b'",
            "actions = [@parts.Layer]",
            "actions = (1,)",
            "label = None",
        ],
        *["head = @parts.task", "head = @parts.maker()", "hooks = [@parts.task]"],
        *["names = {'x': 1}", "spec = 3", "model = 3", "model = 'x'", "task = @parts.task", "flag = True"],
    ],
)
def test_values_that_fit(value):
    assert checked(f"{HEAD}N = 3\nparts.task.size = %N\nexperiment.run.{value}\n")[1] == []


@pytest.mark.parametrize(
    "value, takes",
    [
        ("steps = 'ten'", "int or None"),
        ("steps = 1.5", "int or None"),
        ("steps = True", "int or None"),
        ("steps = @parts.task", "int or None"),
        ("rate = '0.1'", "float"),
        ("rate = True", "float"),
        ("rate = None", "float"),
        ("flag = 1", "bool"),
        ("sizes = (1, 2, 3)", "tuple[int, int]"),
        ("sizes = (1, 'x')", "tuple[int, int]"),
        ("sizes = [1, 2]", "tuple[int, int]"),
        ("layers = [1, 'x']", "list[int] or None"),
        ("layers = 1", "list[int] or None"),
        ("mode = 'c'", "'a' or 'b'"),
        ("names = {'x': 'y'}", "Mapping[str, int]"),
        ("names = {1: 1}", "Mapping[str, int]"),
        ("actions = 'save'", "Sequence"),
        ("task = 'classify'", "a reference such as @module.name"),
        ("label = 3", "str"),
        ("head = @parts.task()", "a reference such as @module.name, without () or None"),
        ("hooks = @parts.task", "a list, each item a reference such as @module.name"),
    ],
)
def test_values_that_do_not_fit(value, takes):
    (problem,) = problems(f"{HEAD}experiment.run.{value}\n")
    assert problem.startswith(f"run.gin:7: app.experiment.run.{value.partition(' ')[0]} = ")
    assert f": takes {takes}" in problem.replace("collections.abc.", "")


def test_the_line_where_the_value_was_written_is_blamed():
    text = (
        HEAD + "STEPS = %MORE\nMORE = 'ten'\nN = 'x'\nexperiment.run.steps = %STEPS\nexperiment.run.sizes = (1, %N)\n"
    )
    assert problems(text) == [
        "run.gin:8: MORE = 'ten': app.experiment.run.steps takes int or None",
        "run.gin:9: N = 'x': app.experiment.run.sizes takes tuple[int, int]",
    ]
    (problem,) = problems(HEAD + "N = 3\nexperiment.run.layers = {%N: 1}\n")
    assert problem.startswith("run.gin:8: app.experiment.run.layers = {%N: 1}: takes")
    (problem,) = problems(HEAD + "STEPS = 1\nexperiment.run.steps = %STEPS\n", ["STEPS = 'ten'"])
    assert problem.startswith("--gin_param 'STEPS = 'ten'': app.experiment.run.steps takes")


@pytest.mark.parametrize("name, takes", [("rate", "float"), ("units", "int"), ("flag", "bool")])
def test_without_a_hint_a_text_is_no_number(name, takes):
    text = f"{HEAD}experiment.run.model = @parts.Layer\nparts.Layer.{name} = "
    (problem,) = problems(text + "'ten'\n")
    assert problem == f"run.gin:8: app.parts.Layer.{name} = 'ten': takes {takes}"
    assert checked(text + "@parts.task()\n")[1] == []
    (problem,) = problems(text + "%VALUE\nVALUE = 'ten'\n")
    assert problem == f"run.gin:9: VALUE = 'ten': app.parts.Layer.{name} takes {takes}"


def test_an_undefined_macro_is_reported_with_the_nearest():
    text = HEAD + "WIDTH = 3\nexperiment.run.layers = [%WIDTH, %WIDHT, %WIDHT]\nexperiment.run.rate = %QUITE_ELSE\n"
    assert problems(text) == [
        "run.gin:8: app.experiment.run.layers: the macro %WIDHT is not defined; did you mean WIDTH?",
        "run.gin:9: app.experiment.run.rate: the macro %QUITE_ELSE is not defined; define it: QUITE_ELSE = ...",
    ]


@pytest.mark.parametrize("value, lacking", [
    ("head = @parts.sized", ["parts.sized.size", "parts.sized.width"]),
    ("head = @a/parts.sized\na/parts.sized.size = 1", ["parts.sized.width"]),
    ("head = %HEAD\nHEAD = @parts.sized\nparts.sized.size = 1", ["parts.sized.width"]),
    ("steps = @parts.sized()\nparts.sized.width = 1", ["parts.sized.size"]),
    ("hooks = [@parts.hook]", ["parts.hook.every"]),
    ("hooks = [@parts.hook]\nparts.hook.every = 2", []),
    ("task = @parts.sized", []),  # nothing is said of what it will be called with
])  # fmt: skip
def test_what_will_be_called_must_have_what_it_requires(value, lacking):
    text = f"{HEAD}experiment.run.{value}\n"
    found = problems(text) if lacking else checked(text)[1]
    assert [line.partition(" is required, since run.gin:7: app.experiment.run.")[0] for line in found] == [
        f"app.{name}" for name in lacking
    ]


def test_what_has_no_default_must_be_set():
    text = HEAD + "STEPS = %gin.REQUIRED\nexperiment.run.steps = %STEPS\nexperiment.run.rate = %gin.REQUIRED\n"
    first, second = problems(text)
    assert first == "run.gin:7: STEPS has no default: --gin_param 'STEPS = ...' sets it"
    assert second.startswith("run.gin:9: app.experiment.run.rate has no default: --gin_param 'app.experiment.run.rate")
    assert checked(text, ["STEPS = 3", "experiment.run.rate = 2"])[1] == []


@pytest.mark.parametrize("cycle", ["A = %A", "A = %B\nB = %A", "A = [%B]\nB = {'x': %A}"])
def test_a_macro_that_depends_on_itself_is_reported(cycle):
    (problem,) = problems(f"{HEAD}{cycle}\nexperiment.run.layers = [%A]\n")
    assert problem.startswith("run.gin:7: A = ")
    assert "depends on itself" in problem


def test_the_root_says_what_it_needs():
    (problem,) = problems("")
    assert problem.startswith("app.experiment.run.task is required: bind it in a gin file or with --gin_param")


def test_a_root_that_no_file_mentions_is_checked_too(write):
    write("run.gin", "")
    assert validation.check(parse.read(["run.gin"]), "app.alone.run", ["run_dir"])[1] == []


def test_what_the_caller_gives_cannot_be_bound():
    (problem,) = problems(HEAD + "experiment.run.run_dir = 'x'\n")
    assert problem.startswith("run.gin:7: app.experiment.run.run_dir is set by the command line itself")


def test_all_problems_are_told_at_once():
    text = HEAD.replace("experiment.run.task", "experiment.run.model") + "A = 1\nexperiment.run.steps = 'x'\n"
    assert len(problems(text)) == 3


def test_what_nothing_uses_is_an_error_wherever_it_was_never_used():
    text = (
        HEAD + "WIDTH = 3\nWIDHT = 4\nparts.task.size = %WIDTH\nmlp.build.width = 3\na/parts.task.size = 3\nSEED = 1\n"
    )
    assert problems(text) == [
        "run.gin:8: the macro WIDHT is used by nothing; did you mean WIDTH?",
        "run.gin:10: app.models.mlp.build.width is used by nothing: refer to @app.models.mlp.build or remove it",
        "run.gin:11: a/app.parts.task.size is used by nothing: refer to @app.parts.task or remove it",
        "run.gin:12: the macro SEED is used by nothing: refer to %SEED, include the file that does, or remove it",
    ]


MLP = HEAD + "experiment.run.model = @mlp.build\nWIDTH = 3\nmlp.build.width = %WIDTH\n"


def test_what_a_later_choice_made_irrelevant_is_dropped_and_listed(write):
    write("places/models/cnn.gin", HEAD + "experiment.run.model = @cnn.build\n")
    write("base.gin", MLP)
    write("run.gin", "include 'base.gin'\n" + HEAD + "experiment.run.model = @cnn.build\n")
    for configuration in (
        parse.read(["base.gin"], model="cnn"),
        parse.read(["base.gin"], params=["experiment.run.model = @cnn.build"]),
        parse.read(["run.gin"]),
    ):
        kept, dropped = validation.check(configuration, "app.experiment.run", ["run_dir"])
        assert [line.removeprefix("base.gin:") for line in dropped] == [
            "8: WIDTH = 3",
            "9: app.models.mlp.build.width = %WIDTH",
        ]
        assert [statement.name for statement in kept.final.values()] == [
            "app.experiment.run.task",
            "app.experiment.run.model",
        ]


def test_the_command_line_is_never_dropped():
    (problem,) = problems(MLP, ["mlp.build.rate = 0.1", "experiment.run.model = @cnn.build"])
    assert problem.startswith("--gin_param 'mlp.build.rate = 0.1': app.models.mlp.build.rate is used by nothing")


def test_a_value_written_after_its_user_was_gone_is_an_error():
    text = MLP + "experiment.run.model = @cnn.build\nmlp.build.width = 4\n"
    (problem,) = problems(text)
    assert problem.startswith("run.gin:11: app.models.mlp.build.width is used by nothing")


def test_a_macro_that_depended_on_itself_for_a_while_is_no_problem():
    text = HEAD + "A = 1\nA = [%A]\nexperiment.run.layers = %A\nA = [2]\nW = 1\nmlp.build.width = %W\n"
    assert "used by nothing" in problems(text)[0]


def test_an_overridden_binding_is_no_problem():
    configuration, dropped = checked(MLP, ["WIDTH = 5"])
    assert (configuration.macros["WIDTH"].value, dropped) == (5, [])


@pytest.mark.parametrize(
    "reference, scope, used",
    [
        ("@a/mlp.build", "a", True),
        ("@a/b/mlp.build", "a", True),
        ("@a/b/mlp.build", "b", False),
        ("@ab/mlp.build", "a", False),
        ("@mlp.build", "a", False),
        ("%M", "a", False),
        ("%M", "M", True),
    ],
)
def test_scopes_reach_what_gin_would_give_them(reference, scope, used):
    """`@a/f` runs in a; a macro's call runs in the scope of the macro's name."""
    macro = "M = @mlp.build()\n" if reference == "%M" else ""
    text = f"{HEAD}{macro}experiment.run.model = {reference}\n{scope}/mlp.build.width = 3\n"
    if used:
        assert checked(text)[1] == []
    else:
        assert "used by nothing" in problems(text)[0]


@pytest.mark.parametrize("inner, used", [("@cnn.build", True), ("@cnn.build()", True), ("@b/cnn.build", False)])
def test_the_scope_of_a_call_passes_on_to_what_it_is_given(inner, used):
    text = f"{HEAD}experiment.run.model = @a/mlp.build\nmlp.build.other = {inner}\na/cnn.build.filters = 3\n"
    if used:
        assert checked(text)[1] == []
    else:
        assert "used by nothing" in problems(text)[0]
