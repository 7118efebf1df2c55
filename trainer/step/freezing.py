"""Frozen layers: the rules that name them, for the whole run or until a step. Does not decide when that step is."""

import re
from collections.abc import Sequence

import keras

from trainer.base import private_keras
from trainer.base.errors import UsageError
from trainer.tasks.protocol import Objective, Parts


class Freeze:
    """A rule that freezes some layers of a model.

    The weights of a frozen layer are not trained, and batch normalisation works as in inference (its moving statistics
    stay fixed, too). If several rules match a layer, the last one wins. Use a lower learning rate for layers that are
    unfrozen late (gin/runs/finetune.gin): Adam's first updates of them are larger than later ones, since its moments
    start at zero and its bias correction has faded by then.

    Args:
      pattern: a regular expression, searched for in the paths of the layers, such as 'mobilenet/block_1'.
      until: how many steps they stay frozen; None: the whole run.
      model: the name of one of the task's models, as in its checkpoints.

    Raises:
      UsageError: `until` is below 1, or `pattern` is not a regular expression.
    """

    def __init__(self, pattern: str, until: int | None = None, model: str = "model"):
        if until is not None and until < 1:
            raise UsageError(f"Freeze.until = {until}: give a step of at least 1, or None")
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"Freeze.pattern = '{pattern}' is not a regular expression: {error}") from error
        self.pattern, self.until, self.model = pattern, until, model

    def layers(self, parts: Parts) -> list[keras.Layer]:
        """The layers that the rule matches.

        Raises:
          UsageError: no such model, no such layer, or a layer with weights of its own that also contains layers.
        """
        if self.model not in parts.models:
            raise UsageError(f"Freeze.model = '{self.model}': the task has: {', '.join(sorted(parts.models))}")
        for layer in private_keras.mixed_layers([parts.models[self.model]]):
            if self._pattern.search(_path(layer)):
                raise UsageError(
                    f"Freeze.pattern = '{self.pattern}' matches '{_path(layer)}', which has weights of its own beside "
                    f"layers within it: put these weights into a layer, so that they can be frozen by themselves"
                )
        layers = private_keras.leaf_layers([parts.models[self.model]])
        found = [layer for layer in layers if self._pattern.search(_path(layer))]
        if not found:
            known = ", ".join(map(_path, layers[:5])) + (", …" if len(layers) > 5 else "")
            raise UsageError(f"Freeze.pattern = '{self.pattern}' matches none of the layers {known}")
        return found


def _path(layer: keras.Layer) -> str:
    path: str = layer.path or layer.name  # Keras sets the path in build(), which some layers do not have
    return path


class Frozen:
    """Freezes the layers of some rules, and keeps track of which are frozen now.

    Args:
      rules: later ones override earlier ones.
      parts: of the built task.

    Raises:
      UsageError: a rule matches nothing, or weights that no objective has until a step; or two rules are the same.
    """

    def __init__(self, rules: Sequence[Freeze], parts: Parts):
        told = {(rule.model, rule.pattern) for rule in rules}
        if len(told) < len(rules):
            raise UsageError("two rules of freezes have the same Freeze.pattern: drop one")
        layers = {rule: rule.layers(parts) for rule in rules}
        trained = {id(variable) for objective in parts.objectives for variable in objective.variables}
        for rule in rules:
            weights = [v for layer in layers[rule] for v in private_keras.own_weights(layer)]
            if rule.until is not None and not trained.issuperset(map(id, weights)):
                lost = next(v for v in weights if id(v) not in trained)
                raise UsageError(
                    f"Freeze.until = {rule.until}: '{lost.path}' could not be trained from then on, because no "
                    f"objective has it: the function that makes the model must not set trainable = False"
                )
        last = {id(layer): (layer, rule) for rule in rules for layer in layers[rule]}
        self._layers = {rule: [layer for layer, by in last.values() if by is rule] for rule in rules}
        for layer, _ in last.values():
            layer.trainable = False

    @property
    def ending(self) -> list[Freeze]:
        """The rules that end at a step."""
        return [rule for rule in self._layers if rule.until is not None]

    def unfreeze(self, rule: Freeze) -> None:
        """Makes the layers of a rule trainable from now on."""
        for layer in self._layers[rule]:
            layer.trainable = True

    def for_good(self) -> set[int]:
        """The ids of the weights that are never trained."""
        layers = [layer for rule, layers in self._layers.items() if rule.until is None for layer in layers]
        return {id(variable) for layer in layers for variable in layer.weights}

    def without(self, objective: Objective) -> Objective:
        """The objective without weights that are never trained, for which its optimizer would keep slots.

        Raises:
          UsageError: no weight is left.
        """
        never = self.for_good()
        kept = [variable for variable in objective.variables if id(variable) not in never]
        if not kept:
            raise UsageError(f"nothing is left to train for the objective '{objective.name}': freeze less")
        return objective._replace(variables=kept)


def active(objective: Objective) -> list[keras.Variable]:
    """The variables that the objective trains now."""
    return [variable for variable in objective.variables if variable.trainable]
