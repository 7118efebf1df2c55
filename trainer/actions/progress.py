"""Shows how far the run is."""

from trainer.actions.action import Action, Context, Turn


class Progress(Action):
    """Keeps the console's one line up to date; how often it is printed is the console's business."""

    turn = Turn.TELL

    def __init__(self, context: Context):
        self._console = context.console

    def due(self, step: int, report) -> bool:
        return True

    def __call__(self, report) -> bool:
        self._console.progress(report)
        return False
