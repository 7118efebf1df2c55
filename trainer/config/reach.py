"""What a run can use: the bindings and macros that can be reached from calls of the root. Reports no problems.

It follows gin's rules. A call in scope a/b gets the bindings of the scopes '', a and a/b. `@a/f` runs in scope a,
whatever the enclosing scope; `@f` in the enclosing scope; calls in a macro's value run in a scope with the macro's
name.
"""

from collections.abc import Iterator
from typing import Any

from trainer.config.configuration import Configuration, Key, Macro, Reference, leaves


def reach(configuration: Configuration, root: str) -> set[Key]:
    """Returns the keys of all final bindings and macros that a call of `root` can use."""
    used: set[Key] = set()
    called = set()
    to_call = [("", root)]
    while to_call:
        call = to_call.pop()
        if call in called:
            continue
        called.add(call)
        scope, selector = call
        for key, statement in configuration.final.items():
            if key.selector == selector and f"{scope}/".startswith(f"{key.scope}/" if key.scope else ""):
                used.add(key)
                to_call.extend(_calls(configuration, statement.value, scope, scope, used, ()))
    return used


def _calls(
    configuration: Configuration,
    value: Any,
    scope: str,
    call_scope: str,
    used: set[Key],
    trail: tuple[str, ...],
) -> Iterator[tuple[str, str]]:
    """The (scope, selector) of all references in `value`, also through macros, which are added to `used`.

    A reference without () is called later, by its receiver, in `scope`; one with () at once, in `call_scope`.
    """
    for leaf in leaves(value):
        if isinstance(leaf, Reference):
            yield leaf.scope or (call_scope if leaf.call else scope), leaf.selector
        elif isinstance(leaf, Macro) and leaf.name in configuration.macros and leaf.name not in trail:
            macro = configuration.macros[leaf.name]
            used.add(macro.key)
            yield from _calls(configuration, macro.value, scope, leaf.name, used, (*trail, leaf.name))
