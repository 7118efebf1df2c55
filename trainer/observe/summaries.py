"""TensorBoard's event files, and the PNG files of the same images. Only rank 0 writes them.

    RUN_DIR/tensorboard/train, RUN_DIR/tensorboard/eval, RUN_DIR/images

Event files are closed at every checkpoint. Those written after the checkpoint that a run resumes from are renamed, so
that TensorBoard shows every step once.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from trainer.base.liveness import progressed
from trainer.observe import pictures
from trainer.storage import atomic


class Summaries:
    """Writes scalars, texts, images, graphs and word vectors.

    Args:
      directory: RUN_DIR/tensorboard; created with the first value.
      committing: a context in which files are created; raises if this attempt may write no more.
    """

    def __init__(
        self,
        directory: Path,
        committing: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        self._directory, self._committing = directory, committing
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def _writer(self, run: str) -> tf.summary.SummaryWriter:
        if run not in self._writers:
            with self._committing():
                self._writers[run] = tf.summary.create_file_writer(str(self._directory / run))
        return self._writers[run]

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        """Writes scalars; `run` is 'train', 'eval' or 'eval/<split>'."""
        with self._writer(run).as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def samples(self, step: int, samples: Mapping[str, np.ndarray]) -> None:
        """Writes 'images/NAME' [n, height, width, channels], tiled, as a PNG file, too; and 'text/NAME' [n], bytes."""
        with self._writer("train").as_default(step=step):
            for name, values in samples.items():
                kind, _, plain = name.partition("/")
                if kind == "images":
                    picture = pictures.grid(values)
                    tf.summary.image(plain, picture[None])
                    with self._committing():
                        pictures.save(self._directory.parent / "images" / f"{plain}_{step:08d}.png", picture)
                else:
                    lines = [value.decode("utf-8", "replace") for value in values]
                    tf.summary.text(plain, "\n\n".join(f"    {line}" for text in lines for line in text.splitlines()))
                progressed()

    def text(self, name: str, text: str) -> None:
        """Writes a text, shown verbatim: TensorBoard's Markdown takes lines that start with four spaces for code."""
        with self._writer("train").as_default(step=0):
            tf.summary.text(name, "\n".join(f"    {line}" for line in text.splitlines()))

    def embedding(self, words: Sequence[str], vectors: np.ndarray) -> None:
        """Writes vectors [words, width] for TensorBoard's projector over earlier ones; leaves out the word ''."""
        folder = self._directory / "train"
        folder.mkdir(parents=True, exist_ok=True)
        shown = [(word, vector) for word, vector in zip(words, vectors, strict=True) if word]
        whitespace = str.maketrans("\t\n\r", "   ")
        lines = {
            "meta.tsv": (word.translate(whitespace) for word, _ in shown),
            "vecs.tsv": ("\t".join(f"{x:.6g}" for x in vector) for _, vector in shown),
        }
        with self._committing():
            for name, each in lines.items():
                with atomic.replacing(folder / name) as file, file.open("w", encoding="utf-8") as stream:
                    for line in each:
                        stream.write(f"{line}\n")
                        progressed()
            config = projector.ProjectorConfig()
            config.embeddings.add(tensor_name="words", tensor_path="vecs.tsv", metadata_path="meta.tsv")
            projector.visualize_embeddings(str(folder), config)

    def graph(self, graph: tf.Graph) -> None:
        """Writes the graph for TensorBoard's Graphs tab."""
        with self._writer("train").as_default(step=0):
            tf.summary.graph(graph)

    def commit(self) -> list[str]:
        """Closes the event files; returns the paths of all, relative to the directory. Later values go to new files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        return sorted(str(path.relative_to(self._directory)) for path in self._files())

    def rewind(self, committed: Iterable[str]) -> None:
        """Renames every event file that is not among `committed`: its steps will be written again."""
        kept = set(committed)
        for path in self._files():
            if str(path.relative_to(self._directory)) not in kept:
                # TensorBoard reads whatever has "tfevents" in its name.
                path.rename(path.with_name(path.name.replace("tfevents", "superseded")))

    def _files(self) -> list[Path]:
        return [path for path in self._directory.rglob("*tfevents*") if path.is_file()]


class NoSummaries(Summaries):
    """Writes nothing: rank 0 does."""

    def scalars(self, run: str, step: int, values: Mapping[str, float]) -> None:
        pass

    def samples(self, step: int, samples: Mapping[str, np.ndarray]) -> None:
        pass

    def embedding(self, words: Sequence[str], vectors: np.ndarray) -> None:
        pass

    def text(self, name: str, text: str) -> None:
        pass

    def graph(self, graph: tf.Graph) -> None:
        pass

    def commit(self) -> list[str]:
        return []

    def rewind(self, committed: Iterable[str]) -> None:
        pass
