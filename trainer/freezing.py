"""Layers that stay as they are, for the whole run or until a step."""

import re
from collections.abc import Sequence

import keras

from trainer import keras_internals
from trainer.errors import UsageError
from trainer.tasks.protocol import Objective, Parts


class Freeze:
    """Some layers of a model.

    Frozen, their weights do not move, and batch normalisation works as in inference (its moving statistics stay, too).
    Where several rules meet a layer, the last one counts. Layers that are released find optimizers in full swing: with
    Adam their first steps are larger than later ones, so a lower learning rate is due (gin/runs/finetune.gin).

    Args:
      pattern: a regular expression that is looked for in the paths of the layers, such as 'mobilenet/block_1'.
      until: the step after which they are trained; None: never.
      model: which of the task's models is meant, as its checkpoints call it.
    """

    def __init__(self, pattern: str, until: int | None = None, model: str = "model"):
        if until is not None and until < 1:
            raise UsageError(f"Freeze.until = {until}: give a step of at least 1, or None")
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"Freeze.pattern = '{pattern}' is no regular expression: {error}") from error
        self.pattern, self.until, self.model = pattern, until, model

    def layers(self, parts: Parts) -> list[keras.Layer]:
        """The layers that are meant. Raises UsageError if there are none."""
        if self.model not in parts.models:
            raise UsageError(f"Freeze.model = '{self.model}': the task has: {', '.join(sorted(parts.models))}")
        for layer in keras_internals.mixed_layers([parts.models[self.model]]):
            if self._pattern.search(_path(layer)):
                raise UsageError(
                    f"Freeze.pattern = '{self.pattern}' meets '{_path(layer)}', which has weights of its own beside "
                    f"layers within it: put these weights into a layer, so that they can be frozen by themselves"
                )
        layers = keras_internals.leaf_layers([parts.models[self.model]])
        found = [layer for layer in layers if self._pattern.search(_path(layer))]
        if not found:
            known = ", ".join(map(_path, layers[:5])) + (", …" if len(layers) > 5 else "")
            raise UsageError(f"Freeze.pattern = '{self.pattern}' meets none of the layers {known}")
        return found


def _path(layer: keras.Layer) -> str:
    return layer.path or layer.name  # Keras gives no path to what has nothing to build


class Frozen:
    """What is frozen now.

    Args:
      rules: in the order in which they count.
      parts: whose layers they are about; built.
    """

    def __init__(self, rules: Sequence[Freeze], parts: Parts):
        told = {(rule.model, rule.pattern) for rule in rules}
        if len(told) < len(rules):
            raise UsageError("two rules of freezes have the same Freeze.pattern: drop one")
        last = {id(layer): (layer, rule) for rule in rules for layer in rule.layers(parts)}
        self._layers = {rule: [layer for layer, by in last.values() if by is rule] for rule in rules}
        for layer, _ in last.values():
            layer.trainable = False

    @property
    def ending(self) -> list[Freeze]:
        """The rules that hold until a step."""
        return [rule for rule in self._layers if rule.until is not None]

    def release(self, rule: Freeze) -> None:
        """Has the layers of a rule trained from now on."""
        for layer in self._layers[rule]:
            layer.trainable = True

    def for_good(self) -> set[int]:
        """The ids of the weights that are never trained."""
        layers = [layer for rule, layers in self._layers.items() if rule.until is None for layer in layers]
        return {id(variable) for layer in layers for variable in layer.weights}

    def without(self, objective: Objective) -> Objective:
        """The objective, without what is never trained: an optimizer would keep slots for it."""
        never = self.for_good()
        kept = [variable for variable in objective.variables if id(variable) not in never]
        if not kept:
            raise UsageError(f"nothing is left to train for the objective '{objective.name}': freeze less")
        return objective._replace(variables=kept)


def active(objective: Objective) -> list[keras.Variable]:
    """The weights that the objective moves now."""
    return [variable for variable in objective.variables if variable.trainable]
