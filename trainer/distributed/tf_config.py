"""Which processes train together: TF_CONFIG, parsed and checked. Starts and connects nothing.

The format is TensorFlow's: {"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}};
'chief' is another name for the first worker.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainer.base.errors import UsageError

_EXAMPLE = '{"cluster": {"worker": ["host-a:2222", "host-b:2222"]}, "task": {"type": "worker", "index": 0}}'


class TFConfig(NamedTuple):
    """addresses: host:port of every worker, by rank.  rank: of this process.  chiefs: how many there are, 0 or 1."""

    addresses: tuple[str, ...]
    rank: int
    chiefs: int = 0


def from_environment(environment: Mapping[str, str] = os.environ) -> TFConfig | None:
    """Returns the parsed TF_CONFIG; None if it is not set, or holds nothing.

    Raises:
      UsageError: it is malformed, or names tasks that do not train.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _wrong(f"it is not JSON ({error})") from error
    if config == {}:
        return None
    if not isinstance(config, dict):
        raise _wrong("it is not a JSON object")
    task, groups = config.get("task"), config.get("cluster")
    if not isinstance(task, dict) or not isinstance(groups, dict):
        raise _wrong("it needs 'cluster' and 'task', both objects")
    if others := set(groups) - {"chief", "worker"}:
        raise _wrong(f"its cluster has {', '.join(map(repr, sorted(others)))}; only 'worker' and 'chief' train here")
    chiefs, workers = (_addresses(groups, kind) for kind in ("chief", "worker"))
    if len(chiefs) > 1:
        raise _wrong("its cluster has more than one chief")
    addresses = (*chiefs, *workers)
    if len(set(addresses)) < len(addresses):
        raise _wrong("an address appears twice in its cluster")
    kind, index = task.get("type"), task.get("index")
    if kind not in ("chief", "worker") or type(index) is not int:
        raise _wrong("its task needs a 'type', 'worker' or 'chief', and an 'index', a number")
    if not 0 <= index < len(chiefs if kind == "chief" else workers):
        raise _wrong(f"its cluster has no {kind} {index}")
    return TFConfig(addresses, index if kind == "chief" else index + len(chiefs), len(chiefs))


def _addresses(groups: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    found = groups.get(kind, [])
    if not isinstance(found, list) or not all(_is_address(address) for address in found):
        raise _wrong(f"its '{kind}' is not a list of strings like 'host:2222'")
    return tuple(found)


def _is_address(address: Any) -> bool:
    if not isinstance(address, str):
        return False
    host, _, port = address.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _wrong(what: str) -> UsageError:
    return UsageError(f"TF_CONFIG cannot be used: {what}; for two workers it reads {_EXAMPLE}")
