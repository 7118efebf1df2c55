"""TensorBoard's event files, and the PNG files of the same images. Only rank 0 writes them.

    RUN_DIR/tensorboard/train, RUN_DIR/tensorboard/eval, RUN_DIR/images

An attempt writes one event file for each of these folders, or a few. A checkpoint holds how long each file was; a run
that resumes from it cuts them to that length, and empties those that came later, so that TensorBoard shows every step
once.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector

from trainer.base.liveness import progressed
from trainer.observe import pictures
from trainer.storage import atomic
from trainer.storage.store import Store

# After a commit at which its event file had more bytes, a folder gets another one: of a remote run directory the whole
# file is sent whenever it has changed.
_LARGE = 8 << 20


class Summaries:
    """Writes scalars, texts, images, graphs and word vectors.

    Args:
      directory: RUN_DIR/tensorboard, see RunDirectory.path; created with the first value.
      writing: a context in which files are created; raises if this attempt may write no more.
    """

    def __init__(
        self,
        directory: Path,
        writing: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ):
        self._directory, self._writing = directory, writing
        self._writers: dict[str, tf.summary.SummaryWriter] = {}
        self._earlier: dict[str, int] = {}

    def _writer(self, run: str) -> tf.summary.SummaryWriter:
        if run not in self._writers:
            with self._writing():
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
                    with self._writing():
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
        with self._writing():
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

    def commit(self) -> dict[str, dict[str, int]]:
        """Puts all values into the event files; returns the bytes of each by its name in the directory.

        They are parted into those of this attempt, 'own', and of those before, 'earlier'.
        """
        for writer in self._writers.values():
            writer.flush()
        found = {path.relative_to(self._directory).as_posix(): path.stat().st_size for path in self._files()}
        own = {name: size for name, size in found.items() if name not in self._earlier}
        for run in list(self._writers):
            newest = max(name for name in own if name.rpartition("/")[0] == run)
            if own[newest] > _LARGE:
                self._writers.pop(run).close()
        return {"own": own, "earlier": dict(self._earlier)}

    def _files(self) -> list[Path]:
        return [path for path in self._directory.rglob("*") if _is_event_file(path.name) and path.is_file()]

    def rewind(self, store: Store, folder: str, committed: Mapping[str, Mapping[str, int]]) -> None:
        """Cuts the event files to what they were at a commit, since the steps after it will be written again.

        The attempt that committed may still live, and have its files open; whatever it writes from now on goes nowhere.

        Args:
          store: the run directory.
          folder: the name of this directory in it.
          committed: what `commit` returned.
        """
        own, earlier = committed.get("own", {}), committed.get("earlier", {})
        self._earlier = {**earlier, **own}
        for name, size in store.sizes(folder).items():
            plain = name.removeprefix(f"{folder}/")
            if _is_event_file(name) and (plain in own or size != earlier.get(plain, 0)):
                store.cut(name, self._earlier.get(plain, 0))
                self._earlier.setdefault(plain, 0)

    def close(self) -> None:
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}


class NoSummaries(Summaries):
    """Writes nothing: rank 0 does."""

    def __init__(self) -> None:
        super().__init__(Path())

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

    def commit(self) -> dict[str, dict[str, int]]:
        return {}

    def rewind(self, store: Store, folder: str, committed: Mapping[str, Mapping[str, int]]) -> None:
        pass


def _is_event_file(name: str) -> bool:
    """As TensorBoard takes files for event files."""
    return "tfevents" in name.rpartition("/")[2]
