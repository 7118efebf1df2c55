"""The structure of the code, read from its text: which package may use which, what is private, and the picture of that.

    python tests/structure.py          writes the picture into docs/architecture.md

`uses` finds the full names of all that a module uses, however it comes by them, and `violations` says which of them the
rules forbid. tests/test_architecture.py holds that against the tree, and against trees with one fault added.
"""

import ast
import builtins
import functools
import itertools
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Package -> what it may use of ours, besides itself. Where that is one module, like `trainer.tasks.protocol`, the others
# of its package may not be used: whoever may use the protocol knows what a task is, and no task.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "trainer.base": (),
    "trainer.lifecycle": ("trainer.base",),
    "trainer.storage": ("trainer.base",),
    "trainer.distributed": ("trainer.base",),
    "trainer.models": ("trainer.base",),
    "trainer.data": ("trainer.base", "trainer.storage"),
    "trainer.tasks": ("trainer.base", "trainer.data"),
    "trainer.rundir": ("trainer.base", "trainer.storage"),
    "trainer.pretrained": (
        "trainer.base", "trainer.storage", "trainer.rundir", "trainer.data", "trainer.tasks.protocol",
    ),
    "trainer.step": ("trainer.base", "trainer.distributed", "trainer.data", "trainer.tasks.protocol"),
    "trainer.observe": ("trainer.base", "trainer.lifecycle", "trainer.storage", "trainer.step.results"),
    "trainer.actions": (
        "trainer.base", "trainer.lifecycle", "trainer.distributed", "trainer.data", "trainer.tasks.protocol",
        "trainer.step", "trainer.pretrained", "trainer.observe",
    ),
    "trainer.loop": (
        "trainer.base", "trainer.lifecycle", "trainer.distributed", "trainer.data", "trainer.step", "trainer.observe", "trainer.actions",
    ),
    "trainer.modes": (
        "trainer.base", "trainer.lifecycle", "trainer.storage", "trainer.distributed", "trainer.data", "trainer.rundir",
        "trainer.step", "trainer.observe", "trainer.actions", "trainer.loop",
    ),
    "trainer.experiment": (
        "trainer.base", "trainer.distributed", "trainer.data", "trainer.tasks.protocol", "trainer.rundir",
        "trainer.pretrained", "trainer.step", "trainer.actions", "trainer.modes",
    ),
    "trainer.config": ("trainer.base",),
    # flags -> command -> dispatch -> launcher -> process
    "launch.origin": (),
    "launch.command": ("trainer.base",),
    "launch.prepare": ("launch.command", "trainer.base", "trainer.rundir", "trainer.config"),
    "launch.process": (
        "launch.prepare", "trainer.lifecycle.quiet_imports", "trainer.modes.invocation", "trainer.experiment",
        "trainer.config.text",
    ),
    "launch.child": ("launch.origin", "trainer.base", "trainer.lifecycle.stop_requests"),
    "launch.local": (
        "launch.command", "launch.process", "trainer.base", "trainer.lifecycle", "trainer.distributed.lost_workers",
        "trainer.rundir", "trainer.observe.console", "trainer.modes.invocation",
    ),
    "launch.replica_check": (
        "launch.command", "launch.prepare", "launch.process", "launch.child", "launch.origin", "trainer.base",
        "trainer.lifecycle", "trainer.rundir", "trainer.observe.console", "trainer.modes.invocation",
        "trainer.modes.comparison",
    ),
    "launch.on_ray": (
        "launch.command", "launch.prepare", "launch.process", "launch.origin", "launch.folds", "launch.fold_results",
        "trainer.base", "trainer.lifecycle", "trainer.rundir", "trainer.observe", "trainer.modes.invocation",
        "trainer.config.text",
    ),
    "launch.dispatch": (
        "launch.command", "launch.prepare", "launch.local", "launch.replica_check", "launch.on_ray.driver",
        "trainer.base", "trainer.lifecycle", "trainer.rundir", "trainer.observe.console",
    ),
    "launch.cli": ("launch.command", "launch.dispatch", "trainer.base", "trainer.lifecycle"),
    "trainer.main": ("launch.cli", "trainer.lifecycle.process_exit"),
    # One command several times: a fold is a process of trainer.main.
    "launch.fold_results": ("trainer.lifecycle.quiet_imports", "trainer.rundir"),
    "launch.folds": (
        "launch.command", "launch.child", "launch.origin", "launch.fold_results", "trainer.main", "trainer.base",
        "trainer.lifecycle.stop_requests", "trainer.rundir",
    ),
    "launch.sweep": (
        "launch.command", "launch.cli", "launch.dispatch", "launch.folds", "launch.fold_results", "launch.on_ray.folds",
        "launch.origin", "trainer.base", "trainer.lifecycle", "trainer.rundir",
    ),
}  # fmt: skip

# The files that exist for what is private to a library.
PRIVATE_FILES = {
    "trainer.base.private_keras": "keras",
    "trainer.base.private_tensorflow": "tensorflow",
    "launch.on_ray.private_ray": "ray",
}
# Private, although no underscore says so.
PRIVATE = (
    "keras.src", "tensorflow.python", "tensorflow.core", "tensorflow.compiler", "tensorflow.dtensor", "ray.core",
    "ray.train.v2", "ray.dashboard", "ray.autoscaler", "ray.experimental.internal_kv",
)  # fmt: skip
# Public, although they start with one: named tuples' names, the guide to masking's, and Python's own.
_HAVE_OWN = (*vars(builtins).values(), types.FunctionType, types.ModuleType, sys)
PYTHONS_OWN = {own for each in _HAVE_OWN for own in dir(each) if own.startswith("__") and own.endswith("__")}
PUBLIC = {*PYTHONS_OWN, *"_fields _asdict _replace _keras_mask __all__ __file__ __future__ __path__".split()}

# Names that belong to some modules alone. What imports by computed names could get around the table.
IMPORTING_BY_NAME = ("trainer.config.names", "launch.on_ray.prestart")
IMPORTERS = ("importlib.import_module", "importlib.__import__", "builtins.__import__")
HOMES: dict[str, tuple[str, ...]] = {
    "gin": ("trainer.config",),
    "ray": ("launch.on_ray",),
    "grpc": ("launch.on_ray.private_ray",),
    "rich": ("trainer.observe",),
    "absl": ("launch.cli",),
    "trainer.config.names": ("trainer.config",),
    **dict.fromkeys(IMPORTERS, IMPORTING_BY_NAME),
    **dict.fromkeys(("importlib.machinery", "importlib.reload", "importlib.util.module_from_spec"), IMPORTING_BY_NAME),
    **dict.fromkeys(("builtins.eval", "builtins.exec", "pkgutil.resolve_name", "runpy"), IMPORTING_BY_NAME),
}
STRATEGIES = "trainer.distributed.strategies"  # the home of their names, which have no package in common
# What reads and sets the attributes of an object by their names, and what makes functions that do.
ACCESS = ("builtins.getattr", "builtins.hasattr", "builtins.setattr", "builtins.delattr")
GETTERS = ("operator.attrgetter", "operator.methodcaller")

# Packages whose module has another name, and what declared packages bring along.
IMPORT_NAMES = {"absl-py": "absl", "gin-config": "gin", "pillow": "PIL"}
BROUGHT = {"tensorflow": "numpy", "keras": "h5py", "ray": "grpc", "s3fs": "fsspec"}

Trees = Mapping[str, ast.Module]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules() -> dict[str, ast.Module]:
    """The modules of trainer/ and launch/ by their full names."""
    paths = sorted([*ROOT.glob("trainer/**/*.py"), *ROOT.glob("launch/**/*.py")])
    return {name(path): ast.parse(path.read_text()) for path in paths}


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def within(full: str, *packages: str) -> bool:
    return f"{full}.".startswith(tuple(f"{package}." for package in packages))


@functools.cache
def uses(tree: ast.Module) -> dict[str, int]:
    """The full names of what a module uses, each with the line where it does so first.

    These are the names that it imports anywhere, `from a import b` as a.b; attributes, after the module that an import
    has made known under a name of its own (`import a as x; x.b` is a.b, and so is getattr(x, 'b')); and modules named in
    strings, to be imported or after "-m". '?.b' is an attribute of any other object than self and cls.
    """
    found: dict[str, int] = {}
    for line, full in _uses(tree, _known(tree), frozenset()):
        if full != "?":
            found.setdefault(full, line)
    return found


def _known(tree: ast.Module) -> dict[str, str]:
    """Names in a module -> the full names of what they stand for."""
    known = {each.removeprefix("builtins."): each for each in (*ACCESS, *HOMES) if within(each, "builtins")}
    nodes = list(ast.walk(tree))
    for node in nodes:
        match node:
            case ast.Import(names):
                plain = {(top := alias.name.partition(".")[0]): top for alias in names if not alias.asname}
                known |= plain | {alias.asname: alias.name for alias in names if alias.asname}
            case ast.ImportFrom(module, names):
                known |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in names}
    for node in nodes:
        match node:
            case ast.Assign([ast.Name(other)], value) | ast.NamedExpr(ast.Name(other), value):
                if not (full := _full(value, known, frozenset())).startswith("?"):
                    known.setdefault(other, full)
    return known


def _uses(node: ast.AST, known: Mapping[str, str], own: frozenset[str]) -> Iterator[tuple[int, str]]:
    """own: the name, self or cls, of the object whose method this is in."""
    match node:
        case ast.Import(names):
            yield from ((node.lineno, alias.name) for alias in names)
        case ast.ImportFrom(module, names, level):
            yield from ((node.lineno, f"{'.' * level}{module or ''}.{alias.name}") for alias in names)
        case ast.List(parts) | ast.Tuple(parts) | ast.Call(args=parts):
            for flag, module in itertools.pairwise(parts):
                if isinstance(flag, ast.Constant) and flag.value == "-m":
                    yield flag.lineno, module.value if isinstance(module, ast.Constant) else "runpy"
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr) and not isinstance(node, ast.Attribute):  # of a.b.c that, and not a.b
            yield child.lineno, _full(child, known, own)
        inside = own
        if isinstance(node, ast.ClassDef) and isinstance(child, FUNCTIONS):
            takes_own = "staticmethod" not in map(ast.unparse, child.decorator_list)
            inside = frozenset(each.arg for each in (*child.args.posonlyargs, *child.args.args)[:takes_own])
        yield from _uses(child, known, inside)


def _full(node: ast.AST, known: Mapping[str, str], own: frozenset[str]) -> str:
    """The full name of what an expression stands for, as in `uses`."""
    of = lambda part: _full(part, known, own)
    owner, attribute = None, None
    match node:
        case ast.Name(other):
            return known.get(other, "?")
        case ast.Attribute(owner, attribute):
            pass
        case ast.Subscript(table, ast.Constant(str(text))):
            if of(table) == "sys.modules":
                return text
            owner, attribute = _owner(table), text
        case ast.Call(function, arguments, keywords):
            given = [*arguments, *(each.value for each in keywords)]
            texts = [each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            called = of(function) if texts else ""
            if called in IMPORTERS:
                return texts[0]
            if called in GETTERS:
                return f"?.{texts[0]}"
            if called in ACCESS:
                owner, attribute = arguments[0], texts[0]
            elif texts and isinstance(function, ast.Attribute):
                owner, attribute = _owner(function.value), texts[0]
    if owner is None or (isinstance(owner, ast.Name) and owner.id in own):
        return "?"
    return f"{of(owner)}.{attribute}"


def _owner(table: ast.AST) -> ast.AST | None:
    """The object whose attributes a table has: x in vars(x) and in x.__dict__; None if it is no such table."""
    match table:
        case ast.Attribute(owner, "__dict__") | ast.Call(ast.Name("vars"), [owner]):
            return owner
    return None


@functools.cache
def package(full: str) -> str:
    """The row of the table that a module stands in, '' if there is none."""
    return max((row for row in MAY_IMPORT if within(full, row)), key=len, default="")


def of_module(full: str, known: Mapping[str, object]) -> str:
    """The module of ours that a name is, or is in."""
    while full and full not in known:
        full = full.rpartition(".")[0]
    return full


def arrows(trees: Trees) -> set[tuple[str, str]]:
    """The modules of ours that modules use, by the rows of the table: (using, used)."""
    pairs = {(module, of_module(full, trees)) for module, tree in trees.items() for full in uses(tree)}
    return {(package(here), there) for here, there in pairs if there}


def violations(trees: Trees) -> list[str]:
    """Where a tree departs from the rules about what uses what, a line each."""
    found = [f"{module} stands in no package of the table MAY_IMPORT" for module in trees
             if not package(module) and module not in ("trainer", "launch")]  # fmt: skip
    for module, tree in trees.items():
        found += [f"{module}:{line} uses {full}{wrong}" for full, line in _ours(tree).items()
                  for wrong in _of_ours(module, full, trees)]  # fmt: skip
        found += [f"{module}:{wrong}" for wrong in _of_others(module, tree)]
    return [*found, *_circles(trees)]


@functools.cache
def _ours(tree: ast.Module) -> dict[str, int]:
    return {full: line for full, line in uses(tree).items() if within(full, "trainer", "launch")}


def _of_ours(module: str, full: str, trees: Trees) -> Iterator[str]:
    """The table, and that names are taken from where they are defined."""
    target, row = of_module(full, trees), package(module)
    taken = full[len(target) + 1 :].partition(".")[0]
    if taken and taken not in _defined(trees[target]) and taken not in PYTHONS_OWN:
        yield f", which {target} does not define"
    if row and package(target) != row and not within(target, *MAY_IMPORT[row]):
        yield f": {row} may not"


@functools.cache
def _of_others(module: str, tree: ast.Module) -> list[str]:
    return [f"{line} uses {full}{wrong}" for full, line in uses(tree).items() for wrong in _judged(module, full)]


def _judged(module: str, full: str) -> Iterator[str]:
    """The way to Keras, names that have a home, packages that nobody installs, and what is private."""
    parts = full.split(".")
    if full.startswith("."):
        yield ", relatively"
    if re.match(r"(tf_keras|tensorflow(\.\w+)*\.keras)\b", full):
        yield ": Keras is `import keras`"
    homes = {home for one, its_homes in HOMES.items() if within(full, one) for home in its_homes}
    if any(part.endswith("Strategy") and part != "Strategy" for part in parts) and parts[0] in ("tensorflow", "?"):
        homes.add(STRATEGIES)
    if homes and not within(module, *homes):
        yield f", which belongs to {' and '.join(sorted(homes))}"
    if parts[0] not in _installed():
        yield ", which no package brings that setup.py declares"
    private = within(full, *PRIVATE) or any(part.startswith("_") and part not in PUBLIC for part in parts)
    if private and full != "os._exit" and not (module in PRIVATE_FILES and within(full, PRIVATE_FILES[module], "?")):
        yield ", which is private"


@functools.cache
def _installed() -> set[str]:
    """The names of all modules outside of packages that trainer/ and launch/ may import; and '?' and '' for no name."""
    setup = next(node for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
                 if isinstance(node, ast.Call) and ast.unparse(node.func) == "setup")  # fmt: skip
    given = {each.arg: each.value for each in setup.keywords}
    extras = ast.literal_eval(given["extras_require"])
    extras["always"] = ast.literal_eval(given["install_requires"])
    wanted = itertools.chain(*(extras[each] for each in extras if each != "dev"))
    packages = {re.split(r"[^\w-]", each)[0] for each in wanted}
    names = {IMPORT_NAMES.get(each, each.replace("-", "_")) for each in packages}
    brought = {module for each, module in BROUGHT.items() if each in packages}
    return {"trainer", "launch", "?", ""} | names | brought | sys.stdlib_module_names


@functools.cache
def _defined(tree: ast.Module) -> set[str]:
    """What other modules may take from this one: what it defines itself, and what it lists in __all__."""
    found = set(constant(tree, "__all__"))
    for node in tree.body:
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
            found.add(node.name)
        else:
            names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
            found |= {part.id for part in names if isinstance(part.ctx, ast.Store)}
    return found


def constant(tree: ast.Module, wanted: str) -> tuple[str, ...]:
    """The strings that a module assigns to a name; () if it does not."""
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == wanted]
    return tuple(ast.literal_eval(assigned[-1].value)) if assigned else ()


def _circles(trees: Trees) -> Iterator[str]:
    """Modules that use each other, lazily or not."""
    graph = {m: {of_module(full, trees) for full in _ours(tree)} & trees.keys() - {m} for m, tree in trees.items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> Iterator[str]:
        if module in above:
            yield f"a circle: {' -> '.join((*above[above.index(module) :], module))}"
        elif module not in done:
            for target in sorted(graph[module]):
                yield from visit(target, (*above, module))
            done.add(module)

    for module in graph:
        yield from visit(module, ())


def packages_picture(trees: Trees) -> str:
    """The packages and their arrows as Mermaid text; arrows that follow from others are left out.

    The parts of launch/ are one node. What sweep starts as `python -m trainer.main` is no arrow, since it points up.
    """
    folded = {row: "launch" if within(row, "launch") else row for row in MAY_IMPORT}
    pairs = {(here, package(there)) for here, there in arrows(trees) if here and package(there)}
    there = {(folded[a], folded[b]) for a, b in pairs if folded[a] != folded[b] and b != "trainer.main"}
    below = {row: _below(row, there) for row in folded.values()}
    direct = [(a, b) for a, b in there if not any(b in below[c] for c in (t for s, t in there if s == a) if c != b)]
    short = lambda row: row.removeprefix("trainer.")
    lines = [f"    {short(a)} --> {short(b)}" for a, b in sorted(direct)]
    return "\n".join(["```mermaid", "graph TD", *lines, "```"])


def _below(row: str, there: set[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    ahead = [row]
    while ahead:
        at = ahead.pop()
        new = {b for a, b in there if a == at} - found
        found |= new
        ahead += new
    return found


def main() -> None:
    docs = ROOT / "docs" / "architecture.md"
    start, end = "<!-- packages: python tests/structure.py -->\n", "<!-- end of packages -->"
    before, rest = docs.read_text().split(start)
    after = rest.split(end)[1]
    docs.write_text(f"{before}{start}{packages_picture(modules())}\n{end}{after}")


if __name__ == "__main__":
    main()
