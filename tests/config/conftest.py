"""A small package for gin files to name, and an empty folder to write them in. No TensorFlow."""

import importlib
import sys

import pytest

from trainer.config import files

MODULES = {
    "__init__.py": "",
    "experiment.py": """
        from __future__ import annotations
        from collections.abc import Callable, Mapping, Sequence
        from typing import TYPE_CHECKING, Literal
        if TYPE_CHECKING:
            from nowhere import Spec

        def run(run_dir, task: Callable, model=None, steps: int | None = None, rate: float = 0.1,
                sizes: tuple[int, int] = (1, 1), layers: list[int] | None = None, mode: Literal["a", "b"] = "a",
                actions: Sequence = (), names: Mapping[str, int] = {}, label: str = None, spec: Spec = None,
                flag: bool = False, head: Callable[[], object] | None = None,
                hooks: Sequence[Callable[[int], object]] = ()):
            return task(), model and model(), steps
        """,
    "models/__init__.py": "",
    "models/mlp.py": "def build(width: int = 8, rate=0.5, other=None): return 'mlp', width\n",
    "models/cnn.py": "def build(filters: int = 4): return 'cnn', filters\n",
    "actions/__init__.py": "",
    "actions/save.py": "class Save:\n    def __init__(self, every=10): self.every = every\n",
    "actions/plateau.py": "class Plateau:\n    def __init__(self, factor=0.5): self.factor = factor\n",
    "parts.py": """
        VALUE = 3

        def task(size: int = 1): return size
        def anything(**more): return more
        def sized(size, width): return size, width
        def hook(step, every, *, unit=1): return step, every
        def maker() -> "Callable[[], object]": return task

        class Base:
            def __init__(self, name=None): self.name = name

        class Layer(Base):
            def __init__(self, units=1, rate=0.5, flag=False, **more):
                super().__init__(**more)
                self.units = units

        class Open:
            def __init__(self, **more): self.more = more

        class Tool:
            @classmethod
            def make(cls, size=1): return cls, size
            @staticmethod
            def measure(size=1): return size
        """,
    "api.py": "from app.parts import Layer\n",
    "alone.py": "def run(run_dir): pass\n",
    "needs_missing.py": "import json\nimport not_installed\n",
    "needs_missing_later.py": "import importlib\nimportlib.import_module('not_installed')\n",
    "raises.py": "x = 1\nx / 0\n",
    "garbled.py": "x = 1\ndef (:\n",
}


@pytest.fixture(scope="session", autouse=True)
def app(tmp_path_factory):
    """The package `app`, imported once: gin never forgets a function that it registered."""
    folder = tmp_path_factory.mktemp("modules")
    for name, text in MODULES.items():
        path = folder / "app" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("\n".join(line.removeprefix(" " * 8) for line in text.split("\n")))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("app")
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def write(tmp_path, monkeypatch):
    """Writes a gin file into the current folder, which is new; places/ stands for the checkout's gin/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "PLACES", (tmp_path / "places", tmp_path / "installed"))

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)

    return write
