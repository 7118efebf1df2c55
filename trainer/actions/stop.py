"""Ends the run on a stop request: a signal, a preemption notice. trainer/lifecycle collects the requests."""

from trainer.actions.action import Action, Context
from trainer.observe.report import Report


class Stop(Action):
    """Ends the run at the first boundary whose report carries a stop request."""

    def __init__(self, context: Context):
        pass

    def due(self, step: int, report: Report) -> bool:
        return bool(report.request)

    def __call__(self, report: Report) -> bool:
        return True
