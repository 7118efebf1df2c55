"""A configuration as one self-contained gin file, and that file into gin: to disk, and to other processes.

The only file that touches gin's state, which belongs to a process: whoever runs the root calls `load` first.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gin

from trainer.config import names
from trainer.config.configuration import Configuration, Reference, Statement, leaves, render
from trainer.config.parse import read_text

_WHOLE = "# The whole configuration of a run, by full names. It needs no other gin file."
_USED = "# What the run used: every parameter of every call, defaults too, as far as gin text can say it."
_WIDTH = 110


def text(configuration: Configuration) -> str:
    """The configuration as a gin file; reading it gives an equal one, without the overridden statements."""
    return _render(configuration, _WHOLE)


def load(content: str, root: str) -> Callable[..., Any]:
    """Makes `content`, the text of a checked configuration, gin's only and final one in this process.

    Returns:
        The function called `root`, which takes from the configuration what its caller does not pass.
    """
    gin.clear_config()
    gin.parse_config(content)
    module = root.rpartition(".")[0]
    names.import_module(module)
    # Dynamic registration leaves the module's own function as it is: only this one takes from gin.
    function = gin.external_configurable(names.locate(root), module=module)
    gin.finalize()
    return function


def operative() -> str:
    """A gin file of what was used so far in this process, since `load`."""
    # Read again, because gin invents an alias for every second module of a package.
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
    # One item a line: a list of actions is read by people.
    if isinstance(value, dict):
        items = [f"{render(key)}: {render(item)}" for key, item in value.items()]
    else:
        items = [render(item) for item in value]
    opening, closing = {list: ("[", "]"), tuple: ("(", ")"), dict: ("{", "}")}[type(value)]
    return "\n".join([f"{name} = {opening}", *(f"        {item}," for item in items), f"    {closing}"])
