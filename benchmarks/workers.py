"""The step of two Ray workers against that of a bare MultiWorkerMirroredStrategy script.

    python -m benchmarks.workers [--rounds=5] [--steps=1000]

The same network, data, batch size, Adam and number of threads. The bare side is a custom loop as TensorFlow's guides
have it, 25 steps to a call, started twice with a TF_CONFIG, no Ray; it saves and reports nothing. Convoy's side is the
whole command, which reports every 25 steps. A round's figure is the median over its stretches of 25 steps after the
first one: what a step costs while nothing else is going on, such as saving, evaluating, or the start of the processes
that wait to replace a worker, which takes two cores some ten seconds at the beginning.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile

BATCH_SIZE, STEPS_PER_CALL = 32, 25


def bare(steps: int) -> dict[str, float]:
    """One process of the bare side; returns the median of the seconds per step, and the mean loss of the last call."""
    import time

    import keras
    import tensorflow as tf

    from trainer.data.sources import samples

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    source = samples.mnist_digits().train
    batch = source.read(tf.range(len(source), dtype=tf.int64))
    images, labels = batch["x"].numpy()[..., None].astype("float32") / 255, batch["y"].numpy()

    def data(context):
        mine = tf.data.Dataset.from_tensor_slices((images, labels)).shard(
            context.num_input_pipelines, context.input_pipeline_id
        )
        return mine.shuffle(len(images)).repeat().batch(BATCH_SIZE // 2, drop_remainder=True).prefetch(8)

    batches = iter(strategy.distribute_datasets_from_function(data))
    layers = keras.layers
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential([
            layers.Input(images.shape[1:]), layers.Conv2D(32, 3, activation="relu"), layers.Flatten(),
            layers.Dense(128, activation="relu"), layers.Dense(10),
        ])  # fmt: skip
        optimizer = keras.optimizers.Adam(1e-3)
        optimizer.build(model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

    def step(inputs):
        x, y = inputs
        with tf.GradientTape() as tape:
            value = tf.reduce_sum(loss(y, model(x, training=True))) / BATCH_SIZE
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    @tf.function
    def call():
        total = 0.0
        for _ in tf.range(STEPS_PER_CALL):
            value = strategy.run(step, args=(next(batches),))
            total += strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
        return total / STEPS_PER_CALL

    call()
    seconds = []
    for _ in range(steps // STEPS_PER_CALL):
        started = time.perf_counter()
        mean = float(call())
        seconds.append((time.perf_counter() - started) / STEPS_PER_CALL)
    found = {"seconds": statistics.median(seconds), "loss": mean}
    strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("sum", tf.constant(1.0)))  # leave together
    return found


def both_bare(steps: int) -> dict[str, float]:
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("", 0))
            ports.append(free.getsockname()[1])
    workers = [f"127.0.0.1:{port}" for port in ports]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.workers", f"--bare={steps}"],
            env=os.environ | {"TF_CONFIG": json.dumps({
                "cluster": {"worker": workers}, "task": {"type": "worker", "index": index},
            })},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for index in range(2)
    ]  # fmt: skip
    outputs = [process.communicate()[0] for process in processes]
    return json.loads(outputs[0].splitlines()[-1])


def convoy(steps: int) -> dict[str, float]:
    """Runs the real command; returns the same."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "trainer.main", "--gin_file=runs/mnist_small.gin", "--launcher=ray"),
            *("--num_workers=2", "--strategy=multi_worker", f"--run_dir={folder}/run"),
            *(
                "--gin_param=trainer.experiment.run.epochs = None",
                f"--gin_param=trainer.experiment.run.steps = {steps}",
                f"--gin_param=trainer.actions.log.Log.every = {STEPS_PER_CALL}",
            ),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        events = EventAccumulator(f"{folder}/run/tensorboard/train", {"tensors": 0})
        events.Reload()
        rates, losses = (
            [float(make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)]
            for tag in ("examples_per_second", "loss")
        )
    return {"seconds": BATCH_SIZE / statistics.median(rates), "loss": losses[-1]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        print(json.dumps(bare(options.bare)), flush=True)
        os._exit(0)
    found: dict[str, list[dict[str, float]]] = {"bare script": [], "Convoy": []}
    for number in range(options.rounds):
        for name, run in (("bare script", both_bare), ("Convoy", convoy)):
            found[name].append(run(options.steps))
            last = found[name][-1]
            print(
                f"round {number + 1}: {name:<11} {last['seconds'] * 1e3:6.2f} ms per step, loss {last['loss']:.3f}",
                flush=True,
            )
    medians = {}
    for name, each in found.items():
        seconds = [one["seconds"] * 1e3 for one in each]
        medians[name] = statistics.median(seconds)
        print(f"{name:<11} {medians[name]:6.2f} ms per step ({min(seconds):.2f} to {max(seconds):.2f})")
    print(f"ratio       {medians['Convoy'] / medians['bare script']:6.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
