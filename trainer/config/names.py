"""From the dotted names in gin files to modules, callables and their parameters. Imports modules, but calls nothing."""

import functools
import importlib
import inspect
import os
import pkgutil
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from trainer.base.errors import place
from trainer.config.files import nearest

EMPTY = inspect.Parameter.empty


class Parameter(NamedTuple):
    """The type hint and the default of a parameter; EMPTY if it has none."""

    hint: Any
    default: Any


class Signature(NamedTuple):
    """The named parameters of a callable, and whether it takes others, too (**kwargs)."""

    parameters: dict[str, Parameter]
    takes_more: bool


def import_module(name: str) -> None:
    """Imports the module `name`.

    Raises:
        LookupError: there is no such module, or its own code failed, with the location.
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
    """Returns the object at a full dotted path, whose modules are imported already.

    Raises:
        LookupError: a part of the path does not exist; names the most similar one.
    """
    first, *rest = path.split(".")
    target, done = sys.modules[first], first
    for part in rest:
        if not hasattr(target, part):
            public = [name for name in dir(target) if not name.startswith("_")]
            hint = _elsewhere(f"{done}.{part}") or nearest(part, public)
            raise LookupError(f"{done} has no {part}{hint}")
        target, done = getattr(target, part), f"{done}.{part}"
    return target


def module_of(path: str) -> str:
    """Returns the innermost module on a dotted path that can be imported under that name."""
    parts = path.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]
    return next(prefix for prefix in prefixes if prefix in sys.modules and sys.modules[prefix] is locate(prefix))


@functools.cache  # a configuration asks for the same ones again and again
def signature(target: Callable[..., Any]) -> Signature:
    """Returns the parameters that a function, or the constructor of a class, takes by name.

    If the constructor of a class has **kwargs, those of its bases are included, to which it passes them on.
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


def required(target: Callable[..., Any], given: int) -> list[str]:
    """Returns the parameters without a default that a call with `given` positional arguments must pass by name.

    For a class, only its own constructor's: with **kwargs it may pass the bases' itself.
    """
    try:
        parameters = list(inspect.signature(target).parameters.values())[given:]
    except (TypeError, ValueError):  # C code without a signature
        return []
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [each.name for each in parameters if each.default is EMPTY and each.kind in named]


def _signature(function: Any, skip: int = 0) -> Signature:
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):  # C code without a signature
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
    # One at a time: a name that only type checkers can resolve must not hide the other parameters' hints.
    holder = types.SimpleNamespace(__annotations__={"hint": annotation})
    try:
        return typing.get_type_hints(holder, globalns=scope)["hint"]
    except Exception:
        return Any


def _nearest_module(name: str) -> str:
    """The end of a message on a module that is not there: one of that name in another package, or one like it."""
    parent, _, last = name.rpartition(".")
    like_it = [module.name for module in pkgutil.iter_modules(_path(parent) if parent else None)]
    return _elsewhere(name) or nearest(last, like_it)


def _elsewhere(name: str) -> str:
    """The end of a message that tells in which other package a module of that name is; '' if there is none."""
    top, last = name.partition(".")[0], name.rpartition(".")[2]
    found = [full for full in _modules(top, _path(top)) if full.endswith(f".{last}")]
    return f"; there is {' and '.join(found)}" if found else ""


def _path(package: str) -> list[str]:
    return list(getattr(sys.modules.get(package), "__path__", ()))


def _modules(package: str, path: list[str]) -> Iterator[str]:
    """The full names of the modules in a package and its subpackages; imports none."""
    for module in pkgutil.iter_modules(path):
        yield f"{package}.{module.name}"
        if module.ispkg:
            yield from _modules(f"{package}.{module.name}", [os.path.join(folder, module.name) for folder in path])
