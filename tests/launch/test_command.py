"""Commands: which make sense, how flags become one and one becomes flags, and that making one starts nothing."""

import ast
import dataclasses
import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest

from launch import cli
from launch.command import LAUNCHERS, MODES, Command, ConfigurationSource, Permissions
from trainer.base.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ConfigurationSource(("runs/mnist_small.gin",))

REFUSED = {
    "flag --mode=bogus: value should be one of <train|evaluate|predict|check>": {"mode": "bogus"},
    "flag --launcher=bogus: value should be one of <local|ray>": {"launcher": "bogus"},
    "--input has no effect with --mode=train, only with predict: drop it": {"input": "x.npz"},
    "--input has no effect with --mode=evaluate, only with predict: drop it": {"mode": "evaluate", "input": "x.npz"},
    "--output has no effect with --mode=train, only with predict or evaluate: drop it": {"output": ""},
    "--output has no effect with --mode=check, only with predict or evaluate: drop it": {
        "mode": "check",
        "output": "x.npz",
    },
    "--run_dir is required: name a directory for the run": {"run_dir": ""},
    "--num_workers=0: give a number of workers, or MIN:MAX, each at least 1": {"launcher": "ray", "workers": (0, 0)},
    "--num_workers=0:2: give a number of workers, or MIN:MAX, each at least 1": {"launcher": "ray", "workers": (0, 2)},
    "--num_workers=3:2: give a number of workers, or MIN:MAX, each at least 1": {"launcher": "ray", "workers": (3, 2)},
    "--num_workers=2 has no effect without --launcher=ray: add that": {"workers": (2, 2)},
    "--num_workers=1:4 has no effect without --launcher=ray: add that": {"workers": (1, 4)},
    "--mode=evaluate runs in one process: drop --launcher=ray": {"mode": "evaluate", "launcher": "ray"},
    "--mode=check runs in one process: drop --launcher=ray": {"mode": "check", "launcher": "ray"},
}


@pytest.mark.parametrize("says", REFUSED)
def test_a_command_that_contradicts_itself_cannot_be_made(says):
    with pytest.raises(UsageError) as refusal:
        Command(SOURCE, **{"run_dir": "x", **REFUSED[says]})
    assert refusal.value.message == says


@pytest.mark.parametrize("change", [{"mode": "bogus"}, {"run_dir": ""}, {"workers": (2, 2)}])
def test_nor_be_made_of_another(change):
    with pytest.raises(UsageError):
        dataclasses.replace(Command(SOURCE, "x"), **change)


@pytest.mark.parametrize(
    "fields",
    [
        {"run_dir": "x"},
        {"mode": "check"},
        {"run_dir": "x", "mode": "predict", "input": "x.npz", "output": "y.npz"},
        {"run_dir": "x", "mode": "evaluate", "output": "y.json"},
        {"run_dir": "x", "launcher": "ray"},
        {"run_dir": "x", "launcher": "ray", "workers": (1, 4)},
    ],
)
def test_these_make_sense(fields):
    assert Command(SOURCE, **fields)


def test_a_parameter_is_added_last():
    command = Command(ConfigurationSource(gin_params=("A = 1",)), "x").with_param("A = 2")
    assert command == Command(ConfigurationSource(gin_params=("A = 1", "A = 2")), "x")


def test_every_mode_of_a_command_is_one_of_the_experiment():
    tree = ast.parse((ROOT / "trainer" / "experiment.py").read_text())
    (modes,) = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MODES"
    )
    assert tuple(ast.literal_eval(key) for key in modes.keys) == MODES


@pytest.mark.parametrize("text, workers", [("1", (1, 1)), ("2", (2, 2)), ("1:4", (1, 4)), ("3:3", (3, 3))])
def test_workers_are_a_number_or_two(text, workers):
    assert cli.parse(["--run_dir=x", "--launcher=ray", f"--num_workers={text}"]).workers == workers


@pytest.mark.parametrize("text", ["", "0", "two", "-1", "1:", ":2", "3:2", "1:2:3", "1.5", " 1"])
def test_workers_that_are_neither(text):
    with pytest.raises(UsageError) as refusal:
        cli.parse(["--run_dir=x", "--launcher=ray", f"--num_workers={text}"])
    assert refusal.value.message == f"--num_workers={text}: give a number of workers, or MIN:MAX, each at least 1"


@pytest.mark.parametrize("flag", ["mode", "launcher"])
def test_a_choice_that_is_not_there_is_told_alike_by_flags_and_commands(flag):
    with pytest.raises(UsageError) as of_flags:
        cli.parse(["--run_dir=x", f"--{flag}=bogus"])
    with pytest.raises(UsageError) as of_command:
        Command(SOURCE, "x", **{flag: "bogus"})
    assert of_flags.value.message == of_command.value.message


TEXTS = [
    "x", "", " ", " a b ", "NAME = 'a, b'", 'x = "quoted"', "'", '"', "a=b=c", "=", "--mode=check", "-h", "--help", "--",
    "two\nlines", "\n", "\t", "a,b", "[1, 2]", "{'a': 1}", "$HOME `x` \\", "größe/ähre.gin", "@x()", "--flagfile=x", "%X",
]  # fmt: skip


def commands(number):
    """Random ones that make sense, in many combinations."""
    random_ = random.Random(0)
    text = lambda: random_.choice(TEXTS) + random_.choice(["", *TEXTS])
    maybe = lambda: random_.choice([None, text()])
    texts = lambda: tuple(text() for _ in range(random_.randrange(4)))
    while number:
        least = random_.randrange(1, 4)
        try:
            yield Command(
                ConfigurationSource(texts(), maybe(), maybe(), texts()),
                random_.choice(["", text(), f"s3://{text()}"]),
                random_.choice(MODES),
                random_.choice(LAUNCHERS),
                random_.choice([(1, 1), (least, least + random_.randrange(3))]),
                Permissions(random_.choice([False, True]), random_.choice([False, True])),
                maybe(),
                maybe(),
            )
            number -= 1
        except UsageError:
            continue


def test_flags_of_a_command_make_the_same_command():
    made = [*commands(1000), Command(ConfigurationSource(), mode="check")]
    for command in made:
        assert cli.parse(command.flags()) == command
    # Every part was there, and not there.
    defaults = Command(ConfigurationSource(), "x")
    for field in dataclasses.fields(Command):
        values = {getattr(command, field.name) for command in made}
        assert getattr(defaults, field.name) in values or field.name == "run_dir"
        assert len(values) > 1, field.name
    assert {(c.mode, c.launcher) for c in made} == {*itertools.product(MODES, ["local"]), ("train", "ray")}


def test_what_was_parsed_before_does_not_matter():
    first = ["--gin_file=a", "--gin_param=A = 1", "--run_dir=x", "--allow_config_change", "--model=cnn"]
    assert cli.parse(first) == cli.parse(first)
    assert cli.parse(["--run_dir=y"]) == Command(ConfigurationSource(), "y")


def test_help_is_printed_instead(capsys):
    assert cli.parse(["--gin_file=x", "--help"]) is None
    told = capsys.readouterr().out
    assert all(f"--{flag}" in told for flag in ("gin_file", "run_dir", "num_workers", "[no]allow_config_change"))
    assert "<train|evaluate|predict|check>" in told


@pytest.mark.process
@pytest.mark.parametrize("module", ["launch.cli", "launch.command", "launch.dispatch", "launch.sweep"])
def test_the_launchers_are_imported_without_anything_that_starts_threads(module):
    """Signals have to be blocked before there are threads. Then it is found out quickly what a command lacks, too."""
    code = f"import sys, {module}; print([x for x in ('tensorflow', 'keras', 'numpy', 'ray') if x in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "[]\n"
