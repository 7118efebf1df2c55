"""TensorBoard: the run's one writer of event files.

    RUN_DIR/tensorboard/train, RUN_DIR/tensorboard/eval

Files are closed whenever the run is saved; what was written after the checkpoint that a run goes on from is set aside,
so that every step is shown once.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import tensorflow as tf


class Summaries:
    """Writes scalars, texts and graphs.

    Args:
      directory: RUN_DIR/tensorboard; made with the first value.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def _writer(self, run: str) -> tf.summary.SummaryWriter:
        if run not in self._writers:
            self._writers[run] = tf.summary.create_file_writer(str(self._directory / run))
        return self._writers[run]

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers; `run` is 'train', 'eval' or 'eval/<split>'."""
        with self._writer(run).as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def text(self, name: str, text: str) -> None:
        """Writes a text, shown as it is; lines that start with four spaces are code to TensorBoard's Markdown."""
        with self._writer("train").as_default(step=0):
            tf.summary.text(name, "\n".join(f"    {line}" for line in text.splitlines()))

    def graph(self, graph: tf.Graph) -> None:
        """Writes the graph that TensorBoard's Graphs tab shows."""
        with self._writer("train").as_default(step=0):
            tf.summary.graph(graph)

    def commit(self) -> list[str]:
        """Closes the event files, and returns all there are; what is written next goes to new ones."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        return sorted(str(path.relative_to(self._directory)) for path in self._files())

    def rewind(self, committed: Iterable[str]) -> None:
        """Sets aside every event file that is not among the `committed`: its steps will be written again."""
        kept = set(committed)
        for path in self._files():
            if str(path.relative_to(self._directory)) not in kept:
                # TensorBoard reads whatever has "tfevents" in its name.
                path.rename(path.with_name(path.name.replace("tfevents", "superseded")))

    def _files(self) -> list[Path]:
        return [path for path in self._directory.rglob("*tfevents*") if path.is_file()]


class NoSummaries(Summaries):
    """Writes nothing: another rank does."""

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        pass

    def text(self, name: str, text: str) -> None:
        pass

    def graph(self, graph: tf.Graph) -> None:
        pass

    def commit(self) -> list[str]:
        return []

    def rewind(self, committed: Iterable[str]) -> None:
        pass
