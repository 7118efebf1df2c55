"""Copies of a state's variables: those that are asked for, set again as they were, and each one counted."""

import examples
import numpy as np

from trainer.step.values import EVALUATED, assign_values, read_values


def test_what_was_read_is_set_again(new_step, digits, progress, converted):
    loop, source = new_step(examples.classifier(), {"x": digits[0][:100], "y": digits[1][:100]})
    before = read_values(loop.state, EVALUATED)
    assert before and all(name.startswith(EVALUATED) for name in before)
    loop.train(source.open(0).take(2))
    converted.to_tensors.clear()
    assert any((value != before[name]).any() for name, value in read_values(loop.state, EVALUATED).items())
    assert progress(assign_values, loop.state, before) == len(before) == len(converted.to_tensors)
    for name, value in read_values(loop.state, EVALUATED).items():
        np.testing.assert_array_equal(value, before[name])
