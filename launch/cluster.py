"""What a Ray run gets of its cluster, and how much it puts up with: all that gin may set of --launcher=ray.

Only the choices; imports neither Ray nor TensorFlow.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from launch.attempts import Attempts
from launch.monitor import Limits
from trainer.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Of each worker, and of the group they form.

    Args:
      cpus, gpus, tpus: of a worker; TensorFlow gets as many threads as CPUs.
      placement: Ray's placement strategy: on as few nodes as possible (PACK), on as many as possible (SPREAD), or
        exactly so (STRICT_).
      attempts: decides what follows when an attempt has ended early.
      limits: how long a worker may go without a sign of progress.
      patience: seconds to wait for as many workers as the run needs at least.
      replacement: seconds to wait for a node that takes the place of a lost one, before going on with fewer workers.
      spares: whether each node keeps as many processes waiting, with TensorFlow imported (about 400 MB each), as it has
        workers: a group that lost a worker then starts again in a fraction of the time.
      runtime_env: Ray's runtime environment of the job, for modules that the nodes do not have: {'working_dir': '.'}.

    Raises:
      UsageError: a value that makes no sense.
    """

    cpus: float = 1
    gpus: float = 0
    tpus: float = 0
    placement: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    attempts: Callable[[], Attempts] = Attempts
    limits: Callable[[], Limits] = Limits
    patience: float = 600
    replacement: float = 20
    spares: bool = True
    runtime_env: Mapping[str, Any] | None = None

    def __post_init__(self):
        for name in ("cpus", "gpus", "tpus"):
            if getattr(self, name) < 0:
                raise UsageError(f"Cluster.{name} = {getattr(self, name)}: give a number of at least 0")
        if self.cpus == self.gpus == self.tpus == 0:
            raise UsageError("Cluster.cpus = 0: a worker needs something to run on")
        for name in ("patience", "replacement"):
            if getattr(self, name) < 0:
                raise UsageError(f"Cluster.{name} = {getattr(self, name)}: give a number of seconds of at least 0")

    @staticmethod
    def number_of_workers(flag: str) -> tuple[int, int]:
        """Returns the least and the most workers that --num_workers asks for: 'N', or 'MIN:MAX'."""
        least, colon, most = flag.partition(":")
        numbers = [int(part) if part.isdecimal() else 0 for part in (least, most if colon else least)]
        if not 1 <= numbers[0] <= numbers[1]:
            raise UsageError(f"--num_workers={flag}: give a number of workers, or MIN:MAX, each at least 1")
        return numbers[0], numbers[1]

    @property
    def threads(self) -> int:
        """Of TensorFlow in a worker."""
        return max(1, int(self.cpus))

    @property
    def resources(self) -> dict[str, float]:
        """Of a worker, by Ray's names."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "TPU": self.tpus}
        return {name: number for name, number in wanted.items() if number}
