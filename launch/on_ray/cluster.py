"""The settings of --launcher=ray that gin may set: resources, placement, restart policy, hang limits.

Only the settings; imports neither Ray nor TensorFlow.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from launch.on_ray.hang_detector import HangLimits
from launch.on_ray.restart_policy import RestartPolicy
from trainer.base.errors import UsageError


@dataclasses.dataclass(frozen=True)
class WorkerResources:
    """The resources of each worker.

    Args:
      cpus: how many; also the number of TensorFlow's threads, rounded down to at least 1.
      gpus, tpus: how many devices.

    Raises:
      UsageError: a value is out of range.
    """

    cpus: float = 1
    gpus: float = 0
    tpus: float = 0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "tpus"):
            if getattr(self, name) < 0:
                raise UsageError(f"WorkerResources.{name} = {getattr(self, name)}: give a number of at least 0")
        if self.cpus == self.gpus == self.tpus == 0:
            raise UsageError(
                "WorkerResources.cpus = 0: a worker needs a device; set WorkerResources.cpus, gpus or tpus above 0"
            )

    @property
    def threads(self) -> int:
        """The number of TensorFlow's threads in a worker."""
        return max(1, int(self.cpus))

    @property
    def resources(self) -> dict[str, float]:
        """The resources by Ray's names."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus, "TPU": self.tpus}
        return {name: number for name, number in wanted.items() if number}


@dataclasses.dataclass(frozen=True)
class PlacementSettings:
    """Where the workers are placed, and how long that may take.

    Args:
      strategy: Ray's placement strategy: on as few nodes as possible (PACK), on as many as possible (SPREAD), on one
        node (STRICT_PACK), or on a node each (STRICT_SPREAD).
      patience: seconds to wait for room for the least number of workers.
      start: seconds until all workers of an attempt must be there; one that takes longer is ended.
      replacement: seconds to wait for a node that replaces a lost one, before going on with fewer workers.

    Raises:
      UsageError: a value is out of range.
    """

    strategy: Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] = "PACK"
    patience: float = 600
    start: float = 180
    replacement: float = 20

    def __post_init__(self) -> None:
        for name in ("patience", "start", "replacement"):
            if getattr(self, name) < 0:
                raise UsageError(
                    f"PlacementSettings.{name} = {getattr(self, name)}: give a number of seconds of at least 0"
                )


class Cluster:
    """All settings of a Ray run.

    Args:
      worker: returns the resources of each worker.
      placement: returns where they are placed.
      restart_policy: returns what decides whether an attempt that ended early is followed by another.
      hang_limits: returns how long a worker may go without progress.
      prestart: whether each node keeps one prestarted process per worker, with TensorFlow imported (about 400 MB each):
        a group that lost a worker then starts again in a fraction of the time.
      runtime_env: Ray's runtime environment of the job, for modules that the nodes do not have: {'working_dir': '.'}.

    Raises:
      UsageError: a value is out of range.
    """

    def __init__(
        self,
        worker: Callable[[], WorkerResources] = WorkerResources,
        placement: Callable[[], PlacementSettings] = PlacementSettings,
        restart_policy: Callable[[], RestartPolicy] = RestartPolicy,
        hang_limits: Callable[[], HangLimits] = HangLimits,
        prestart: bool = True,
        runtime_env: Mapping[str, Any] | None = None,
    ):
        self.worker, self.placement = worker(), placement()
        self.restart_policy, self.hang_limits = restart_policy(), hang_limits()
        self.prestart, self.runtime_env = prestart, runtime_env
