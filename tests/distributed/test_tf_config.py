"""TF_CONFIG: what is understood, and that what is not is told with its remedy."""

import json

import pytest

from trainer.base.errors import UsageError
from trainer.distributed.tf_config import TFConfig, from_environment

TWO = {"worker": ["a:1", "b:2"]}


def parse(cluster, task):
    return from_environment({"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})})


def test_without_it_there_is_no_cluster():
    assert from_environment({}) is None and from_environment({"TF_CONFIG": "{}"}) is None
    assert from_environment({"TF_CONFIG": " "}) is None


def test_a_chief_is_the_first_worker():
    assert parse(TWO, {"type": "worker", "index": 1}) == TFConfig(("a:1", "b:2"), 1)
    with_chief = {"chief": ["c:3"], **TWO}
    assert parse(with_chief, {"type": "chief", "index": 0}) == TFConfig(("c:3", "a:1", "b:2"), 0, 1)
    assert parse(with_chief, {"type": "worker", "index": 0}) == TFConfig(("c:3", "a:1", "b:2"), 1, 1)


@pytest.mark.parametrize(
    "cluster, task, says",
    [
        (TWO, {"type": "worker", "index": 2}, "no worker 2"),
        (TWO, {"type": "worker", "index": -1}, "no worker -1"),
        (TWO, {"type": "worker", "index": "0"}, "an 'index', a number"),
        (TWO, {"type": "worker", "index": True}, "an 'index', a number"),
        (TWO, {"type": "ps", "index": 0}, "'type', 'worker' or 'chief'"),
        (TWO, {}, "'type', 'worker' or 'chief'"),
        (TWO, None, "'cluster' and 'task'"),
        (None, {"type": "worker", "index": 0}, "'cluster' and 'task'"),
        ({"worker": "a:1"}, {"type": "worker", "index": 0}, "its 'worker' is not a list"),
        ({"worker": ["a"]}, {"type": "worker", "index": 0}, "its 'worker' is not a list"),
        ({"worker": ["a:0"]}, {"type": "worker", "index": 0}, "its 'worker' is not a list"),
        ({"worker": ["a:1", "a:1"]}, {"type": "worker", "index": 0}, "appears twice"),
        ({"ps": ["a:1"], **TWO}, {"type": "worker", "index": 0}, "'ps'"),
        ({"chief": ["c:1", "d:2"], **TWO}, {"type": "chief", "index": 0}, "more than one chief"),
    ],
)
def test_what_is_malformed_is_told(cluster, task, says):
    with pytest.raises(UsageError, match="TF_CONFIG cannot be used") as caught:
        parse(cluster, task)
    assert says in caught.value.message and '"task": {"type": "worker", "index": 0}' in caught.value.message


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_what_is_no_object_is_told(text):
    with pytest.raises(UsageError, match="TF_CONFIG cannot be used: it is not"):
        from_environment({"TF_CONFIG": text})
