"""Which worker was lost, as far as the error says that TensorFlow raises in another one. Starts and ends nothing.

The texts are those of TensorFlow 2.21; tests/distributed/test_lost_workers.py has what it said of real losses. An error
that is none of them is left to its traceback.
"""

import re
from typing import NamedTuple

from trainer.base.errors import of_other_processes
from trainer.distributed import tf_config

# Follows the names of this process's own devices, and comes before the reason why no collective can go on.
_ABORTED = "Collective ops is aborted by:"
# In errors of calls to the coordination service, which runs in the process of rank 0 and counts all heartbeats.
_SERVICE = "/tensorflow.CoordinationService/"
# In what the service answers to a worker that it has not heard from for too long, with that worker's own name.
_LATE = "heartbeat timeout"
# Begins what the service tells all workers that are left.
_TOLD = "Error reported from"
# One that ended by an error of its own cannot be told from one that was killed, but has shown that error.
_LOST = "lost, and may have said why"
_NAME = r"/job:(chief|worker)(?:/replica:0)?/task:(\d+)"
# The service lists those that it has not heard from; whoever else is named in such a text is a witness.
_MISSED = re.compile(rf"(?:stopped sending heartbeats\):|timed out task names:)((?:\s+{_NAME})+)")


class Loss(NamedTuple):
    """said: who was lost, a sentence.  known: whether all workers that are left have been told the same."""

    said: str
    known: bool


def of(error: BaseException) -> Loss | None:
    """Returns the loss that an error tells of; None if it is of something else, or no TF_CONFIG names other workers."""
    from tensorflow import errors  # callers have imported it already; importing this module must stay fast

    config, text = tf_config.from_environment(), str(error)
    if config is None or not isinstance(error, errors.OpError):
        return None
    _, aborted, reason = text.partition(_ABORTED)
    if not (aborted and of_other_processes(error)) and _SERVICE not in text:
        return None
    reason = reason if aborted else text
    ranks = _named(reason, config)
    others = [rank for rank in ranks if rank != config.rank]
    known = reason.lstrip().startswith(_TOLD) or len(config.addresses) == 2
    if others:
        workers = [f"worker {rank} ({config.addresses[rank]})" for rank in others]
        return Loss(f"{' and '.join(workers)} {'was' if len(others) == 1 else 'were'} {_LOST}", known)
    if ranks and _LATE in reason:
        return Loss("this worker was silent for so long that the others gave it up", True)
    return Loss(f"another worker was {_LOST}", known)


def _named(reason: str, config: tf_config.TFConfig) -> list[int]:
    """The ranks of the workers that are missed, sorted."""
    missed = _MISSED.search(reason)
    # A worker passes on why it cannot answer, with its own name after that: the first one is the cause.
    names = re.findall(_NAME, missed[1]) if missed else re.findall(_NAME, reason)[:1]
    if not names:
        return [0] if _SERVICE in reason else []  # it does not answer
    ranks = {int(index) + (config.chiefs if kind == "worker" else 0) for kind, index in names}
    return sorted(rank for rank in ranks if rank < len(config.addresses))
