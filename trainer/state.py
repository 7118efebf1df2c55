"""TrainState: everything that must survive, as one flat mapping of names to values.

Merges the named variables of the step with what actions remember. Writes no files.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from trainer.actions.action import Action
from trainer.errors import TrainingError, UsageError
from trainer.ranks import Ranks
from trainer.step import TrainStep

# What may be absent from a checkpoint, or in it for nothing: it belongs to choices that a resume may change.
_OPTIONAL = ("actions/", "metrics/")


class TrainState:
    """The state of one process's run."""

    def __init__(self, step: TrainStep, actions: Sequence[Action] = ()):
        remembering = [action for action in actions if type(action).state is not Action.state]
        names = [action.name for action in remembering]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"experiment.run.actions holds two of '{name}', which would share one state: drop one")
        self._step, self._actions = step, dict(zip(names, remembering, strict=True))

    def read(self) -> dict[str, np.ndarray]:
        """Copies every value to host memory. A collective."""
        values = {name: variable.read_value().numpy() for name, variable in self._step.variables().items()}
        for action_name, action in self._actions.items():
            values |= {f"actions/{action_name}/{key}": np.asarray(v) for key, v in action.state().items()}
        return values

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Puts values in place.

        Raises:
          UsageError: names or shapes differ from this run's; nothing has been assigned then.
        """
        variables = self._step.variables()
        self._require_equal_names(set(values), set(variables))
        for name, variable in variables.items():
            if name in values and tuple(values[name].shape) != tuple(variable.shape):
                raise UsageError(
                    f"the checkpoint is of a different model: '{name}' has shape {list(values[name].shape)} there and "
                    f"{list(variable.shape)} here; use another run_dir, or the model it was made with"
                )
        for name, variable in variables.items():
            if name in values:
                variable.assign(values[name])
        for action_name, action in self._actions.items():
            prefix = f"actions/{action_name}/"
            kept = {name.removeprefix(prefix): v for name, v in values.items() if name.startswith(prefix)}
            if kept:
                action.restore(kept)

    def require_equal(self, ranks: Ranks) -> None:
        """Raises TrainingError if a value is not the same on all ranks. A collective."""
        values = self.read()
        checksums = ranks.gather([zlib.crc32(np.ascontiguousarray(value).tobytes()) for value in values.values()])
        for name, column in zip(values, checksums.T, strict=True):
            for rank in np.flatnonzero(column != column[0]):
                raise TrainingError(
                    f"'{name}' has other values on rank {rank} than on rank 0 before the first step of this attempt: "
                    f"make the model from the seed alone, and let all workers see the same run_dir"
                )

    def _require_equal_names(self, there: set[str], here: set[str]) -> None:
        def required(names):
            return sorted(name for name in names if not name.startswith(_OPTIONAL))

        only_there, only_here = required(there - here), required(here - there)
        if only_there or only_here:
            parts = [
                f"only {where}: {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
                for where, names in (("in the checkpoint", only_there), ("in this run", only_here))
                if names
            ]
            raise UsageError(
                f"the checkpoint is of a different model: {'; '.join(parts)}; use another run_dir, or the model it "
                f"was made with"
            )
