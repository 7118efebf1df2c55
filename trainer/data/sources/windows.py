"""Windows over a time series: past values, and a later one to predict. Reads no files.

The series is held in memory once, however much its windows overlap.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from trainer.base import unlocked
from trainer.base.errors import UsageError
from trainer.data.scale import moments
from trainer.data.source import Field, Splits


class Windows:
    """Every window of a part of a series.

    Args:
      series: float32 [times, features].
      target: index of the feature to predict.
      past: length of a window, in time steps.
      ahead: how many time steps after the end of the window the target is.

    Fields: 'x' float32 [past, features], 'y' float32 [].
    """

    def __init__(self, series: np.ndarray, target: int, past: int, ahead: int):
        self._length = len(series) - past - ahead + 1
        self._past, self._ahead, self._target = past, ahead, target
        self.fields = {"x": Field((past, series.shape[1]), "float32"), "y": Field((), "float32")}
        self._series = unlocked.tensor(np.asarray(series, np.float32))

    def __len__(self) -> int:
        return self._length

    def read(self, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        times = indices[:, None] + tf.range(self._past, dtype=tf.int64)
        y = tf.gather(self._series[:, self._target], indices + (self._past + self._ahead - 1))
        return {"x": tf.gather(self._series, times), "y": y}


def splits(
    series: Callable[[], np.ndarray],
    past: int,
    ahead: int = 1,
    target: int = 0,
    validation: float = 0.0,
    test: float = 0.2,
) -> Splits:
    """Returns windows over a series that is cut by time: first training, then validation, last test data.

    No window crosses a cut, so nothing that is evaluated was seen in training, as input or as target. All features are
    standardised by the means and deviations of the training part. A note says how good the naive prediction is, that
    the target keeps its last value.

    Args:
      series: returns float [times, features], or [times], at equal intervals.
      past, ahead, target: see Windows.
      validation, test: their shares of the time steps.

    Raises:
      UsageError: a value is missing, a part is shorter than a window, or an argument is out of range.
    """
    values = np.asarray(series(), np.float64)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise UsageError(f"splits.series returned an array of rank {values.ndim}: it must be [times, features]")
    if (missing := np.argwhere(~np.isfinite(values))).size:
        time, feature = missing[0]
        raise UsageError(
            f"the series has no number at time {time:,}, feature {feature}, and {len(missing):,} gaps in all: fill them"
        )
    for name, value, least in (("past", past, 1), ("ahead", ahead, 1)):
        if value < least:
            raise UsageError(f"splits.{name} = {value}: give a number of at least {least}")
    if not 0 <= target < values.shape[1]:
        raise UsageError(f"splits.target = {target}: the series has {values.shape[1]} features, from 0")
    if not (0.0 <= validation < 1.0 and 0.0 < test < 1.0 and validation + test < 1.0):
        raise UsageError(
            f"splits.validation = {validation}, splits.test = {test}: give shares that leave some for training"
        )
    ends = [round(len(values) * share) for share in (1 - validation - test, 1 - test, 1.0)]
    parts = dict(zip(("train", "validation", "test"), np.split(values, ends[:2]), strict=True))
    if not validation:
        del parts["validation"]
    for name, part in parts.items():
        if len(part) < past + ahead:
            raise UsageError(
                f"the {name} part of the series has {len(part):,} times, but a window needs {past + ahead:,}: "
                f"shorten splits.past, or give that part more"
            )
    mean, deviation = moments(parts["train"])
    parts = {name: (part - mean) / deviation for name, part in parts.items()}
    guess = parts["test"][past + ahead - 1 :, target] - parts["test"][past - 1 : -ahead, target]
    return Splits.of(
        {name: Windows(part, target, past, ahead) for name, part in parts.items()},
        notes=(
            f"predicting the last value has an error of {np.mean(np.square(guess)):.4g} (squared), "
            f"{np.mean(np.abs(guess)):.4g} (absolute) on the test part",
        ),
        leakage="the windows of a series overlap; set windows.splits.validation, which cuts in time",
    )
