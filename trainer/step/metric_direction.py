"""Which direction of a Keras metric is better: known by its class, and never guessed from its name."""

from typing import Literal

import keras

Direction = Literal["min", "max"]

_LARGER = (
    "AUC Accuracy BinaryAccuracy CategoricalAccuracy ConcordanceCorrelation CosineSimilarity FBetaScore IoU MeanIoU "
    "PearsonCorrelation Precision PrecisionAtRecall R2Score Recall RecallAtPrecision SensitivityAtSpecificity "
    "SparseCategoricalAccuracy SparseTopKCategoricalAccuracy SpecificityAtSensitivity TopKCategoricalAccuracy "
    "TrueNegatives TruePositives"
).split()
_SMALLER = (
    "BinaryCrossentropy CategoricalCrossentropy CategoricalHinge FalseNegatives FalsePositives Hinge KLDivergence "
    "LogCoshError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson "
    "RootMeanSquaredError SparseCategoricalCrossentropy SquaredHinge"
).split()


def better(metric: keras.metrics.Metric) -> Direction | None:
    """Whether a smaller or a larger result is better; None if its class does not tell.

    It tells nothing of a subclass, which may turn its result round.
    """
    if type(metric).__module__.partition(".")[0] != "keras":
        return None
    if any(isinstance(metric, getattr(keras.metrics, name)) for name in _LARGER):
        return "max"
    return "min" if any(isinstance(metric, getattr(keras.metrics, name)) for name in _SMALLER) else None
