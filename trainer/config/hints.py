"""Checks whether a value from a gin file fits a type hint. What cannot be known before objects exist is accepted."""

import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from trainer.config import names
from trainer.config.configuration import Macro, Reference, Statement

# The types of gin's literals that fit a hint: an int fits float, but a bool does not fit int.
_LITERALS: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (float, int),
    str: (str,),
    bool: (bool,),
    types.NoneType: (types.NoneType,),
    list: (list,),
    tuple: (tuple,),
    dict: (dict,),
    Sequence: (list, tuple),
    Mapping: (dict,),
}

Macros = dict[str, Statement]


def culprit(statement: Statement, value: Any, hint: Any, macros: Macros) -> Statement | None:
    """Returns the statement with the part of `value` that does not fit `hint`, or None if all fits.

    statement: in which `value` is written; macros in it have statements of their own.
    """
    if isinstance(value, Macro):
        macro = macros.get(value.name)
        return culprit(macro, macro.value, hint, macros) if macro else None
    if _fits(value, hint, macros):
        return None
    found = (culprit(statement, item, item_hint, macros) for item, item_hint in _items(value, hint))
    return next((each for each in found if each), statement)


def calls(value: Any, hint: Any, macros: Macros) -> Iterator[tuple[Reference, int]]:
    """Yields the references in `value` that will be called, each with the number of its positional arguments."""
    if isinstance(value, Macro):
        if value.name in macros:
            yield from calls(macros[value.name].value, hint, macros)
    elif isinstance(value, Reference):
        members = typing.get_args(hint) if _is_union(hint) else [hint]
        given = [arguments for arguments in map(_arguments, members) if arguments is not None]
        if value.call:
            yield value, 0  # by gin
        elif given:
            yield value, max(given)
    else:
        for item, item_hint in _items(value, hint):
            yield from calls(item, item_hint, macros)


def describe(hint: Any) -> str:
    """Returns `hint` in words, for messages: 'int or None'."""
    if _is_union(hint):
        return " or ".join(describe(member) for member in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(choice) for choice in typing.get_args(hint))
    if _origin(hint) is Callable:
        return "a reference such as @module.name" + (", without ()" if _arguments(hint) == 0 else "")
    if _origin(hint) is Sequence and any(_origin(each) is Callable for each in typing.get_args(hint)):
        return f"a list, each item {describe(typing.get_args(hint)[0])}"
    if hint is types.NoneType:
        return "None"
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")


def _fits(value: Any, hint: Any, macros: Macros) -> bool:
    if isinstance(value, Macro):
        return value.name not in macros or _fits(macros[value.name].value, hint, macros)
    if _is_union(hint):
        return any(_fits(value, member, macros) for member in typing.get_args(hint))
    origin = _origin(hint)
    if isinstance(value, Reference) and value.call:
        if origin is Callable:
            return _arguments(hint) != 0 or _makes_callables(value)
        return origin is not types.NoneType  # a call that returns None would be pointless
    if origin is Callable:
        return isinstance(value, Reference)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin not in _LITERALS:
        return True
    if type(value) not in _LITERALS[origin] or (_is_fixed_tuple(hint) and len(value) != len(typing.get_args(hint))):
        return False
    return all(_fits(item, item_hint, macros) for item, item_hint in _items(value, hint))


def _arguments(hint: Any) -> int | None:
    """The number of arguments of a Callable hint; None for another hint, or if the arguments are not given."""
    given = typing.get_args(hint)[:1] if _origin(hint) is Callable else ()
    return len(given[0]) if given and isinstance(given[0], list) else None


def _makes_callables(reference: Reference) -> bool:
    """Whether the return annotation is a Callable. A model is callable, too, but is not a factory of models."""
    return "Callable" in str(getattr(names.locate(reference.selector), "__annotations__", {}).get("return"))


def _items(value: Any, hint: Any) -> Iterator[tuple[Any, Any]]:
    """The items of a container, each with its hint."""
    hints = typing.get_args(hint) if _origin(hint) in _LITERALS else ()
    if isinstance(value, dict) and len(hints) == 2:
        for key, item in value.items():
            yield key, hints[0]
            yield item, hints[1]
    elif isinstance(value, (list, tuple)) and hints:
        yield from zip(value, hints if _is_fixed_tuple(hint) else [hints[0]] * len(value), strict=False)


def _is_fixed_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple and typing.get_args(hint)[-1] is not ...


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint
