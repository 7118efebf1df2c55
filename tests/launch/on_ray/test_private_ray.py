"""What is used of Ray and is not public is there, and works as it is used: a new version of Ray is tried here first.

What to do when one of these fails: find what does the same in the new version, and change launch/on_ray/private_ray.py
alone; then run tests/process/test_ray.py, test_elastic.py and `make campaign`.
"""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the ray extra is not installed")

CHECKOUT = Path(__file__).resolve().parents[3]


def test_the_names_that_are_used():
    from ray._private import state
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
    from ray.train.v2._internal.execution.callback import ControllerCallback
    from ray.train.v2._internal.execution.controller.controller import TrainController
    from ray.train.v2._internal.execution.worker_group.worker_group import WorkerGroup
    from ray.train.v2.api.config import RunConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    assert callable(init_grpc_channel) and callable(state.available_resources_per_node)
    assert callable(state.state.get_draining_nodes) and callable(TrainController.abort)
    assert callable(state.state.actor_table)
    assert callable(WorkerGroup.execute) and callable(WorkerGroup.execute_single_async)
    assert {"num_workers", "job_id", "runtime_env_info", "keep_alive_duration_secs"} <= set(
        node_manager_pb2.PrestartWorkersRequest.DESCRIPTOR.fields_by_name
    )
    assert "serialized_runtime_env" in runtime_environment_pb2.RuntimeEnvInfo.DESCRIPTOR.fields_by_name
    assert node_manager_pb2_grpc.NodeManagerServiceStub and issubclass(WorkerHealthCheckFailedError, Exception)
    assert hasattr(ControllerCallback, "after_controller_start") and DataParallelTrainer
    assert RunConfig(worker_runtime_env={"env_vars": {"A": "b"}}).worker_runtime_env["env_vars"] == {"A": "b"}


def test_ray_train_reads_the_variables_that_are_set():
    import ray

    from launch.on_ray import private_ray

    folder = Path(ray.__file__).parent / "train"
    read = (folder / "constants.py").read_text() + (folder / "v2" / "_internal" / "constants.py").read_text()
    assert [name for name in private_ray.ENVIRONMENT if f'"{name}"' not in read] == []


# Where Ray keeps the words that decide something.
SAID_IN = {
    "NODE_DIED": "core/src/ray/gcs/gcs_server",
    "OUT_OF_MEMORY": "core/src/ray/raylet/raylet",
    "GROUP_REMOVED": "core/src/ray/raylet/raylet",
    "ACTOR_DIED": "exceptions.py",
}


@pytest.mark.parametrize("name", SAID_IN)
def test_ray_says_what_is_looked_for_in_its_messages(name):
    import ray

    from launch.on_ray import private_ray

    said = (Path(ray.__file__).parent / SAID_IN[name]).read_bytes()
    assert getattr(private_ray, name).encode() in said


@pytest.mark.process
@pytest.mark.parametrize("module", ["launch.on_ray.status_board", "launch.on_ray.backend"])
def test_what_ray_s_own_processes_load_imports_no_tensorflow(module):
    """It takes seconds, in which the board would answer nobody and the controller start nothing again."""
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0


# Two workers of a group; one is killed, and what the group has is taken back, which ends the other.
TAKEN_BACK = """
import os, signal, time
import ray
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from launch.on_ray.status_board import StatusBoard
from launch.on_ray.backend import Deaths

@ray.remote(num_cpus=1)
class Worker:
    def process(self):
        return os.getpid()

def death(worker):
    try:
        while True:
            ray.get(worker.process.remote())
            time.sleep(0.1)
    except ray.exceptions.RayActorError as error:
        return WorkerHealthCheckFailedError("a check failed", error)

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
group = placement_group([{"CPU": 1}] * 2)
ray.get(group.ready())
first, second = (
    Worker.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, index)).remote() for index in range(2)
)
ray.get(second.process.remote())
os.kill(ray.get(first.process.remote()), signal.SIGKILL)
killed = death(first)
ray.util.remove_placement_group(group)
ended = death(second)
board = ray.remote(num_cpus=0)(StatusBoard).remote()
ray.get(board.reset.remote(1))
for errors in ({0: killed, 1: ended}, {1: ended}):
    Deaths(board, 1).after_exception(None, errors)
print([sorted(errors) for errors in ray.get(board.snapshot.remote()).deaths])
"""


@pytest.mark.process
@pytest.mark.cluster
def test_a_worker_that_ends_because_its_group_is_taken_back_is_not_the_one_that_was_lost():
    done = subprocess.run([sys.executable, "-c", TAKEN_BACK], cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert "[[0], [1]]" in done.stdout.splitlines(), done.stdout + done.stderr


NO_ROOM = """
import os, threading, time
os.environ.update(RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S="0.5", RAY_TRAIN_METRICS_ENABLED="0")
import ray
from pathlib import Path
from ray.train import FailureConfig, RunConfig, ScalingConfig
from launch.on_ray import private_ray
from launch.on_ray.backend import Placing
from launch.on_ray.status_board import StatusBoard

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
board = ray.remote(num_cpus=0)(StatusBoard).remote()
ray.get(board.reset.remote(1))
trainer = private_ray.DataParallelTrainer(
    lambda: None, scaling_config=ScalingConfig(num_workers=2),
    run_config=RunConfig(failure_config=FailureConfig(max_failures=-1), callbacks=[Placing(board, 1)]),
)
threading.Thread(target=trainer.fit, daemon=True).start()
deadline = time.monotonic() + 60
while not (told := ray.get(board.snapshot.remote()).controller).found_no_room and time.monotonic() < deadline:
    time.sleep(0.1)
print("found no room" if told.found_no_room and told.handle is not None else told, flush=True)
os._exit(0)
"""


@pytest.mark.process
@pytest.mark.cluster
def test_ray_train_tells_its_callback_that_it_finds_no_room():
    done = subprocess.run([sys.executable, "-c", NO_ROOM], cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert "found no room" in done.stdout.splitlines(), done.stdout + done.stderr
