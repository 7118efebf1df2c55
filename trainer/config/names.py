"""From the dotted names in gin files to modules, callables and their parameters. Imports; calls nothing."""

import importlib
import inspect
import pkgutil
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from trainer.config.files import nearest
from trainer.errors import place

EMPTY = inspect.Parameter.empty


class Parameter(NamedTuple):
    """The type hint and the default of one parameter; EMPTY where it has none."""

    hint: Any
    default: Any


class Signature(NamedTuple):
    """The named parameters of a callable, and whether it takes names beyond these."""

    parameters: dict[str, Parameter]
    takes_more: bool


def import_module(name: str) -> None:
    """Imports the module `name`.

    Raises:
        LookupError: there is no such module, or its own code failed; says which, and where inside.
    """
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a module's code may raise anything
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise LookupError(f"{error}{_nearest_module(error.name or '')}") from error
        raise LookupError(
            f"importing {name} failed with {type(error).__name__}: {error} (at {place(error)})"
        ) from error


def locate(path: str) -> Any:
    """The object at a full dotted path, whose modules are imported already.

    Raises:
        LookupError: a part of it is missing; names the nearest that is there.
    """
    first, *rest = path.split(".")
    target, done = sys.modules[first], first
    for part in rest:
        if not hasattr(target, part):
            public = [name for name in dir(target) if not name.startswith("_")]
            raise LookupError(f"{done} has no {part}{nearest(part, public)}")
        target, done = getattr(target, part), f"{done}.{part}"
    return target


def module_of(path: str) -> str:
    """The innermost module on a dotted path that can be imported under that very name."""
    parts = path.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    return next(prefix for prefix in prefixes if prefix in sys.modules and sys.modules[prefix] is locate(prefix))


def signature(target: Callable) -> Signature:
    """The parameters that a function or the construction of a class takes by name.

    A class whose constructor has **kwargs passes them on: the constructors of its bases say which are right.
    """
    if not inspect.isclass(target):
        return _signature(target)
    constructors = [
        base.__dict__.get("__init__") or base.__dict__["__new__"]
        for base in target.__mro__[:-1]
        if "__init__" in base.__dict__ or "__new__" in base.__dict__
    ]
    signatures = [_signature(constructor, skip=1) for constructor in constructors]
    if not signatures:
        return Signature({}, takes_more=False)
    if not signatures[0].takes_more or len(signatures) == 1:
        return signatures[0]
    merged = {name: found for each in reversed(signatures) for name, found in each.parameters.items()}
    return Signature(merged, takes_more=False)


def required(target: Callable, given: int) -> list[str]:
    """The parameters that a call with so many arguments by their places has to be given by name.

    Of a class these are its own constructor's: what the bases of one with **kwargs require, it may give itself.
    """
    try:
        parameters = list(inspect.signature(target).parameters.values())[given:]
    except (TypeError, ValueError):  # written in C, without a signature
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters if each.default is EMPTY and each.kind in named]


def _signature(function: Any, skip: int = 0) -> Signature:
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):  # written in C, without a signature
        return Signature({}, takes_more=True)
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    named = {
        parameter.name: Parameter(_hint(parameter.annotation, scope), parameter.default)
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    return Signature(named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters))


def _hint(annotation: Any, scope: dict[str, Any]) -> Any:
    if annotation is EMPTY:
        return EMPTY
    # One at a time: a name that only a type checker can see must not hide the hints of the other parameters.
    holder = types.SimpleNamespace(__annotations__={"hint": annotation})
    try:
        return typing.get_type_hints(holder, globalns=scope)["hint"]
    except Exception:
        return Any


def _nearest_module(name: str) -> str:
    parent, _, last = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", ()) if parent else None
    return nearest(last, [module.name for module in pkgutil.iter_modules(path)])
