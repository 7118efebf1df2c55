"""What may not change on a resume."""

import pytest

from trainer.config import parse
from trainer.config.diff import differences

HEAD = """from __gin__ import dynamic_registration
from app import experiment
from app import parts
from app.models import mlp as m
from app.actions import save
from app.actions import plateau
"""
PATTERNS = ("app.actions.*", "!app.actions.plateau.*", "app.experiment.run.steps", "app.parts.*")


def changes(old, new, head=HEAD):
    return differences(parse.read_text(HEAD + old, "old.gin"), parse.read_text(head + new, "new.gin"), PATTERNS)


@pytest.mark.parametrize(
    "old, new",
    [
        ("experiment.run.rate = 0.5", "R = %S\nS = 0.5\nexperiment.run.rate = %R"),
        ("experiment.run.layers = [1, 2]", "N = 2\nexperiment.run.layers = [1, %N]"),
        ("experiment.run.names = {'x': 1}", "N = 1\nexperiment.run.names = {'x': %N}"),
        ("A = 1", "A = 2"),
        ("", "m.build.width = 8"),
        ("experiment.run.steps = 3", "experiment.run.steps = 4"),
        ("", "save.Save.every = 3"),
        ("parts.task.size = 1", "a/parts.task.size = 2"),
        ("", "experiment.run.actions = [@save.Save, @a/save.Save()]"),
        (
            "experiment.run.actions = [@plateau.Plateau, @save.Save]",
            "S = @save.Save\nexperiment.run.actions = (%S, @plateau.Plateau)",
        ),
    ],
)
def test_what_makes_no_difference(old, new):
    assert changes(old, new) == []
    assert changes(new, old) == []


def test_an_alias_makes_no_difference():
    head = HEAD.replace("mlp as m", "mlp as other")
    assert changes("experiment.run.model = @m.build", "experiment.run.model = @other.build", head) == []


@pytest.mark.parametrize(
    "old, new, line",
    [
        (
            "R = 0.5\nexperiment.run.rate = %R",
            "R = 1\nexperiment.run.rate = %R",
            "app.experiment.run.rate: was 0.5, is now 1",
        ),
        ("m.build.width = 3", "", "app.models.mlp.build.width: was 3, is now 8"),
        ("", "a/m.build.width = 3", "a/app.models.mlp.build.width: was 8, is now 3"),
        (
            "",
            "parts.anything.x = 3\nplateau.Plateau.factor = 1.0",
            "app.actions.plateau.Plateau.factor: was 0.5, is now 1.0",
        ),
        (
            "experiment.run.actions = [@save.Save]",
            "experiment.run.actions = [@save.Save, @plateau.Plateau]",
            "app.experiment.run.actions: was [], is now [@app.actions.plateau.Plateau]",
        ),
    ],
)
def test_what_differs_is_told_by_name_with_both_values(old, new, line):
    assert changes(old, new) == [line]


def test_a_scope_inherits_what_it_does_not_bind():
    old = "m.build.width = 3"
    assert changes(old, f"{old}\na/b/m.build.width = 8") == ["a/b/app.models.mlp.build.width: was 3, is now 8"]
    assert changes(f"a/{old}", f"a/{old}\na/b/m.build.width = 3") == []


def test_a_value_without_a_default_was_not_set():
    (line,) = differences(*(parse.read_text(HEAD + text, "x") for text in ("", "parts.anything.x = 3")), ())
    assert line == "app.parts.anything.x: was not set, is now 3"
