"""Who may write to a store: one live process, and of its attempts the newest. What all kinds of fences share."""

import abc
import contextlib
from collections.abc import Callable

from trainer.base.errors import TrainingError


class Fence(abc.ABC):
    """Who may write to a store: one live process, and of its attempts the newest.

    Args:
      where: the store as a user would write it, for messages.
      may_begin: whether this process may begin an attempt, by what its launcher knows.
      attempts_known: how many attempts there were, by what the store holds; asked where that was lost here.

    Attributes:
      attempt: the number of this process's attempt, once it is claimed; 0 before.
    """

    def __init__(self, where: str, may_begin: Callable[[], bool], attempts_known: Callable[[], int]):
        self.attempt, self._where = 0, where
        self._may_begin, self._attempts_known = may_begin, attempts_known

    @abc.abstractmethod
    def require_free(self) -> None:
        """Becomes the only writer, where there has been one before; creates nothing else.

        Raises:
          UsageError: another live process is the writer.
        """

    @abc.abstractmethod
    def acquire(self) -> None:
        """Becomes the only writer, until this process ends, however it ends.

        Raises:
          UsageError: the store cannot be written to, or another live process is its writer.
        """

    @abc.abstractmethod
    def exists(self) -> bool:
        """Whether there is anything in the store."""

    @property
    @abc.abstractmethod
    def has_begun(self) -> bool:
        """Whether an attempt has ever been claimed."""

    @abc.abstractmethod
    def claim(self) -> int:
        """Begins an attempt; returns its number, from 1. From now on no earlier attempt can commit anything.

        Raises:
          TrainingError: this process is not the one that may begin an attempt now, however late it came to ask.
        """

    @abc.abstractmethod
    def give_back(self) -> None:
        """Undoes `claim` if nothing was written since: the attempt has not begun."""

    @abc.abstractmethod
    def withdraw(self) -> None:
        """Removes all that was made by `acquire`, in a store in which no attempt has begun."""

    @abc.abstractmethod
    def release(self) -> None:
        """This process is the writer no more; another one need not wait to see whether it lives."""

    @abc.abstractmethod
    def sees(self, attempt: int) -> bool:
        """Whether this process sees that `attempt` or a later one was claimed."""

    @abc.abstractmethod
    def committing(self) -> contextlib.AbstractContextManager[None]:
        """A context in which this attempt may write.

        Raises:
          TrainingError: another attempt has been claimed since.
        """

    def _over(self, newest: int) -> TrainingError:
        return TrainingError(
            f"attempt {self.attempt} at {self._where} is over, since attempt {newest} has begun: not saved"
        )

    def _too_late(self) -> TrainingError:
        return TrainingError(f"this process may no longer begin an attempt at {self._where}: another one has")
