"""Has frozen layers trained, from a step on."""

from trainer.actions.action import NEVER, Action, Context, Turn
from trainer.freezing import Freeze


class Release(Action):
    """Ends a rule of freezing when its step has come; experiment.run makes one for each rule that ends."""

    turn = Turn.GUARD

    def __init__(self, context: Context, rule: Freeze):
        self._context, self._rule, self._done = context, rule, False

    @property
    def name(self) -> str:
        return f"{type(self).__name__}.{self._rule.model}.{self._rule.pattern}"

    def next_step(self, step: int) -> int:
        return NEVER if self._done or self._rule.until is None else max(step, self._rule.until)

    def due(self, step: int, report) -> bool:
        return not self._done and self._rule.until is not None and step >= self._rule.until

    def __call__(self, report) -> bool:
        self._end()
        self._context.console.say(f"'{self._rule.pattern}' is trained from step {report.step:,} on")
        return False

    def _end(self) -> None:
        self._done = True
        self._context.release(self._rule)

    def state(self):
        return {"done": self._done}

    def restore(self, state):
        if state["done"]:
            self._end()
