"""Ends the run when somebody asked for it: a signal, a preemption notice."""

from trainer.actions.action import Action, Context


class Stop(Action):
    """Ends the run at the first boundary whose report carries a request to stop."""

    def __init__(self, context: Context):
        pass

    def due(self, step: int, report) -> bool:
        return bool(report.request)

    def __call__(self, report) -> bool:
        return True
