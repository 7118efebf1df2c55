"""Whose fault an error is: a disk's or a network's, which may pass, or somebody's."""

import errno
import os

import pytest
import tensorflow as tf

from trainer.base.errors import EnvironmentTrouble, TrainingError, of_environment


def raised_from(cause):
    try:
        raise TrainingError("what it led to") from cause
    except TrainingError as error:
        return error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EIO, errno.ETIMEDOUT])
def test_trouble_of_disks_and_shares_is_known_in_whatever_it_led_to(number):
    error = OSError(number, os.strerror(number))
    assert of_environment(error) and of_environment(raised_from(error))
    assert of_environment(raised_from(EnvironmentTrouble("a disk")))
    assert of_environment(tf.errors.ResourceExhaustedError(None, None, f"/data/state; {os.strerror(number)}"))


@pytest.mark.parametrize(
    "error",
    [
        None, PermissionError(errno.EACCES, "no"), FileNotFoundError(errno.ENOENT, "no"), ValueError("No space left"),
        OSError(errno.ENOTDIR, "no"), tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
    ],
)  # fmt: skip
def test_mistakes_are_not_trouble(error):
    assert not of_environment(error) and not of_environment(raised_from(error))
