"""Loss scaling for float16: grows after many finite steps in a row, halves after one that was not."""

import pytest
import tensorflow as tf

from trainer.step.loss_scale import LossScale


@pytest.fixture
def scale():
    return LossScale.of("mixed_float16")


@pytest.fixture
def updated(scale):
    """Makes steps, finite or not; returns the scale after them."""

    @tf.function
    def update(finite, times):
        for _ in tf.range(times):
            scale.update(finite)

    def updated(finite, times=1):
        update(tf.constant(finite), tf.constant(times))
        return scale.read_value().numpy()

    return updated


def test_it_grows_after_many_finite_steps_in_a_row(updated):
    assert updated(True, 1999) == 2**15
    assert updated(True) == 2**16
    assert updated(True, 1999) == 2**16
    assert updated(False) == 2**15
    assert updated(True, 1999) == 2**15 and updated(True) == 2**16


def test_it_stays_within_bounds(updated, scale):
    assert updated(False, 15) == 1.0 and scale.is_usable()
    # One more, and a step without scaling has not been finite either.
    assert updated(False) == 0.5 and not scale.is_usable()
    assert updated(False, 100) == 0.5
    assert updated(True, 2000 * 70) == 2.0**60


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_other_types_need_none(precision):
    scale = LossScale.of(precision)
    assert not scale.active and scale.read_value() == 1.0 and scale.is_usable()
    assert scale.variables() == scale.report() == {}
