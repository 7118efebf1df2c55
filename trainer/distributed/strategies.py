"""The strategies that --strategy names: the only file that names those of tf.distribute. Starts no processes.

A process calls one of them once, before TensorFlow has initialised its devices.
"""

import tensorflow as tf

from trainer.base import private_tensorflow
from trainer.base.errors import UsageError
from trainer.distributed import tf_config
from trainer.distributed.ranks import Ranks


def default() -> tf.distribute.Strategy:
    """One replica: the first GPU if there is one, otherwise the CPU."""
    _grow_gpu_memory()
    return tf.distribute.get_strategy()


def mirrored(virtual_cpus: int = 2) -> tf.distribute.Strategy:
    """One replica on each GPU of this machine.

    Args:
      virtual_cpus: with fewer than two GPUs, the CPU is split into this many devices instead, so that the same code
        runs everywhere; not for speed.

    Raises:
      UsageError: `virtual_cpus` is below 1.
    """
    gpus = _grow_gpu_memory()
    if len(gpus) >= 2:
        return tf.distribute.MirroredStrategy()
    _require_a_device("mirrored", virtual_cpus)
    _split_cpu(virtual_cpus)
    devices = [f"CPU:{i}" for i in range(virtual_cpus)]
    # Reducing on one device adds in a fixed order, and needs no threads for collectives.
    return tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice("CPU:0"))


def multi_worker(virtual_cpus: int = 1) -> tf.distribute.Strategy:
    """One replica on each GPU of every worker, or on its CPU; the workers are those in TF_CONFIG.

    Blocks until all of them have connected.

    Args:
      virtual_cpus: without a GPU, the CPU of each worker is split into this many devices; for tries, not for speed.

    Raises:
      UsageError: TF_CONFIG is missing or malformed, or `virtual_cpus` is below 1.
    """
    _require_a_device("multi_worker", virtual_cpus)
    if tf_config.from_environment() is None:
        raise UsageError(
            "--strategy=multi_worker needs several processes: add --launcher=ray --num_workers=2, or let the manager "
            "of your cluster set TF_CONFIG"
        )
    if _grow_gpu_memory() or virtual_cpus == 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    _split_cpu(virtual_cpus)
    with private_tensorflow.cpus_per_worker(virtual_cpus):
        return tf.distribute.MultiWorkerMirroredStrategy()


def ranks(strategy: tf.distribute.Strategy) -> Ranks:
    """The ranks of the processes that train with the strategy."""
    found = tf_config.from_environment() if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) else None
    return Ranks(strategy, found.rank, len(found.addresses)) if found else Ranks(strategy)


def local_replicas(strategy: tf.distribute.Strategy) -> int:
    """How many of the strategy's replicas are in this process."""
    replicas: int = strategy.num_replicas_in_sync // ranks(strategy).count
    return replicas


def describe(strategy: tf.distribute.Strategy) -> str:
    """The devices found and those used, for the first lines of a run."""
    found = [device.device_type for device in tf.config.list_logical_devices()]
    listed = ", ".join(f"{found.count(kind)} {kind}" for kind in dict.fromkeys(found))
    replicas = strategy.num_replicas_in_sync
    return f"{listed}; {replicas} replica{'s' if replicas > 1 else ''} on {_used(strategy)}"


def _used(strategy: tf.distribute.Strategy) -> str:
    if not tf.distribute.in_cross_replica_context() and strategy.num_replicas_in_sync == 1:
        return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
    return ", ".join(device.split("device:")[-1] for device in strategy.extended.worker_devices)


def _require_a_device(strategy: str, virtual_cpus: int) -> None:
    if virtual_cpus < 1:
        raise UsageError(f"strategies.{strategy}.virtual_cpus = {virtual_cpus}: give a number of at least 1")


def _split_cpu(devices: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)


def _grow_gpu_memory() -> list[tf.config.PhysicalDevice]:
    """Lets GPU memory grow on demand, instead of taking all of it at the start."""
    gpus: list[tf.config.PhysicalDevice] = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return gpus
