"""What training finds on a number of virtual devices: python tests/replicas.py REPLICAS DIGITS.npz OUT.npz

A process has one strategy, and devices are configured before TensorFlow starts, so each number of replicas needs a
process, which the cases share. OUT holds arrays called 'case/quantity', which tests compare between files.
"""

import glob
import os
import sys
import tempfile

_PROGRAMS = tempfile.mkdtemp()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["XLA_FLAGS"] = f"--xla_dump_to={_PROGRAMS} --xla_dump_hlo_module_re=.*train_block.*"

import examples  # noqa: E402  (TensorFlow reads the environment when it is imported)
import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import optimizers  # noqa: E402

from trainer.data.global_permutation import GlobalPermutation  # noqa: E402
from trainer.data.pipeline import Input, Layout  # noqa: E402
from trainer.data.sources.arrays import Arrays  # noqa: E402
from trainer.distributed import strategies  # noqa: E402
from trainer.step.averaging import NoAverage  # noqa: E402
from trainer.step.evaluation import Evaluator  # noqa: E402

SHARDS = 4
EXAMPLES = 300  # at 32 per batch: the last of an epoch has 12, so one shard is short and two are empty


def train(strategy, arrays, steps, task, record=lambda loop: {}, **options):
    """Trains; returns what was reported after each step, and all values at the end."""
    first = {name: array[:EXAMPLES] for name, array in arrays.items()}
    loop, data = examples.new_step(strategy, task, first, **{"shards": SHARDS, **options})
    batches = data.open(0)
    rows = []
    for number in range(steps):
        if number % data.order.steps_per_epoch == 0:
            loop.state.reset_epoch()
        loop.train(batches.take(1))
        read = loop.read()
        row = {f"loss/{name}": total / count if count else np.nan for name, (total, count) in read.losses.items()}
        rows.append(row | read.metrics | read.hyperparameters | record(loop))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]} | {
        f"state/{name}": value for name, value in examples.values(loop).items()
    }


def conv(strategy, arrays):
    task = examples.classifier(examples.conv_net, lambda: optimizers.Adam(3e-3))
    return train(strategy, arrays, 50, task, clip_norm=0.5, average_decay=0.9)


def dense_xla(strategy, arrays):
    task = examples.classifier(lambda: examples.dense_net(0.3), lambda: optimizers.Adam(3e-3))
    return train(strategy, arrays, 50, task, xla=True, clip_norm=0.5)


def gradients(strategy, arrays):
    """With a rate of 0 the weights stay equal, and with beta_1 of 0 Adam's first moments are the gradients."""
    task = examples.classifier(examples.conv_net, lambda: optimizers.Adam(0.0, beta_1=0.0))

    def moments(loop):
        named = examples.values(loop)
        return {"gradient": np.concatenate([named[name].ravel() for name in sorted(named) if "momentum" in name])}

    return train(strategy, arrays, 12, task, moments)


def objectives(strategy, arrays):
    return train(strategy, arrays, 18, examples.Autoencoder(every=3), average_decay=0.5)


def plain(strategy, arrays):
    task = examples.classifier(metrics=[lambda: examples.TextAccuracy(name="accuracy")])
    return train(strategy, arrays, 5, task)


def fallback(strategy, arrays):
    """As `plain`, but that the choice is left open, which leads to XLA for a model like this."""
    task = examples.classifier(metrics=[lambda: examples.TextAccuracy(name="accuracy")])
    return train(strategy, arrays, 5, task, lambda loop: {"xla": loop.xla}, xla=None)


def short_reduce(strategy, arrays):
    return train(strategy, arrays, 5, examples.classifier(), reduce_dtype="bfloat16")


def bfloat16(strategy, arrays):
    task = examples.classifier(optimizer=lambda: optimizers.Adam(1e-2))
    return train(strategy, arrays, 30, task, precision="mixed_bfloat16")


def overflow(strategy, arrays):
    """The second of four steps has, in its last shard only, a number that float16 cannot hold."""
    x = arrays["x"][:32].astype(np.float32)
    x[15] = 1e8
    task = examples.classifier(optimizer=lambda: optimizers.Adam(1e-2))
    data = {"x": x, "y": arrays["y"][:32]}

    def after(loop):
        return {f"after/{name}": value for name, value in examples.values(loop).items()}

    return train(strategy, data, 4, task, after, batch_size=8, shuffle=False, precision="mixed_float16")


def programs(strategy, arrays):
    """How many programs XLA has compiled after host calls of ever more lengths."""
    loop, data = examples.new_step(strategy, examples.classifier(), arrays, xla=True, shards=SHARDS)
    batches = data.open(0)
    compiled = []
    for steps in (1, 3, 2, 7):
        loop.train(batches.take(steps))
        compiled.append(len(glob.glob(f"{_PROGRAMS}/*before_optimizations.txt")))
    return {"compiled": np.array(compiled)}


def evaluation(strategy, arrays):
    """1,003 examples at 32 per batch; three, fewer than a batch; and what Keras itself says about the former."""
    task = examples.classifier()
    loop, _ = examples.new_step(strategy, task, arrays, shards=SHARDS)
    held_out = {
        split: Arrays({name: array[:size] for name, array in arrays.items()})
        for split, size in {"test": 1003, "small": 3}.items()
    }
    n = strategy.num_replicas_in_sync
    evaluator = Evaluator(
        strategy, loop.state.task, NoAverage(), held_out, Layout(32, n, n), loop.train_step.collective_wait
    )
    first, small, again = (evaluator.evaluate(split) for split in ("test", "small", "test"))
    return {
        **{f"test/{name}": value for name, value in first.items()},
        **{f"small/{name}": value for name, value in small.items()},
        **{f"again/{name}": value for name, value in again.items()},
        "predicted": evaluator.predict(held_out["test"])["output"],
        "outputs": np.concatenate([task.model(arrays["x"][i : i + 100]) for i in range(0, 1003, 100)])[:1003],
    }


def batches(strategy, arrays):
    """The ids of 12 global batches in the order of their positions, -1 for padding, for several numbers of shards."""
    replicas, found = strategy.num_replicas_in_sync, {}
    source, order = Arrays({"x": np.arange(50)}), GlobalPermutation(50, 12, seed=3)
    for shards in (n for n in (1, 2, 3, 4, 5, 12) if n >= replicas):
        layout = Layout(12, shards, replicas)
        for first in (0, 7):
            rows = []
            for segment in Input(source, order, layout, strategy).open(first).take(12 - first):
                local = [
                    {name: values.numpy() for name, values in zip(segment.block, parts, strict=True)}
                    for parts in zip(*map(strategy.experimental_local_results, segment.block.values()), strict=True)
                ]
                for i in range(int(segment.start), int(segment.stop)):
                    ids, valid, x = (
                        np.concatenate([part[name][i].ravel() for part in local]) for name in ("id", "valid", "x")
                    )
                    assert (x == ids).all()
                    rows.append(np.where(valid > 0, ids, -1))
            found[f"{shards}/{first}"] = np.stack(rows)
    return found


# Which numbers of devices a case runs on: compiling takes longer the more there are.
CASES = {
    conv: (1, 2, 3, 4),
    gradients: (1, 2, 3, 4),
    dense_xla: (1, 2),
    batches: (1, 2, 3, 4),
    objectives: (1, 2),
    short_reduce: (2,),
    bfloat16: (2,),
    overflow: (1, 2),
    plain: (1, 2),
    fallback: (1, 2),
    programs: (1,),
    evaluation: (1, 2),
}


def main(replicas, digits, out):
    strategy = strategies.default() if replicas == 1 else strategies.mirrored(replicas)
    with np.load(digits) as file:
        arrays = dict(file)
    found = {}
    for case in (case for case, sizes in CASES.items() if replicas in sizes):
        found |= {f"{case.__name__}/{name}": value for name, value in case(strategy, arrays).items()}
        keras.mixed_precision.set_global_policy("float32")
    np.savez(out, **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
