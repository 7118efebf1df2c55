"""The content of gin files as plain data: values, statements, and the configuration that they add up to.

Nothing here reads a file, imports a module that is named in one, or touches gin's own state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import isinf
from typing import Any, NamedTuple

REQUIRED = "gin.REQUIRED"


class Key(NamedTuple):
    """The name that a statement sets; a macro has only a `parameter`, which is its name."""

    scope: str
    selector: str
    parameter: str


@dataclass(frozen=True)
class Reference:
    """`@scope/selector`: a callable by its full name; with `call` its return value, `@scope/selector()`."""

    scope: str
    selector: str
    call: bool

    def __repr__(self) -> str:
        return f"@{_scoped(self.scope, self.selector)}{'()' if self.call else ''}"


@dataclass(frozen=True)
class Macro:
    """`%name`: the value of the macro of that name."""

    name: str

    def __repr__(self) -> str:
        return f"%{self.name}"


@dataclass(frozen=True)
class Statement:
    """One `NAME = VALUE`, and where it was written: 'file:line', or the whole flag for --gin_param."""

    key: Key
    value: Any
    location: str
    on_command_line: bool

    @property
    def name(self) -> str:
        """The left side of the equals sign, with the full selector."""
        if not self.key.selector:
            return self.key.parameter
        return f"{_scoped(self.key.scope, self.key.selector)}.{self.key.parameter}"

    def __str__(self) -> str:
        return f"{self.name} = {render(self.value)}"


@dataclass(frozen=True)
class Configuration:
    """All statements in the order in which they apply, and the modules that the files import."""

    statements: tuple[Statement, ...]
    imports: tuple[str, ...]

    @cached_property
    def final(self) -> dict[Key, Statement]:
        """The last statement on each key, in the order in which the keys were first written."""
        return {statement.key: statement for statement in self.statements}

    @cached_property
    def macros(self) -> dict[str, Statement]:
        """The final macros by name."""
        return {key.parameter: statement for key, statement in self.final.items() if not key.selector}

    def first(self, count: int) -> "Configuration":
        """The configuration as of its first `count` statements."""
        return Configuration(self.statements[:count], self.imports)


def leaves(value: Any) -> Iterator[Any]:
    """Every value in `value`, at any depth, that is not a list, tuple or dict."""
    if isinstance(value, dict):
        value = [item for pair in value.items() for item in pair]
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def transform(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` applied to each of its leaves."""
    if isinstance(value, dict):
        return {transform(key, change): transform(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(transform(item, change) for item in value)
    return change(value)


def render(value: Any) -> str:
    """`value` as gin text."""
    # repr(inf) is a name, which gin's parser refuses; a literal that overflows to infinity works.
    return repr(transform(value, lambda leaf: _Infinity(leaf) if isinstance(leaf, float) and isinf(leaf) else leaf))


class _Infinity(float):
    def __repr__(self) -> str:
        return "1e999" if self > 0 else "-1e999"


def _scoped(scope: str, name: str) -> str:
    return f"{scope}/{name}" if scope else name
