"""A user's folder (digits, modules, gin files), and processes that are gone when the test is."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # whatever pytest's import mode

pytest.register_assert_rewrite("campaign", "reading")

import user_code  # noqa: E402
from running import Preloaded, Run  # noqa: E402


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder a user works in, outside of the checkout; read only."""
    return user_code.write(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def keras_home(folder, tmp_path_factory):
    """A KERAS_HOME whose mnist.npz holds other digits, so that nothing is downloaded."""
    home = tmp_path_factory.mktemp("keras")
    with np.load(folder / "digits.npz") as file:
        x, y = file["x"], file["y"]
    (home / "datasets").mkdir()
    parts = {"x_train": x[1000:], "y_train": y[1000:], "x_test": x[:1000], "y_test": y[:1000]}
    np.savez(home / "datasets" / "mnist.npz", **parts)
    return home


@pytest.fixture(scope="session")
def preloaded(keras_home, tmp_path_factory):
    server = Preloaded(tmp_path_factory.mktemp("preloaded"), KERAS_HOME=str(keras_home))
    yield server
    server.end()


@pytest.fixture
def convoy(preloaded, folder):
    """Runs a command in the user's folder to its end, as Preloaded does; returns code, out and err."""
    return lambda *arguments, cwd=folder, **more: preloaded.run(*map(str, arguments), cwd=cwd, **more)


@pytest.fixture
def start(folder):
    """Starts a command in the user's folder as a shell would."""
    started = []

    def start(*arguments, cwd=folder, **more):
        started.append(Run(*map(str, arguments), cwd=cwd, **more))
        return started[-1]

    yield start
    for run in started:
        run.end()


@pytest.fixture(scope="session")
def undisturbed(folder, tmp_path_factory):
    """The run directory of user_code's long run, never interrupted: what all the others must come to."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    run = Run(*user_code.LONG, f"--run_dir={run_dir}", cwd=folder)
    try:
        assert run.wait() == 0, run.output
    finally:
        run.end()
    return run_dir


@pytest.fixture(scope="session")
def finished(preloaded, folder, tmp_path_factory):
    """The run directory of user_code's short run; only to be read, and to be refused."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    result = preloaded.run(*user_code.SHORT, f"--run_dir={run_dir}", cwd=folder)
    assert result.code == 0, result.err
    return run_dir
