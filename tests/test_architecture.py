"""The house rules that a program can check: which way imports point, sizes, and names that must not exist."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("trainer/**/*.py"), *ROOT.glob("launch/**/*.py")])
# What Keras documents although it starts with an underscore: the guide to masking.
DOCUMENTED = {"_keras_mask"}


def name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name(path): ast.parse(path.read_text()) for path in FILES}


def imports(module):
    """The full names of what a module imports, `from a import b` as a.b."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(full, *packages):
    return any(f"{full}.".startswith(f"{package}.") for package in packages)


def importers(*packages):
    """The modules that import something of the packages."""
    return {module for module in MODULES if any(within(full, *packages) for full in imports(module))}


def outside(modules, *packages):
    return sorted(module for module in modules if not within(module, *packages))


def test_there_is_something_to_look_at():
    assert {"trainer.main", "trainer.config.parse", "trainer.step", "launch.local"} <= MODULES.keys()
    assert "trainer.errors.UsageError" in set(imports("trainer.main"))


def test_gin_is_imported_by_the_configuration_alone():
    assert outside(importers("gin"), "trainer.config") == []


def test_ray_is_imported_by_launchers_alone():
    assert outside(importers("ray"), "launch") == []


def test_launchers_are_imported_by_main_alone():
    assert outside(importers("launch"), "trainer.main", "launch") == []


def test_tests_are_imported_by_nobody():
    assert importers("tests") == set()


def test_the_configuration_knows_nothing_of_the_rest():
    for module in MODULES:
        if within(module, "trainer.config"):
            own = [full for full in imports(module) if within(full, "trainer", "launch")]
            assert outside(own, "trainer.config", "trainer.errors") == [], module


def test_tasks_models_and_data_know_nothing_of_the_core():
    for module in MODULES:
        if within(module, "trainer.tasks", "trainer.models", "trainer.data"):
            own = [full for full in imports(module) if within(full, "trainer", "launch")]
            allowed = ("trainer.atomic", "trainer.errors", "trainer.randomness", "trainer.data", "trainer.tasks")
            assert outside(own, *allowed, *(["trainer.models"] * within(module, "trainer.models"))) == [], module


def test_keras_is_not_reached_through_tensorflow():
    assert importers("tensorflow.keras", "tensorflow.python.keras") == set()
    for module, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("tf", "keras"), ("tensorflow", "keras")}, module


def private_names(tree):
    """Names of other objects' private attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
                yield node.attr
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr"):
            yield from (a.value for a in node.args[1:2] if isinstance(a, ast.Constant))


def test_private_parts_of_keras_are_touched_in_one_file():
    assert outside(importers("keras.src"), "trainer.keras_internals") == []
    own = {"os._exit"}  # the operating system's, and public
    for module, tree in MODULES.items():
        if module != "trainer.keras_internals":
            found = {n for n in private_names(tree) if n.startswith("_") and not n.startswith("__")}
            assert found <= {n.split(".")[1] for n in own} | {"_fields", "_asdict", "_replace"} | DOCUMENTED, module


def test_strategies_are_named_in_one_file():
    for module, tree in MODULES.items():
        named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        strategies = {n for n in named if n.endswith("Strategy") and n != "Strategy"}
        assert module == "trainer.strategies" or not strategies, module


@pytest.mark.parametrize("path", FILES, ids=name)
def test_files_and_functions_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(MODULES[name(path)]):
        if isinstance(node, ast.FunctionDef):
            told = (ast.get_docstring(node, clean=False) or "").count("\n")  # lines that are no code
            assert node.end_lineno - node.lineno - told < 60, f"{node.name}, line {node.lineno}"
    assert ast.get_docstring(MODULES[name(path)]) or path.name == "__init__.py"
    assert path.name not in ("utils.py", "helpers.py", "common.py")


def test_folders_of_configurations_are_no_packages():
    """An __init__.py in gin/ would shadow the library of that name."""
    assert not [path for folder in ("gin", "k8s") for path in ROOT.glob(f"{folder}/**/__init__.py")]
