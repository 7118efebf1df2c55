"""What is used of Ray and is not public is there, and works as it is used: a new version of Ray is tried here first."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the ray extra is not installed")

CHECKOUT = Path(__file__).resolve().parents[2]


def test_the_names_that_are_used():
    from ray._private import state
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc, runtime_environment_pb2
    from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
    from ray.train.v2._internal.execution.callback import ControllerCallback
    from ray.train.v2._internal.execution.controller.controller import TrainController
    from ray.train.v2.api.config import RunConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    assert callable(init_grpc_channel) and callable(state.available_resources_per_node)
    assert callable(state.state.get_draining_nodes) and callable(TrainController.abort)
    assert {"num_workers", "job_id", "runtime_env_info", "keep_alive_duration_secs"} <= set(
        node_manager_pb2.PrestartWorkersRequest.DESCRIPTOR.fields_by_name
    )
    assert "serialized_runtime_env" in runtime_environment_pb2.RuntimeEnvInfo.DESCRIPTOR.fields_by_name
    assert node_manager_pb2_grpc.NodeManagerServiceStub and issubclass(WorkerHealthCheckFailedError, Exception)
    assert hasattr(ControllerCallback, "after_controller_start") and DataParallelTrainer
    assert RunConfig(worker_runtime_env={"env_vars": {"A": "b"}}).worker_runtime_env["env_vars"] == {"A": "b"}


@pytest.mark.parametrize("module", ["launch.board", "launch.ray_backend"])
def test_what_ray_s_own_processes_load_imports_no_tensorflow(module):
    """It takes seconds, in which the board would answer nobody and the controller start nothing again."""
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0
