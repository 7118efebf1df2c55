"""TrainState: everything that a checkpoint holds, as one flat mapping of names to values.

Merges the named variables of the step with the state of the actions. Writes no files.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trainer.actions.action import Action
from trainer.base import unlocked
from trainer.base.errors import TrainingError, UsageError
from trainer.base.liveness import progressed
from trainer.distributed.ranks import Ranks
from trainer.step.step_state import StepState
from trainer.step.values import read_values
from trainer.step.variable_names import named_variables

# Entries that only the checkpoint or only this run may have: they belong to settings that a resume may change.
_OPTIONAL = ("actions/", "metrics/", "epoch/")


class TrainState:
    """The state of one process's run.

    Args:
      step_state: what steps change.
      actions: those that define `state` are included, each under its name.

    Raises:
      UsageError: two actions with a state have the same name.
    """

    def __init__(self, step_state: StepState, actions: Sequence[Action] = ()):
        remembering = [action for action in actions if type(action).state is not Action.state]
        names = [action.name for action in remembering]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"experiment.run.actions holds two of '{name}', which would share one state: drop one")
        self._step_state, self._actions = step_state, dict(zip(names, remembering, strict=True))

    def read(self) -> dict[str, np.ndarray]:
        """Copies every value to host memory. A collective."""
        values = read_values(self._step_state)
        for action_name, action in self._actions.items():
            values |= {f"actions/{action_name}/{key}": np.asarray(v) for key, v in action.state().items()}
        return values

    def assign(self, values: Mapping[str, np.ndarray]) -> None:
        """Loads values into variables and actions.

        Raises:
          UsageError: names or shapes differ from this run's; nothing has been assigned then.
        """
        variables = named_variables(self._step_state)
        self._require_equal_names(set(values), set(variables))
        for name, variable in variables.items():
            if name in values and tuple(values[name].shape) != tuple(variable.shape):
                raise UsageError(
                    f"the checkpoint is of a different model: '{name}' has shape {list(values[name].shape)} there and "
                    f"{list(variable.shape)} here; use another run_dir, or the model it was made with"
                )
        for name, variable in variables.items():
            if name in values:
                variable.assign(unlocked.tensor(values[name]))
                progressed()
        for action_name, action in self._actions.items():
            prefix = f"actions/{action_name}/"
            # Copies, since those of a checkpoint cannot be written to, and an action may count in them.
            kept = {name.removeprefix(prefix): np.array(v) for name, v in values.items() if name.startswith(prefix)}
            if kept:
                action.restore(kept)

    def require_equal(self, ranks: Ranks) -> None:
        """Raises TrainingError if a value is not the same on all ranks. A collective."""
        values = self.read()
        checksums = ranks.gather([_checksum(value) for value in values.values()])
        for name, column in zip(values, checksums.T, strict=True):
            for rank in np.flatnonzero(column != column[0]):
                raise TrainingError(
                    f"'{name}' has other values on rank {rank} than on rank 0 before the first step of this attempt: "
                    f"make the model from the seed alone, and let all workers see the same run_dir"
                )

    def _require_equal_names(self, there: set[str], here: set[str]) -> None:
        def required(names: Iterable[str]) -> list[str]:
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


def _checksum(value: np.ndarray) -> int:
    progressed()
    return zlib.crc32(unlocked.content(value))
