"""The differences between two configurations that forbid a resume.

Compares the values that the run would get: whether one is written as a macro or under an alias makes no difference.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from trainer.config import names
from trainer.config.configuration import Configuration, Key, Macro, Reference, leaves, render

# This action changes the learning rate by the results of evaluations, so with it they affect the numbers.
_PLATEAU = "trainer.actions.reduce_on_plateau."
# What a resume may change, because it alters neither the arithmetic nor the order of the examples: patterns of
# selector.parameter, and of selectors that lists may gain or lose. The last pattern that matches decides; ! negates.
FREE = (
    "launch.*",
    "trainer.distributed.strategies.*",
    "trainer.actions.*",
    f"!{_PLATEAU}*",
    "trainer.rundir.checkpoints.*",
    "trainer.experiment.run.strategy",
    "trainer.experiment.run.faults",
    "trainer.experiment.run.steps_per_loop",
    "trainer.experiment.run.steps",
    "trainer.experiment.run.epochs",
)


def free(configuration: Configuration) -> tuple[str, ...]:
    """Returns the patterns of what a resume of a run with this configuration may change."""
    used = (leaf for statement in configuration.final.values() for leaf in leaves(statement.value))
    counted = any(isinstance(leaf, Reference) and leaf.selector.startswith(_PLATEAU) for leaf in used)
    return (*FREE, "!trainer.actions.evaluate.*") if counted else FREE


def differences(old: Configuration, new: Configuration, free: Sequence[str]) -> list[str]:
    """Returns one line per value that differs and may not: its name, the old value and the new one.

    Args:
        old: the checked configuration that the run was started with.
        new: the checked configuration that it would be resumed with.
        free: patterns of what may differ, as in FREE.
    """
    before, after = _values(old, free), _values(new, free)
    lines = []
    for key in {**before, **after}:
        default = _default(key, new, free)
        was, now = _value(key, before, default), _value(key, after, default)
        if was != now:
            name = (old.final.get(key) or new.final[key]).name
            lines.append(f"{name}: was {_say(was)}, is now {_say(now)}")
    return lines


def _values(configuration: Configuration, free: Sequence[str]) -> dict[Key, Any]:
    return {
        key: _resolve(statement.value, configuration, free)
        for key, statement in configuration.final.items()
        if key.selector and not _is_free(f"{key.selector}.{key.parameter}", free)
    }


def _value(key: Key, values: dict[Key, Any], default: Any) -> Any:
    """The value that a call in the scope of `key` gets: bound in that scope, in an enclosing one, or the default."""
    scopes = key.scope.split("/")
    around = [key._replace(scope="/".join(scopes[:end])) for end in range(len(scopes), -1, -1)]
    return next((values[each] for each in around if each in values), default)


def _resolve(value: Any, configuration: Configuration, free: Sequence[str]) -> Any:
    """`value` with macros replaced by their values; lists and tuples become lists without the free references."""
    if isinstance(value, Macro):
        return _resolve(configuration.macros[value.name].value, configuration, free)
    if isinstance(value, dict):
        return {key: _resolve(item, configuration, free) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_resolve(item, configuration, free) for item in value]
        return [item for item in items if not (isinstance(item, Reference) and _is_free(item.selector, free))]
    return value


def _default(key: Key, configuration: Configuration, free: Sequence[str]) -> Any:
    """The default of a parameter that is not bound; EMPTY if it has none."""
    parameters = names.signature(names.locate(key.selector)).parameters
    if key.parameter not in parameters:
        return names.EMPTY
    return _resolve(parameters[key.parameter].default, configuration, free)


def _is_free(name: str, free: Sequence[str]) -> bool:
    matching = [pattern for pattern in free if fnmatchcase(name, pattern.removeprefix("!"))]
    return bool(matching) and not matching[-1].startswith("!")


def _say(value: Any) -> str:
    return "not set" if value is names.EMPTY else render(value)
