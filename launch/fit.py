"""One call of Ray Train's fit(): a group of workers, started again by Ray whenever one of them dies."""

import threading
from collections.abc import Mapping
from pathlib import Path

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from launch.cluster import Cluster
from launch.ray_backend import Deaths, Started, TensorFlowCluster
from launch.worker import Job, train


class Fit:
    """Starts at once, in a thread of its own.

    Args:
      job: what every worker gets.
      workers: how many.
      cluster: what each of them needs.
      logs: folder for the full output of every worker, and for what Ray Train writes.
      environment: more variables of every worker's process.
    """

    def __init__(self, job: Job, workers: int, cluster: Cluster, logs: Path, environment: Mapping[str, str]):
        self._trainer = DataParallelTrainer(
            lambda: train(job),
            backend_config=TensorFlowCluster(job.board, logs),
            scaling_config=ScalingConfig(
                num_workers=workers,
                resources_per_worker=cluster.resources,
                use_gpu=cluster.gpus > 0,
                placement_strategy=cluster.placement,
            ),
            run_config=RunConfig(
                name="ray",
                storage_path=str(logs),
                # How many deaths are too many is attempts.py's decision; the driver ends the fit then.
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[Started(job.board), Deaths(job.board)],
                worker_runtime_env={"env_vars": dict(environment)},
            ),
        )
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:
            self.error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()
