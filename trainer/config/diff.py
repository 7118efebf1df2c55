"""What differs between the configuration of a run and the one it is resumed with, as far as it may not.

Compares what the run would get: a macro or an alias instead of the value itself makes no difference.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from trainer.config import names
from trainer.config.configuration import Configuration, Key, Macro, Reference, leaves, render

# Lowers the learning rate by what evaluations find.
_PLATEAU = "trainer.actions.reduce_on_plateau."
# What a resume may change: it alters neither the arithmetic nor the order of the examples. Patterns of
# selector.parameter, and of selectors that a list may gain or lose; the last that matches decides, ! says no.
FREE = (
    "launch.*",
    "trainer.strategies.*",
    "trainer.actions.*",
    f"!{_PLATEAU}*",
    "trainer.checkpoints.*",
    "trainer.experiment.run.strategy",
    "trainer.experiment.run.faults",
    "trainer.experiment.run.steps_per_loop",
    "trainer.experiment.run.steps",
    "trainer.experiment.run.epochs",
)


def free(configuration: Configuration) -> tuple[str, ...]:
    """What a resume of a run with this configuration may change."""
    used = (leaf for statement in configuration.final.values() for leaf in leaves(statement.value))
    counted = any(isinstance(leaf, Reference) and leaf.selector.startswith(_PLATEAU) for leaf in used)
    return (*FREE, "!trainer.actions.evaluate.*") if counted else FREE


def differences(old: Configuration, new: Configuration, free: Sequence[str]) -> list[str]:
    """One line for each value that differs and may not: its name, the old value and the new one.

    Args:
        old: the checked configuration that the run was started with.
        new: the checked configuration that it is to go on with.
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
    """What a call in the scope of `key` gets: what is bound there, in the scopes around it, or nowhere."""
    scopes = key.scope.split("/")
    around = [key._replace(scope="/".join(scopes[:end])) for end in range(len(scopes), -1, -1)]
    return next((values[each] for each in around if each in values), default)


def _resolve(value: Any, configuration: Configuration, free: Sequence[str]) -> Any:
    """`value` with its macros filled in; lists and tuples, here alike, lose the references that are free."""
    if isinstance(value, Macro):
        return _resolve(configuration.macros[value.name].value, configuration, free)
    if isinstance(value, dict):
        return {key: _resolve(item, configuration, free) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_resolve(item, configuration, free) for item in value]
        return [item for item in items if not (isinstance(item, Reference) and _is_free(item.selector, free))]
    return value


def _default(key: Key, configuration: Configuration, free: Sequence[str]) -> Any:
    """What a parameter that is not bound gets; EMPTY if nothing is known of it."""
    parameters = names.signature(names.locate(key.selector)).parameters
    if key.parameter not in parameters:
        return names.EMPTY
    return _resolve(parameters[key.parameter].default, configuration, free)


def _is_free(name: str, free: Sequence[str]) -> bool:
    matching = [pattern for pattern in free if fnmatchcase(name, pattern.removeprefix("!"))]
    return bool(matching) and not matching[-1].startswith("!")


def _say(value: Any) -> str:
    return "not set" if value is names.EMPTY else render(value)
