"""Checks everything about a configuration that can be known before anything is built; reports all problems at once.

These are wrong types, macros without a value, missing parameters, and statements that nothing uses. Names were resolved
in parse.py. The values themselves (a learning rate of 10) are not judged.
"""

from collections.abc import Collection, Iterator

from trainer.base.errors import UsageError
from trainer.config import names
from trainer.config.configuration import REQUIRED, Configuration, Key, Macro, Statement, leaves
from trainer.config.files import nearest
from trainer.config.hints import calls, culprit, describe
from trainer.config.reach import reach


def check(
    configuration: Configuration, root: str, given: Collection[str], also: Collection[str] = ()
) -> tuple[Configuration, list[str]]:
    """Returns the configuration without statements that a later one made unused, and a line for each of those.

    Args:
        configuration: as returned by `parse.read`.
        root: the full name of the function that the configuration is for.
        given: the parameters of the root that its caller passes itself.
        also: full names of other functions that may be configured, but need not be.

    Raises:
        UsageError: one line per problem, each with its location and the remedy.
    """
    for name in (root, *also):
        names.import_module(name.rpartition(".")[0])  # the files may not import it
    _refuse_cycles(configuration)
    used = _reach(configuration, (root, *also))
    dropped = _dropped(configuration, (root, *also), used)
    problems = [
        *_missing(configuration, root, given),
        *_missing_of_others(configuration, used),
        *_given(configuration, root, given),
        *_without_value(configuration, used),
        *_wrong_types(configuration, used),
        *_unused(configuration, used, dropped),
    ]
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    kept = tuple(statement for statement in configuration.statements if statement.key not in dropped)
    lines = [f"{statement.location}: {statement}" for statement in dropped.values()]
    return Configuration(kept, configuration.imports), lines


def _refuse_cycles(configuration: Configuration) -> None:
    """Raises UsageError for a macro that depends on itself; first, because the other checks would not end."""
    for name, macro in configuration.macros.items():
        seen, ahead = set(), [name]
        while ahead:
            for used in _macros(configuration.macros[ahead.pop()]):
                if used == name:
                    raise UsageError(f"{macro.location}: {macro}: the value of {name} depends on itself")
                if used in configuration.macros and used not in seen:
                    seen.add(used)
                    ahead.append(used)


def _missing(configuration: Configuration, root: str, given: Collection[str]) -> Iterator[str]:
    for name, parameter in names.signature(names.locate(root)).parameters.items():
        if parameter.default is names.EMPTY and name not in given and Key("", root, name) not in configuration.final:
            full = f"{root}.{name}"
            yield f"{full} is required: bind it in a gin file or with --gin_param '{full} = ...'"


def _missing_of_others(configuration: Configuration, used: set[Key]) -> Iterator[str]:
    """Missing parameters of functions that will be called, as far as type hints say with which arguments."""
    bound = {(key.selector, key.parameter) for key in configuration.final}  # in any scope
    for statement in _those(configuration, used):
        if not statement.key.selector:
            continue
        for reference, given in calls(statement.value, _parameter(statement).hint, configuration.macros):
            for name in names.required(names.locate(reference.selector), given):
                if (reference.selector, name) not in bound:
                    full = f"{reference.selector}.{name}"
                    yield (
                        f"{full} is required, since {statement.location}: {statement.name} calls it: bind it in a "
                        f"gin file or with --gin_param '{full} = ...'"
                    )


def _given(configuration: Configuration, root: str, given: Collection[str]) -> Iterator[str]:
    for key, statement in configuration.final.items():
        if key.selector == root and key.parameter in given:
            yield f"{statement.location}: {statement.name} is set by the command line itself: remove it here"


def _without_value(configuration: Configuration, used: set[Key]) -> Iterator[str]:
    for statement in _those(configuration, used):
        where, set_here = statement.location, statement.name
        for name in _macros(statement):
            if name == REQUIRED:
                yield f"{where}: {set_here} has no default: --gin_param '{set_here} = ...' sets it"
            elif name not in configuration.macros:
                remedy = nearest(name, configuration.macros) or f"; define it: {name} = ..."
                yield f"{where}: {set_here}: the macro %{name} is not defined{remedy}"


def _wrong_types(configuration: Configuration, used: set[Key]) -> Iterator[str]:
    for statement in _those(configuration, used):
        if not statement.key.selector:
            continue
        found, takes = _misfit(statement, _parameter(statement), configuration.macros)
        if found:
            written = found.location if found.on_command_line else f"{found.location}: {found}"
            whose = "" if found is statement else f"{statement.name} "
            yield f"{written}: {whose}takes {takes}"


def _parameter(statement: Statement) -> names.Parameter:
    """The parameter that the statement binds. One that **kwargs takes has no hint."""
    parameters, _ = names.signature(names.locate(statement.key.selector))
    return parameters.get(statement.key.parameter, names.Parameter(names.EMPTY, names.EMPTY))


def _misfit(
    statement: Statement, parameter: names.Parameter, macros: dict[str, Statement]
) -> tuple[Statement | None, str]:
    """The statement whose value does not fit the parameter, or None; and what the parameter takes."""
    hint, default = parameter
    written = _written(statement, macros)
    if hint is names.EMPTY:
        # Keras has no hints, but a string for a parameter whose default is a number must be a number in quotes.
        is_number = type(default) in (int, float, bool)
        return (written if is_number and isinstance(written.value, str) else None), type(default).__name__
    if written.value is None and default is None:
        return None, ""
    return culprit(statement, statement.value, hint, macros), describe(hint)


def _unused(configuration: Configuration, used: set[Key], dropped: dict[Key, Statement]) -> Iterator[str]:
    used_macros = [key.parameter for key in used if not key.selector]
    for key, statement in configuration.final.items():
        if key in used or key in dropped:
            continue
        where, name = statement.location, statement.name
        if key.selector:
            yield f"{where}: {name} is used by nothing: refer to @{key.selector} or remove it"
        else:
            remedy = nearest(name, used_macros) or f": refer to %{name}, include the file that does, or remove it"
            yield f"{where}: the macro {name} is used by nothing{remedy}"


def _reach(configuration: Configuration, roots: Collection[str]) -> set[Key]:
    return set().union(*(reach(configuration, root) for root in roots))


def _dropped(configuration: Configuration, roots: Collection[str], used: set[Key]) -> dict[Key, Statement]:
    """Statements that are unused, but were used until a later statement replaced what used them.

    Except those on the command line: an unused one is an error.
    """
    unused = {key: statement for key, statement in configuration.final.items() if key not in used}
    if not unused:
        return {}
    statements = configuration.statements
    history = [_reach(configuration.first(count), roots) for count in range(1, len(statements) + 1)]
    return {
        key: statement
        for key, statement in unused.items()
        if not statement.on_command_line and any(key in then for then in history[statements.index(statement) :])
    }


def _those(configuration: Configuration, used: set[Key]) -> Iterator[Statement]:
    return (statement for key, statement in configuration.final.items() if key in used)


def _macros(statement: Statement) -> list[str]:
    return [leaf.name for leaf in leaves(statement.value) if isinstance(leaf, Macro)]


def _written(statement: Statement, macros: dict[str, Statement]) -> Statement:
    """The statement in which the value was written: this one, or the macro at the end of a chain."""
    while isinstance(statement.value, Macro) and statement.value.name in macros:
        statement = macros[statement.value.name]
    return statement
