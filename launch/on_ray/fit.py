"""One call of Ray Train's fit(): a group of workers, which Ray starts again when one of them dies. Counts no deaths."""

import threading
from collections.abc import Mapping

from ray.train import FailureConfig, RunConfig, ScalingConfig

from launch.on_ray import private_ray
from launch.on_ray.backend import Deaths, Placing, TensorFlowCluster
from launch.on_ray.cluster import Cluster
from launch.on_ray.worker import Job, train
from trainer.rundir.directory import LOGS, RunDirectory


class Fit:
    """Calls fit() in a thread of its own, at once. `error`: what fit() raised, if it did.

    Args:
      number: of this call, from 1.
      job: sent to every worker.
      workers: how many.
      cluster: their resources and placement.
      directory: of the run; among its logs is what Ray Train writes.
      environment: additional environment variables of every worker.
    """

    def __init__(
        self,
        number: int,
        job: Job,
        workers: int,
        cluster: Cluster,
        directory: RunDirectory,
        environment: Mapping[str, str],
    ):
        self.number = number
        self._trainer = private_ray.DataParallelTrainer(
            lambda: train(job),
            backend_config=TensorFlowCluster(job.board, number, job.run_dir),
            scaling_config=ScalingConfig(
                num_workers=workers,
                resources_per_worker=cluster.worker.resources,
                use_gpu=cluster.worker.gpus > 0,
                placement_strategy=cluster.placement.strategy,
            ),
            run_config=RunConfig(
                name="ray",
                storage_path=str(directory.path / LOGS),
                # No limit: restart_policy.py decides how many deaths are too many, and the driver ends the fit.
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[Placing(job.board, number), Deaths(job.board, number)],
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
        """Whether fit() has not returned yet."""
        return self._thread.is_alive()
