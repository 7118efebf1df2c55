"""What every loss, metric and optimizer of Keras comes to on a number of devices:

    python tests/keras_classes.py REPLICAS OUT.npz [NAME...]

The classes and their data are those of the tables in tests/tasks and tests/step. All losses are objectives of one step, and
so are all optimizers, each with a model of its own, since compiling takes the time. Without names, it is all of them. OUT holds 'KIND/NAME/quantity'.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
sys.path.extend(str(Path(__file__).parent / folder) for folder in ("step", "tasks"))

import examples
import keras
import numpy as np
import test_keras_losses as of_losses
import test_keras_metrics as of_metrics
import test_keras_optimizers as of_optimizers

from trainer.data.pipeline import Layout
from trainer.data.sources.arrays import Arrays
from trainer.distributed import strategies
from trainer.distributed.collective_wait import CollectiveWait
from trainer.step.averaging import NoAverage
from trainer.step.evaluation import Evaluator
from trainer.tasks import targets
from trainer.tasks.protocol import Parts
from trainer.tasks.supervised import Supervised


class Together:
    """Supervised tasks that are trained in one step, each under its name as objective."""

    def __init__(self, tasks):
        self._tasks = tasks

    def build(self, fields):
        parts = {name: task.build(fields) for name, task in self._tasks.items()}
        objectives = [part.objectives[0]._replace(name=name) for name, part in parts.items()]
        return Parts(objectives, {name: part.models["model"] for name, part in parts.items()})

    def losses(self, batch, seed):
        return {name: task.losses(batch, seed)[0]["loss"] for name, task in self._tasks.items()}, ()

    def metrics(self):
        return {}

    def update(self, metrics, batch, outputs):
        pass


class Metrics:
    """Judges what is given as the field 'NAME_x' by each metric."""

    def build(self, fields):
        return Parts([], {})

    def outputs(self, batch):
        return batch["id"]

    def evaluate(self, batch, outputs):
        return {}

    def __init__(self, table):
        self._table = table

    def metrics(self):
        return {name: getattr(keras.metrics, name)(**options) for name, (*_, options) in self._table.items()}

    def update(self, metrics, batch, outputs):
        for name, metric in metrics.items():
            targets.update(metric, batch[f"{name}_y"], batch[f"{name}_x"], batch["valid"])


def losses(strategy, wanted):
    """The mean loss of each class over a batch that is padded, and its weight after that."""
    data, tasks = {}, {}
    for name, (output, target, options) in wanted(of_losses.VALUES).items():
        data |= {f"{name}_x": output, f"{name}_y": target}
        loss = getattr(keras.losses, name)(**options)
        model, sgd = lambda: of_losses.Constant(masked=False), lambda: keras.optimizers.SGD(0.1)
        tasks[name] = Supervised(model, loss, sgd, x=f"{name}_x", y=f"{name}_y")
    loop, source = examples.new_step(strategy, Together(tasks), data, batch_size=12, shards=2, shuffle=False)
    loop.train(source.open(0).take(1))
    found = {f"{name}/loss": total / count for name, (total, count) in loop.read().losses.items()}
    weights = {o.name: o.variables[0].numpy() for o in loop.state.parts.objectives}
    return found | {f"{name}/weight": value for name, value in weights.items()}


def optimizers(strategy, wanted):
    """The weights that each class comes to from equal ones."""
    tasks = {
        name: examples.classifier(of_optimizers.network, lambda name=name: of_optimizers.optimizer(name), metrics=[])
        for name in wanted(of_optimizers.OPTIMIZERS)
    }
    loop, source = examples.new_step(strategy, Together(tasks), of_optimizers.DATA, shards=2, shuffle=False)
    loop.train(source.open(0).take(of_optimizers.STEPS))
    values = ((o.name, i, v) for o in loop.state.parts.objectives for i, v in enumerate(o.variables))
    return {f"{name}/weight {i}": v.numpy() for name, i, v in values}


def metrics(strategy, wanted):
    """Each metric over batches of which the last is padded."""
    data = {}
    table = wanted(of_metrics.OF_TWO)
    for name, (target, output, _) in table.items():
        data |= {f"{name}_x": np.asarray(output), f"{name}_y": np.asarray(target)}
    replicas = strategy.num_replicas_in_sync
    sources, wait = {"test": Arrays(data)}, CollectiveWait(strategies.local_replicas(strategy))
    with strategy.scope():
        evaluator = Evaluator(strategy, Metrics(table), NoAverage(), sources, Layout(8, replicas, replicas), wait)
    return evaluator.evaluate("test")


def main(replicas, out, *names):
    wanted = lambda table: {name: value for name, value in table.items() if name in names or not names}
    strategy = strategies.default() if replicas == 1 else strategies.mirrored(replicas)
    found = {
        f"{kind.__name__}/{name}": value
        for kind in (losses, optimizers, metrics)
        for name, value in kind(strategy, wanted).items()
    }
    np.savez(out, **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
