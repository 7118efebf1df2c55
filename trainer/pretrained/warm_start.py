"""Warm start: weights from elsewhere for a new run: from another run, a whole Keras model, or a file of weights.

Not used when a run resumes from its own checkpoint.
"""

import re
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np
import tensorflow as tf

from trainer.base import private_keras, unlocked
from trainer.base.errors import UsageError
from trainer.base.liveness import progressed
from trainer.base.variable_paths import by_path
from trainer.data.reading import essence
from trainer.data.source import Field
from trainer.pretrained import torch_weights
from trainer.rundir.checkpoints import ReadOnlyCheckpoints
from trainer.storage.local import LocalStore
from trainer.tasks.protocol import Parts


class Found(NamedTuple):
    """Weights that were read.

    values: by name.  network: the whole model they are of, if the file holds one.
    """

    values: Mapping[str, np.ndarray]
    network: keras.Model | None = None


class WarmStart:
    """Loads those of a model's weights whose names are found elsewhere.

    From a run its newest sound checkpoint is read, and its moving averages if it keeps them: the weights that the run
    itself evaluates.

    Names that Keras makes by counting ('dense_1') depend on what was made before, and are not trusted. Weights of such
    layers are matched by their places, if a whole model in a file has the same layers in the same order; by name, if
    the weights there and here have all the same names; or as `rename` says. In a file of weights each name is counted
    within its model, and trusted if as many were counted there as here.

    Args:
      path: a run directory; a whole model (.keras, .h5, .hdf5); a file of weights (.weights.h5; torch's .pth, .pt).
      pattern: a regular expression; only weights whose names it matches somewhere are loaded.
      model: the name of one of the task's models, as in its checkpoints.
      rename: regular expression -> replacement, as in re.sub, applied to the names in `path`.
      source_model: the name of the model in the checkpoint of a run; None: that of `model`.

    Raises:
      UsageError: `pattern` or `rename` is not a regular expression, or `source_model` is given for a file.
    """

    def __init__(
        self,
        path: str,
        pattern: str = "",
        model: str = "model",
        rename: Mapping[str, str] | None = None,
        source_model: str | None = None,
    ):
        self._path, self._pattern, self._model, self._rename = path, pattern, model, dict(rename or {})
        self._source_model = source_model
        try:
            for each in (pattern, *self._rename):
                re.compile(each)
        except re.error as error:
            raise UsageError(f"WarmStart: '{each}' is not a regular expression: {error}") from error

    def __call__(self, parts: Parts, fields: Mapping[str, Field]) -> str:
        """Assigns the weights; returns a line for the console.

        Raises:
          UsageError: `path` cannot be read, no name matched, names that were counted match in part, or a weight has
            another shape.
        """
        if self._model not in parts.models:
            raise UsageError(f"WarmStart.model = '{self._model}': the task has: {', '.join(sorted(parts.models))}")
        model, path = parts.models[self._model], Path(self._path).expanduser()
        if not path.exists():
            raise UsageError(f"WarmStart.path: there is no {self._path}")
        if self._source_model is not None and not path.is_dir():
            raise UsageError(f"WarmStart.source_model = '{self._source_model}': {self._path} is no run directory")
        own = _as_in_a_file(model) if path.name.endswith(".weights.h5") else by_path(_weights(model))
        found = self._read(path)
        matched = self._match(model, own, found, path)
        taken = {name: value for name, value in matched.items() if re.search(self._pattern, name)}
        if not taken:
            raise UsageError(
                f"WarmStart: none of the {len(own)} weights of the model is in {self._path} and matches "
                f"'{self._pattern}'; the model has {_some(own)}; {path.name} has {_some(found.values)}: set "
                f"WarmStart.rename"
            )
        for name, value in taken.items():
            if value.shape != tuple(own[name].shape):
                raise UsageError(
                    f"WarmStart: '{name}' has shape {list(value.shape)} in {self._path}, and "
                    f"{list(own[name].shape)} in the model: leave it out with WarmStart.pattern, or correct the model"
                )
        for name, value in taken.items():
            own[name].assign(unlocked.tensor(value))
            progressed()
        return f"{len(taken)} of {len(own)} weights taken from {self._path}"

    def _match(
        self, model: keras.Model, own: Mapping[str, keras.Variable], found: Found, path: Path
    ) -> dict[str, np.ndarray]:
        """The values found for the model's own weights, by their names."""
        there, renamed = self._renamed(found.values)
        # Whether Keras puts a model's name before those of its layers depends on how the model was made.
        within = {
            name: next((n for n in (name, name.removeprefix(f"{model.name}/")) if n in there), "") for name in own
        }
        matched = {name: there[other] for name, other in within.items() if other}
        if path.name.endswith(".weights.h5"):
            here, theirs = _counted(own), _counted(there)
            unequal = {group for group, parts in here.items() if parts != theirs.get(group)}
            doubtful = [name for name in own if any(group in unequal for group, _ in _parts(name))]
        else:
            counted = {layer.name for layer in private_keras.sublayers(model) if private_keras.has_counted_name(layer)}
            doubtful = [name for name in own if counted & set(name.removeprefix(f"{model.name}/").split("/"))]
        doubtful = [name for name in doubtful if within[name] not in renamed]
        if found.network is not None and _layout(found.network) == _layout(model):
            places = dict(zip(own, (np.asarray(v) for v in _weights(found.network)), strict=True))
            return matched | {name: places[name] for name in doubtful}
        wanted = [name for name in doubtful if name in matched and re.search(self._pattern, name)]
        same = found.network is None and len(matched) == len(own) == len(there)
        if wanted and not same:
            raise UsageError(
                f"WarmStart: '{wanted[0]}' is a name that Keras counted, and {self._path} has other layers than the "
                f"model, so it may be another layer's: give the layers names of their own, leave them out with "
                f"WarmStart.pattern, or set WarmStart.rename; the model has {_some(own)}; {path.name} has "
                f"{_some(found.values)}"
            )
        return matched

    def _renamed(self, values: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], set[str]]:
        """The values by their new names, and those names that are new."""
        found, before, idle = {}, dict[str, str](), dict.fromkeys(self._rename)
        for name, value in values.items():
            renamed = name
            for old, new in self._rename.items():
                try:
                    renamed, times = re.subn(old, new, renamed)
                except (re.error, IndexError) as error:
                    raise UsageError(f"WarmStart.rename: '{new}' cannot stand for '{old}': {error}") from error
                if times:
                    idle.pop(old, None)
            if renamed in found:
                raise UsageError(f"WarmStart.rename: '{before[renamed]}' and '{name}' both become '{renamed}'")
            found[renamed], before[renamed] = value, name
        if idle:
            raise UsageError(
                f"WarmStart.rename: '{next(iter(idle))}' matches none of the names in {self._path}, which has "
                f"{_some(values)}: correct it, or drop it"
            )
        return found, {new for new, old in before.items() if new != old}

    def _read(self, path: Path) -> Found:
        try:
            if path.is_dir():
                return Found(_of_run(path, self._source_model or self._model))
            if path.name.endswith(".weights.h5"):
                return Found(_datasets(path))
            if path.suffix in (".pth", ".pt"):
                return Found(torch_weights.load(path))
            if path.suffix in (".keras", ".h5", ".hdf5"):
                found = keras.models.load_model(path, compile=False)
                named = {name: np.asarray(variable) for name, variable in by_path(_weights(found)).items()}
                both = named | {name.removeprefix(f"{found.name}/"): value for name, value in named.items()}
                return Found(both, found)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, tf.errors.OpError) as error:
            said = essence(error) if isinstance(error, tf.errors.OpError) else str(error).strip().splitlines()[0]
            raise UsageError(f"WarmStart.path: cannot read {path}: {said}") from error
        raise UsageError(
            f"WarmStart.path = '{path}': name a run directory, a .keras, .h5, .hdf5, .weights.h5, .pth or .pt file"
        )


def _weights(model: keras.Model) -> list[keras.Variable]:
    """A model's variables without the states of its random generators."""
    seeds = {id(state) for state in private_keras.seed_variables([model])}
    return [variable for variable in model.variables if id(variable) not in seeds]


def _layout(model: keras.Model) -> list[tuple[str, tuple[tuple[int, ...], ...]]]:
    """Class and shapes of weights of each layer that has weights of its own, in order."""
    leaves = private_keras.leaf_layers([model])
    return [(type(layer).__name__, tuple(tuple(v.shape) for v in layer.weights)) for layer in leaves if layer.weights]


def _parts(name: str) -> list[tuple[tuple[str, str], str]]:
    """The parts of a weight's name, each after its group: what is before it, and what it is without its number."""
    parts = name.split("/")
    return [(("/".join(parts[:i]), re.sub(r"_\d+$", "", part)), part) for i, part in enumerate(parts)]


def _counted(names: Iterable[str]) -> dict[tuple[str, str], set[str]]:
    """The parts of names that were counted, by their groups: the first of such a group has no number."""
    found: dict[tuple[str, str], set[str]] = {}
    for name in names:
        for group, part in _parts(name):
            found.setdefault(group, set()).add(part)
    return {group: parts for group, parts in found.items() if group[1] in parts}


def _of_run(path: Path, model: str) -> dict[str, np.ndarray]:
    saved = ReadOnlyCheckpoints(LocalStore(path), attempt=0).restore(set_bad_aside=False)
    if saved is None:
        raise UsageError(f"WarmStart.path: the folder {path} is no run directory with a checkpoint")
    averages = dict[str, list[np.ndarray]]()
    for name, value in saved.values.items():
        if name.startswith("average/"):
            averages.setdefault(name.split("/", 2)[2], []).append(value)
    models = sorted({name.split("/")[1] for name in saved.values if name.startswith("models/")})
    if model not in models:
        raise UsageError(f"WarmStart.source_model: {path} has no model '{model}'; it has: {', '.join(models)}")
    prefix = f"models/{model}/"
    found = {name.removeprefix(prefix): value for name, value in saved.values.items() if name.startswith(prefix)}
    # Two objectives may have weights of the same name, whose averages cannot be told apart.
    return {name: averages[name][0] if len(averages.get(name, [])) == 1 else value for name, value in found.items()}


def _datasets(path: Path) -> dict[str, np.ndarray]:
    found = {}

    def read(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]
            progressed()

    with h5py.File(path) as file:
        file.visititems(read)
    return found


def _as_in_a_file(model: keras.Model) -> dict[str, keras.Variable]:
    """A model's weights by the names that Keras gives them in a file of weights.

    Keras has no function for these names, so it writes such a file, in which each weight holds its own index.
    """
    if coarse := [variable.path for variable in model.variables if variable.dtype == "bfloat16"]:
        raise UsageError(
            f"WarmStart: '{coarse[0]}' is kept in bfloat16, and names in a file of weights are found by numbers that "
            f"it cannot hold: keep weights in float32 (Arithmetic.precision = 'mixed_bfloat16'), or take a .keras file"
        )
    before = [np.asarray(variable) for variable in model.variables]
    try:
        for i, variable in enumerate(model.variables):
            variable.assign(unlocked.tensor(np.full(variable.shape, i, before[i].dtype)))
            progressed()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "numbers.weights.h5"
            model.save_weights(path)
            return {
                name: model.variables[int(np.ravel(values)[0])]
                for name, values in _datasets(path).items()
                if values.size
            }
    finally:
        for variable, value in zip(model.variables, before, strict=True):
            variable.assign(unlocked.tensor(value))
            progressed()


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(f"'{name}'" for name in listed[:10]) + (", …" if len(listed) > 10 else "")
