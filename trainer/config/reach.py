"""What a run can ever use: the calls, bindings and macros that lead from the root. Judges nothing.

It mirrors gin's rules. A call in scope a/b is given the bindings of the scopes '', a and a/b. `@a/f` runs in
scope a, whatever the scope around it; `@f` in the scope around it; what a macro calls, in the scope of the
macro's own name.
"""

from collections.abc import Iterator
from typing import Any

from trainer.config.configuration import Configuration, Key, Macro, Reference, leaves


def reach(configuration: Configuration, root: str) -> set[Key]:
    """The keys of all final bindings and macros that a call of `root` can lead to."""
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
    """The (scope, selector) of all references in `value`, through macros; adds these macros to `used`.

    A reference without () is called later, by its receiver in `scope`; one with (), at once in `call_scope`.
    """
    for leaf in leaves(value):
        if isinstance(leaf, Reference):
            yield leaf.scope or (call_scope if leaf.call else scope), leaf.selector
        elif isinstance(leaf, Macro) and leaf.name in configuration.macros and leaf.name not in trail:
            macro = configuration.macros[leaf.name]
            used.add(macro.key)
            yield from _calls(configuration, macro.value, scope, leaf.name, used, (*trail, leaf.name))
