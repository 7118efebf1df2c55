"""Shows how far the run is. The line itself is made in trainer/observe/console.py."""

from trainer.actions.action import Action, Context, Turn
from trainer.observe.report import Report


class Progress(Action):
    """Updates the console's progress line at every boundary; the console decides how often it is printed."""

    turn = Turn.TELL

    def __init__(self, context: Context):
        self._console = context.console

    def due(self, step: int, report: Report) -> bool:
        return True

    def __call__(self, report: Report) -> bool:
        self._console.progress(report)
        return False
