"""From flags to statements: reads gin files and --gin_param texts, and resolves every name to its full path.

Finds names, modules and parameters that do not exist. Whether the values fit together is checked in validation.py. A
gin file imports modules and names what will be called: read none that you do not trust.
"""

import dataclasses
import inspect
import tokenize
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gin import config_parser

from trainer.base.errors import UsageError
from trainer.config import names
from trainer.config.configuration import Configuration, Key, Macro, Reference, Statement, transform
from trainer.config.files import choose, find, nearest


def read(
    files: Sequence[str], model: str | None = None, strategy: str | None = None, params: Sequence[str] = ()
) -> Configuration:
    """Returns the configuration that the flags select; if two statements set the same name, the later one wins.

    Args:
        files: gin files, as --gin_file names them.
        model: a name from gin/models/, read after the files.
        strategy: a name from gin/strategies/, read after the model.
        params: texts of --gin_param, one `NAME = VALUE` each, read last; they may use what any file imports.

    Raises:
        UsageError: a file, module, name or parameter does not exist, or a text is not gin; says where.
    """
    reader = _Reader()
    for name in files:
        reader.file(find(name))
    if model:
        reader.file(choose("--model", "models", model))
    if strategy:
        reader.file(choose("--strategy", "strategies", strategy))
    for text in params:
        reader.param(text)
    return reader.configuration()


def read_text(text: str, name: str) -> Configuration:
    """Returns the configuration in a gin text; `name` says in messages where it comes from.

    Raises:
        UsageError: see `read`.
    """
    reader = _Reader()
    reader.text(text, name)
    return reader.configuration()


class _Reader:
    """Reads files and texts one after another, and collects their statements."""

    def __init__(self) -> None:
        self._statements: list[Statement] = []
        self._imports: set[str] = set()
        # The modules that a name stands for in any of the files: params may use all names on which files agree.
        self._symbols: dict[str, set[str]] = {}
        # An object may have two paths (a package re-exports it); the first one written becomes its name.
        self._paths: dict[Any, str] = {}

    def configuration(self) -> Configuration:
        return Configuration(tuple(self._statements), tuple(sorted(self._imports)))

    def file(self, path: Path, including: tuple[Path, ...] = ()) -> None:
        try:
            content = path.read_bytes().decode().removeprefix("\ufeff")  # a byte order mark
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            raise UsageError(f"{path}:{line}: not a gin file: the text is not UTF-8") from error
        self.text(content, str(path), (*including, path.resolve()))

    def text(self, text: str, name: str, including: tuple[Path, ...] = ()) -> None:
        symbols: dict[str, set[str]] = {}
        own: list[Statement] = []
        for statement in _statements(text, lambda line: f"{name}:{line}"):
            where = f"{name}:{statement.location.line_num}"
            match statement:
                case config_parser.ImportStatement():
                    self._import(statement, where, symbols)
                case config_parser.IncludeStatement():
                    before = len(self._statements)
                    self.file(_included(statement.filename, Path(name).parent, where, including), including)
                    _require_effect(own, self._statements[before:])
                case config_parser.BindingStatement():
                    self._bind(statement, where, symbols)
                    own.append(self._statements[-1])

    def param(self, text: str) -> None:
        where = f"--gin_param '{text}'"
        statements = list(_statements(text, lambda line: where))
        if len(statements) != 1 or not isinstance(statements[0], config_parser.BindingStatement):
            raise UsageError(f"{where}: takes one NAME = VALUE")
        # Messages and config.gin show full names, so these must work here, too.
        packages = {module.partition(".")[0] for module in self._imports}
        symbols = {package: {package} for package in packages} | self._symbols
        self._bind(statements[0], where, symbols, on_command_line=True)

    def _import(self, statement: Any, where: str, symbols: dict[str, set[str]]) -> None:
        if statement.module == "__gin__.dynamic_registration":
            return
        try:
            names.import_module(statement.module)
        except LookupError as error:
            raise UsageError(f"{where}: {error.args[0]}") from error
        self._imports.add(statement.module)
        name = statement.bound_name()
        whole = statement.is_from or statement.alias
        symbols[name] = {statement.module if whole else name}
        self._symbols[name] = self._symbols.get(name, set()) | symbols[name]

    def _bind(self, statement: Any, where: str, symbols: dict[str, set[str]], on_command_line: bool = False) -> None:
        def full(leaf: Any) -> Any:
            if not isinstance(leaf, Reference):
                return leaf
            return dataclasses.replace(leaf, selector=self._resolve(leaf.selector, where, symbols))

        scope, selector, parameter = statement.scope, statement.selector, statement.arg_name
        if parameter:
            key = Key(scope, self._resolve(selector, where, symbols), parameter)
            _check_parameter(key, where)
        else:
            key = Key("", "", f"{scope}/{selector}" if scope else selector)
        self._statements.append(Statement(key, transform(statement.value, full), where, on_command_line))

    def _resolve(self, selector: str, where: str, symbols: dict[str, set[str]]) -> str:
        first, _, rest = selector.partition(".")
        modules = sorted(symbols.get(first, ()))
        if not modules:
            raise UsageError(f"{where}: {first} is not imported{nearest(first, symbols)}")
        if len(modules) > 1:
            raise UsageError(f"{where}: {first} means {' or '.join(modules)} in different files: write the full name")
        path = f"{modules[0]}.{rest}" if rest else modules[0]
        try:
            target = names.locate(path)
        except LookupError as error:
            raise UsageError(f"{where}: {error.args[0]}") from error
        if not callable(target):
            kind = "a module" if inspect.ismodule(target) else f"a value of type {type(target).__name__}"
            raise UsageError(f"{where}: {path} is {kind}: name a function or a class")
        return self._paths.setdefault(target, path)


class _Delegate(config_parser.ParserDelegate):  # type: ignore[misc]
    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        scope, _, selector = scoped_configurable_name.rpartition("/")
        return Reference(scope, selector, evaluate)

    def macro(self, macro_name: str) -> Macro:
        return Macro(macro_name)


def _statements(text: str, at: Callable[[int], str]) -> Iterator[Any]:
    """gin's own statements in `text`; `at` turns a line number into a location for messages."""
    parser = None
    try:
        parser = config_parser.ConfigParser(text, _Delegate())
        yield from parser
    except SyntaxError as error:
        raise UsageError(f"{at(error.lineno or 1)}: not gin syntax: {_last_line(error.msg)}") from error
    except tokenize.TokenError as error:  # since Python 3.12, for some of the errors above
        raise UsageError(f"{at(error.args[1][0])}: not gin syntax: {error.args[0]}") from error
    except TypeError as error:  # a dict whose key is a list
        line = parser.current_token.start[0] if parser else 1
        raise UsageError(f"{at(line)}: not gin syntax: {error}") from error


def _last_line(message: str) -> str:
    """The part of gin's message that names the token, without Python's own message."""
    last = message.splitlines()[-1].strip()
    if last.startswith("Failed to parse token"):
        return f"{last} (strings are written in quotes)"
    return last if len(last) > 1 else "NAME = VALUE was expected"


def _included(name: str, beside: Path, where: str, including: tuple[Path, ...]) -> Path:
    try:
        path = find(name, beside)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if path.resolve() in including:
        raise UsageError(f"{where}: includes {name}, which includes this file: remove one of the two")
    return path


def _require_effect(own: Sequence[Statement], included: Sequence[Statement]) -> None:
    """Raises UsageError if a file sets what a file that it includes afterwards sets again, to something else."""
    later = {statement.key: statement for statement in included}
    for statement in own:
        over = later.get(statement.key)
        if over is not None and over.value != statement.value:
            raise UsageError(
                f"{statement.location}: {statement} has no effect, since {over.location} sets {over} and is included "
                f"after it: move the line below the include"
            )


def _check_parameter(key: Key, where: str) -> None:
    parameters, takes_more = names.signature(names.locate(key.selector))
    if key.parameter not in parameters and not takes_more:
        hint = nearest(key.parameter, parameters) or f"; it takes: {', '.join(parameters) or 'none'}"
        raise UsageError(f"{where}: {key.selector} takes no {key.parameter}{hint}")
