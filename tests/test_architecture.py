"""The house rules that a program can check: which way imports point, what is private, sizes, and names that must not be."""

import ast
import functools
import re

import pytest
import structure
from structure import MAY_IMPORT, ROOT, modules, violations, within

FILES = sorted([*ROOT.glob("trainer/**/*.py"), *ROOT.glob("launch/**/*.py")])
TREES = modules()
FUNCTIONS = structure.FUNCTIONS
# What a configuration may choose is listed in one place, however much it is.
MANY_PARAMETERS = {"trainer.experiment.run"}
# Its attributes are of the run, of an attempt and of a group of workers: they will be parted.
MANY_ATTRIBUTES = set()


def broken(trees):
    """Where a tree departs from the house rules, a line each."""
    large = [f"{full} has {number} {what}" for module, tree in trees.items() for full, number, what in sizes(module, tree)
             if full not in (MANY_PARAMETERS if what == "parameters" else MANY_ATTRIBUTES)]  # fmt: skip
    # The hang detector's phases are kinds of time, which are written in another file.
    kinds = structure.constant(trees["trainer.lifecycle.goodput"], "KINDS")
    counted = structure.constant(trees["launch.on_ray.hang_detector"], "_COUNTED")
    unknown = [f"launch.on_ray.hang_detector counts '{each}', no kind of time" for each in counted if each not in kinds]
    return [*violations(trees), *large, *unknown]


@functools.cache
def sizes(module, tree):
    """What is too large: its full name, how many it has, and of what."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            told = (ast.get_docstring(node, clean=False) or "").count("\n")  # lines that are no code
            counts = [(node.end_lineno - node.lineno + 1 - told, 60, "lines"), (len(parameters(node)), 8, "parameters")]
        elif isinstance(node, ast.ClassDef):
            fields = [part for part in node.body if is_record(node) and isinstance(part, ast.AnnAssign)]
            counts = [(len(fields), 8, "fields"), (len(attributes(node)), 16, "attributes")]
        else:
            continue
        # The name of what is inside of something else is not its full name, and in no list of exceptions.
        full = f"{module}.{node.name}" if node in tree.body else f"{module}: {node.name}"
        found += [(full, number, what) for number, most, what in counts if number > most]
    return found


def parameters(function):
    given = function.args
    several = [each for each in (given.vararg, given.kwarg) if each]
    names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, *several)]
    return [name for name in names if name not in ("self", "cls")]


def is_record(node):
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    named_tuple = any(base.split(".")[-1] == "NamedTuple" for base in bases(node))
    return named_tuple or any("dataclass" in decorator for decorator in decorators)


def attributes(node):
    """The names of what a class assigns to its objects."""
    stored = [part for part in ast.walk(node) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)]
    return {part.attr for part in stored if ast.unparse(part.value) == "self"}


def bases(node):
    return [ast.unparse(base) for base in node.bases]


def test_the_tree_keeps_the_rules():
    assert {"trainer.main", "trainer.config.parse", "trainer.step.train_step", "launch.local"} <= TREES.keys()
    assert broken(TREES) == []


# What is added to which module, and what is said about it. NINE is one more than eight.
NINE = [f"a{number}" for number in range(9)]
FAULTS = {
    # The table.
    "an arrow": ("trainer.step.pace", "from trainer.rundir import checkpoints", ": trainer.step may not"),
    "a lazy import": ("trainer.data.labels", "def f():\n    from trainer.step import pace", ": trainer.data may not"),
    "an import for types alone": (
        "trainer.observe.console",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trainer.actions.action import Action",
        ": trainer.observe may not",
    ),
    "a task where the protocol is allowed": (
        "trainer.step.pace", "from trainer.tasks.gan import Gan", ": trainer.step may not",
    ),
    "an attribute of a package": (
        "trainer.step.pace", "import trainer.data.source\nx = trainer.rundir.checkpoints",
        "uses trainer.rundir.checkpoints: trainer.step may not",
    ),
    "an import by name": (
        "trainer.config.names", "importlib.import_module('trainer.storage.atomic')", ": trainer.config may not",
    ),
    "an import by name, with a keyword": (
        "trainer.config.names", "importlib.import_module(name='trainer.storage.atomic')", ": trainer.config may not",
    ),
    "a module that is imported already": (
        "trainer.step.pace", "x = sys.modules['trainer.rundir.checkpoints']", ": trainer.step may not",
    ),
    "a process": ("launch.replica_check", "x = [sys.executable, '-m', 'trainer.main']", ": launch.replica_check may not"),
    "a launcher that reads the command line": ("launch.local", "from launch import cli", ": launch.local may not"),
    "a process that chooses a launcher": ("launch.process", "from launch import dispatch", ": launch.process may not"),
    "a worker that takes a command": ("launch.prepare", "from launch import process", ": launch.prepare may not"),
    "a launcher that is no concern of the loop's": (
        "trainer.loop.controller", "from launch import local", ": trainer.loop may not",
    ),
    "a circle": ("trainer.data.order", "from trainer.data.pipeline import Layout", "a circle: "),
    "a new room": ("trainer.elsewhere", "x = 1", "stands in no package of the table"),
    "a relative import": ("trainer.step.pace", "from . import results", "relatively"),
    # Where names are taken from.
    "what is not there": ("trainer.step.pace", "from trainer.nowhere import x", "which trainer does not define"),
    "what passes on what is private": (
        "launch.on_ray.fit", "from launch.on_ray.private_ray import state",
        "which launch.on_ray.private_ray does not define",
    ),
    "what passes on a library": (
        "launch.process", "from trainer.config.text import gin", "which trainer.config.text does not define",
    ),
    "an attribute that passes on a library": (
        "launch.process", "x = text.gin.clear_config()", "which trainer.config.text does not define",
    ),
    # What belongs to some.
    "gin": ("trainer.experiment", "import gin", "uses gin, which belongs to trainer.config"),
    "ray": ("trainer.modes.train", "from ray import train", "uses ray.train, which belongs to launch.on_ray"),
    "ray in another launcher": ("launch.local", "import ray", "uses ray, which belongs to launch.on_ray"),
    "what comes with ray": ("launch.on_ray.fit", "import grpc", "uses grpc, which belongs to launch.on_ray.private_ray"),
    "a terminal": ("trainer.loop.reporter", "import rich.live", "uses rich.live, which belongs to trainer.observe"),
    "flags": ("launch.dispatch", "from absl import flags", "uses absl.flags, which belongs to launch.cli"),
    "a strategy": (
        "trainer.modes.train", "import tensorflow as t\nx = t.distribute.MirroredStrategy()", f"{structure.STRATEGIES}",
    ),
    "a strategy, imported": (
        "trainer.modes.train", "from tensorflow.distribute import MirroredStrategy", f"{structure.STRATEGIES}",
    ),
    "import_module, renamed": (
        "trainer.base.errors", "from importlib import import_module as load\nload('a')", "uses importlib.import_module,",
    ),
    "import_module of a variable": (
        "trainer.base.errors", "import importlib as i\nx = i.import_module\nx(y)", "uses importlib.import_module,",
    ),
    "the project's own import_module": (
        "launch.prepare", "from trainer.config import names\nnames.import_module('a')",
        "which belongs to trainer.config",
    ),
    "__import__": ("trainer.base.errors", "__import__('a')", "uses builtins.__import__,"),
    "runpy": ("trainer.base.errors", "import runpy\nrunpy.run_module('trainer.main')", "uses runpy.run_module,"),
    "exec": ("trainer.base.errors", "exec('import trainer.main')", "uses builtins.exec,"),
    "a process of a variable": ("launch.replica_check", "x = [sys.executable, '-m', y]", "uses runpy,"),
    # What is installed.
    "a folder of the checkout": ("trainer.base.errors", "import benchmarks.digits", "that setup.py declares"),
    "a file of the tests": ("trainer.base.errors", "import examples", "that setup.py declares"),
    "a package that nobody wants": ("trainer.base.errors", "def f():\n    import torch", "that setup.py declares"),
    "a package for tests": ("trainer.base.errors", "import pytest", "that setup.py declares"),
    # The way to Keras.
    "tf.keras": ("trainer.models.mlp", "import tensorflow as tf\nx = tf.keras.layers", "Keras is `import keras`"),
    "tf.keras by another name": ("trainer.models.mlp", "import tensorflow as t\nx = t.keras", "Keras is `import keras`"),
    "tf.keras of a variable": (
        "trainer.models.mlp", "import tensorflow as tf\ny = tf\nx = y.keras", "Keras is `import keras`",
    ),
    "tf.keras by its name": (
        "trainer.models.mlp", "import tensorflow as tf\nx = getattr(tf, 'keras').layers", "Keras is `import keras`",
    ),
    "tf.keras of old": (
        "trainer.models.mlp", "import tensorflow as tf\nx = tf.compat.v1.keras", "Keras is `import keras`",
    ),
    "tf_keras": ("trainer.models.mlp", "import tf_keras", "Keras is `import keras`"),
    # What is private.
    "a private module of TensorFlow": (
        "trainer.step.pace", "from tensorflow.python.eager import context", "which is private",
    ),
    "a private module of Ray": ("launch.on_ray.fit", "from ray._private import state", "which is private"),
    "a private module of Keras": ("trainer.models.mlp", "from keras.src import backend", "which is private"),
    "an attribute that is a private module": ("trainer.models.mlp", "x = keras.src.backend", "which is private"),
    "an attribute of TensorFlow": (
        "trainer.models.mlp", "import tensorflow as tf\nx = tf.python.eager", "which is private",
    ),
    "attributes of Ray": ("launch.on_ray.prestart", "x = ray.core.generated", "which is private"),
    "attributes of Ray Train": ("launch.on_ray.prestart", "x = ray.train.v2.api", "which is private"),
    "attributes with underscores": ("launch.on_ray.prestart", "x = ray._private.state", "which is private"),
    "another library's in a file for one": (
        "trainer.base.private_keras", "from tensorflow.python.eager import context", "which is private",
    ),
    "a private name in capitals": ("trainer.config.text", "from gin.config import _REGISTRY", "which is private"),
    "a private name of ours": ("trainer.step.pace", "from trainer.step.averaging import _PERIOD", "which is private"),
    "a private attribute": ("trainer.step.optimizers", "x = optimizer._learning_rate", "which is private"),
    "a private attribute of an attribute": ("trainer.step.pace", "class A:\n    def f(self):\n        self.x._y", "private"),
    "a private attribute of a call": ("trainer.step.pace", "f(x)._y.z", "uses ?._y.z, which is private"),
    "getattr": ("trainer.step.pace", "x = getattr(y, '_losses')", "which is private"),
    "setattr": ("trainer.step.pace", "setattr(y, '_losses', 1)", "which is private"),
    "hasattr": ("trainer.step.pace", "x = hasattr(y, '_losses')", "which is private"),
    "delattr": ("trainer.step.pace", "delattr(y, '_losses')", "which is private"),
    "attrgetter": ("trainer.step.pace", "from operator import attrgetter\nattrgetter('a._b')(y)", "which is private"),
    "vars": ("trainer.step.pace", "x = vars(y)['_losses']", "which is private"),
    "__dict__": ("trainer.step.pace", "x = y.__dict__.get('_losses')", "which is private"),
    "a hidden module": ("trainer.step.pace", "import tensorflow as tf\nx = tf.__internal__", "which is private"),
    "two underscores": ("trainer.step.pace", "x = y.__secret", "which is private"),
    "cls in a function": ("trainer.step.pace", "def f(cls):\n    return cls._x", "which is private"),
    "cls in a method": ("trainer.step.pace", "class A:\n    def f(self, cls):\n        cls._x", "which is private"),
    "self in a static method": (
        "trainer.step.pace", "class A:\n    @staticmethod\n    def f(self):\n        self._x", "which is private",
    ),
    "an _exit that is not the system's": ("trainer.step.pace", "x = y._exit", "which is private"),
    # Sizes.
    "parameters": ("trainer.step.pace", f"def f({', '.join(NINE)}): pass", "f has 9 parameters"),
    "parameters with stars": (
        "trainer.step.pace", f"def f({', '.join(NINE[:7])}, *x, **y): pass", "f has 9 parameters",
    ),
    "an asynchronous function": ("trainer.step.pace", f"async def f({', '.join(NINE)}): pass", "f has 9 parameters"),
    "a function in a function": (
        "trainer.experiment", f"def f():\n    def run({', '.join(NINE)}): pass", "run has 9 parameters",
    ),
    "a method": (
        "trainer.experiment", f"class A:\n    def run(self, {', '.join(NINE)}): pass", "run has 9 parameters",
    ),
    "lines": ("trainer.step.pace", "def f():\n" + "    x = 1\n" * 60, "f has 61 lines"),
    "a record": (
        "trainer.step.pace", "import typing\nclass A(typing.NamedTuple):\n" + "".join(f"    {x}: int\n" for x in NINE),
        "A has 9 fields",
    ),
    "a data class": (
        "trainer.step.pace", "@dataclass\nclass A:\n" + "".join(f"    {x}: int\n" for x in NINE), "A has 9 fields",
    ),
    "attributes": (
        "trainer.step.pace",
        "class A:\n    def f(self):\n" + "".join(f"        self.{x}, self._{x} = 1, 2\n" for x in NINE),
        "A has 18 attributes",
    ),
    # One thing in two files.
    "a kind of time": ("launch.on_ray.hang_detector", "_COUNTED = ('stepping', 'thinking')", "counts 'thinking'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_is_found(fault):
    module, code, said = FAULTS[fault]
    found = with_more(module, code)
    assert any(said in line and module in line for line in found), found


def with_more(module, code):
    """The violations of the tree with this code at the end of one of its modules."""
    before = TREES[module].body if module in TREES else []
    return broken({**TREES, module: ast.Module([*before, *ast.parse(code).body], [])})


FAIR = {
    "the own object": "class A:\n    def f(self):\n        return lambda: self._x + getattr(self, '_y')",
    "the own class": "class A:\n    @classmethod\n    def f(cls):\n        return cls._x",
    "Python's own": "x = type(y).__name__, y.__class__, sys.__stdout__",
    "a named tuple": "x = y._replace(a=1)._asdict()",
    "the system's exit": "import os\nos._exit(1)",
    "eight parameters": f"class A:\n    def f(self, {', '.join(NINE[:8])}): pass",
    "an attribute of that name": "x = model.compile(), re.compile('a'), model.exec()",
}


@pytest.mark.parametrize("code", FAIR.values(), ids=FAIR)
def test_nothing_is_said_about_what_is_fair(code):
    assert set(with_more("trainer.step.pace", code)) <= set(broken(TREES))


def test_the_table_allows_nothing_that_nobody_needs():
    used = structure.arrows(TREES)
    table = [(row, target) for row, allowed in MAY_IMPORT.items() for target in allowed]
    assert [(r, t) for r, t in table if not any(here == r and within(there, t) for here, there in used)] == []


def test_every_exception_is_needed():
    by_name = structure.IMPORTING_BY_NAME
    assert [m for m in by_name if not structure.uses(TREES[m]).keys() & set(structure.IMPORTERS)] == []
    large = {full for module, tree in TREES.items() for full, _, _ in sizes(module, tree)}
    assert large >= MANY_PARAMETERS | MANY_ATTRIBUTES


@pytest.mark.parametrize("path", FILES, ids=structure.name)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400
    if path.name == "__init__.py":
        assert path.read_text() == "", "packages are folders, and nothing else"
    else:
        assert ast.get_docstring(TREES[structure.name(path)])
    assert path.stem not in ("utils", "helpers", "common", "misc")


def lacking(table):
    """What a table of tests names and is not there: "tests/path.py (`part of a name`, …)", a folder, or "path.py"."""
    for path, parts in re.findall(r"([\w/]+\.py|tests/[\w/]*/)(?: \(([^)]*)\))?", table):
        found = [ROOT / path] if "/" in path else list(ROOT.glob(f"tests/**/{path}"))
        if not found or not found[0].exists():
            yield path
            continue
        tests = re.findall(r"def (test_\w+)", found[0].read_text()) if path.endswith(".py") else []
        yield from (f"{path} ({part})" for part in re.findall(r"`(\w+)`", parts) if not any(part in t for t in tests))


def test_the_tests_of_all_promises_are_there():
    promises = (ROOT / "CONTRIBUTING.md").read_text().split("## Promises and their tests")[1].split("\n## ")[0]
    assert promises.count("tests/") >= 30
    assert list(lacking(promises)) == []
    wrong = "tests/nowhere.py, tests/nowhere/, nowhere.py, tests/test_architecture.py (`all_promises`, `no_such_name`)"
    assert list(lacking(wrong)) == [
        "tests/nowhere.py", "tests/nowhere/", "nowhere.py", "tests/test_architecture.py (no_such_name)",
    ]  # fmt: skip


def test_folders_of_configurations_are_no_packages():
    """An __init__.py in gin/ would shadow the library of that name."""
    assert not [path for folder in ("gin", "k8s") for path in ROOT.glob(f"{folder}/**/__init__.py")]


def test_packages_are_installed_as_they_stand():
    listed = set(re.findall(r'^        "([a-z_.]+)",$', (ROOT / "setup.py").read_text(), re.MULTILINE))
    there = {structure.name(path) for path in FILES if path.name == "__init__.py"}
    assert listed - {"trainer.configs"} == there


def test_tests_have_names_of_their_own():
    """Their folders are no packages, so two of one name could not be told apart."""
    names = [path.stem for path in ROOT.glob("tests/**/*.py") if path.stem != "conftest"]
    assert [name for name in names if names.count(name) > 1] == []


def test_the_picture_of_the_packages_is_of_today():
    assert structure.packages_picture(TREES) in (ROOT / "docs" / "architecture.md").read_text()


DOCS = (ROOT / "docs" / "architecture.md").read_text()


def test_the_picture_of_a_step_names_what_is_there():
    named = re.findall(r'^    \w+\["([\w., ]+)<br>', DOCS, re.MULTILINE)
    assert len(named) >= 12
    classes = {node.name: node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for name in (each.strip() for label in named for each in label.split(",")):
        owner, _, method = name.partition(".")
        assert owner in classes, name
        methods = {part.name for part in classes[owner].body if isinstance(part, ast.FunctionDef)}
        assert not method or method in methods, name


def test_the_table_of_turns_is_what_the_actions_say():
    turns: dict[str, set[str]] = {}
    for module, tree in TREES.items():
        for node in tree.body if within(module, "trainer.actions") else ():
            if isinstance(node, ast.ClassDef) and not any(
                base in ("NamedTuple", "enum.IntEnum") for base in bases(node)
            ):
                own = [part.value.attr for part in node.body
                       if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "turn"]  # fmt: skip
                if module not in ("trainer.actions.action", "trainer.actions.monitoring"):
                    turns.setdefault((own or ["ACT"])[0], set()).add(node.name)
    told = re.findall(r"^\| ([A-Z]+) \| [^|]+ \| ([\w, ]+) \|$", DOCS, re.MULTILINE)
    assert {turn: set(names.split(", ")) for turn, names in told} == turns
    order = [part.targets[0].id for node in ast.walk(TREES["trainer.actions.action"])
             if isinstance(node, ast.ClassDef) and node.name == "Turn"
             for part in node.body if isinstance(part, ast.Assign)]  # fmt: skip
    assert [turn for turn, _ in told] == order


def test_every_dependency_is_named_once_with_its_reason():
    setup = (ROOT / "setup.py").read_text()
    wanted = {match.lower() for match in re.findall(r'"([A-Za-z][\w-]*(?:\[\w+\])?)[<>=]', setup)}
    named = [name.strip().lower() for row in re.findall(r"^\| ([\w\[\], -]+?)(?: \(extras? .*\))? \| ", DOCS, re.MULTILINE)
             for name in row.split(",")]  # fmt: skip
    for package in wanted:
        assert named.count(package) == 1, package
