"""Renders a configuration as one self-contained gin file, for disk and for other processes, and loads that into gin.

The only file that touches gin's state, which is global to a process: call `load` before the root. Checks nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gin

from trainer.config import names
from trainer.config.configuration import Configuration, Reference, Statement, leaves, render
from trainer.config.parse import read_text

_WHOLE = "# The whole configuration of a run, by full names. It needs no other gin file."
_USED = "# What the run used: every parameter of every call, defaults included, as far as gin text can express it."
_WIDTH = 110


def text(configuration: Configuration) -> str:
    """Returns the configuration as a gin file; reading it gives an equal one, without overridden statements."""
    return _render(configuration, _WHOLE)


def load(content: str, root: str) -> Callable[..., Any]:
    """Makes `content`, the text of a checked configuration, gin's only and final configuration in this process.

    Returns:
        The function with the full name `root`; it takes parameters that its caller does not pass from the
        configuration.
    """
    gin.clear_config()
    gin.parse_config(content)
    module = root.rpartition(".")[0]
    names.import_module(module)
    # Dynamic registration does not replace the function in its module: only the one returned takes values from gin.
    function: Callable[..., Any] = gin.external_configurable(names.locate(root), module=module)
    gin.finalize()
    return function


def operative() -> str:
    """Returns a gin file of the values that this process has used since `load`."""
    # Parsed again to get full names, because gin makes up aliases for modules.
    return _render(read_text(gin.operative_config_str(), "the operative configuration"), _USED)


def _render(configuration: Configuration, header: str) -> str:
    final = configuration.final.values()
    imports = sorted({*configuration.imports, *(names.module_of(selector) for selector in _selectors(final))})
    macros = [_statement(statement.name, statement.value) for statement in final if not statement.key.selector]
    blocks: dict[str, list[str]] = {}
    for statement in final:
        if statement.key.selector:
            owner = statement.name.removesuffix(f".{statement.key.parameter}")
            blocks.setdefault(owner, []).append(_statement(f"    {statement.key.parameter}", statement.value))
    sections = [
        [header, "from __gin__ import dynamic_registration"],
        [f"import {module}" for module in imports],
        macros,
        *([f"{owner}:", *lines] for owner, lines in blocks.items()),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _selectors(statements: Iterable[Statement]) -> Iterator[str]:
    for statement in statements:
        if statement.key.selector:
            yield statement.key.selector
        yield from (leaf.selector for leaf in leaves(statement.value) if isinstance(leaf, Reference))


def _statement(name: str, value: Any) -> str:
    line = f"{name} = {render(value)}"
    if len(line) <= _WIDTH or not isinstance(value, (list, tuple, dict)):
        return line
    # One item per line, so that people can read long lists.
    if isinstance(value, dict):
        items = [f"{render(key)}: {render(item)}" for key, item in value.items()]
    else:
        items = [render(item) for item in value]
    opening, closing = {list: ("[", "]"), tuple: ("(", ")"), dict: ("{", "}")}[type(value)]
    return "\n".join([f"{name} = {opening}", *(f"        {item}," for item in items), f"    {closing}"])
