"""The exceptions that a person can act on without reading a traceback."""


class _Told(Exception):
    """message: what is shown. An attribute, because gin rewrites the text of whatever passes through it."""

    def __init__(self, message: str):
        super().__init__(message)
        self.message = message


class UsageError(_Told):
    """Wrong usage, configuration or input, found before anything was written.

    The message names the knob and the remedy; the process exits with 2.
    """


class TrainingError(_Told):
    """A failure while running that needs no traceback to be understood; the process exits with 1."""
