"""What a launcher knows and the configuration does not, handed to run(). Plain records; imports no TensorFlow."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from trainer.lifecycle.goodput import Goodput
from trainer.lifecycle.stop_requests import StopRequests
from trainer.observe.console import Console
from trainer.rundir.directory import RunDirectory


class ConfigurationText(NamedTuple):
    """The configuration, as the text of gin files.

    gin_text: all of it, checked.  operative: returns the text of the values that this process has used so far.
    """

    gin_text: str
    operative: Callable[[], str]


class ProcessSetup(NamedTuple):
    """How the launcher has set up this process, and what it wants to be told.

    begun: called once the run has begun: from then on stop requests are acted on at every step boundary.
    watch: given a function that returns, from any thread, how many collectives of the steps this process has reached.
    watch_meetings: given a function that returns, from any thread, how often this process has come to the other ranks.
    processes: how many were started to train together; None: the launcher did not start them.
    virtual_replicas: train on this many virtual CPU devices instead of the configured strategy; None: on the latter.
    most_processes: the most that any attempt at the run may have.
    told_limit: given for how many processes the shards of the run are enough, before more than that are refused.
    """

    begun: Callable[[], None] = lambda: None
    watch: Callable[[Callable[[], int]], None] = lambda collectives: None
    watch_meetings: Callable[[Callable[[], int]], None] = lambda meetings: None
    processes: int | None = None
    virtual_replicas: int | None = None
    most_processes: int = 1
    told_limit: Callable[[int], None] = lambda processes: None


class Invocation(NamedTuple):
    """One mode of one experiment, in one process.

    options: of the mode: `input` and `output` of predict and evaluate, `folder` of check, and of train
      `allow_config_change`, whether it may resume with other data.
    """

    mode: str
    directory: RunDirectory
    configuration: ConfigurationText
    console: Console
    goodput: Goodput
    stop_requests: StopRequests
    setup: ProcessSetup = ProcessSetup()
    options: Mapping[str, Any] = {}
