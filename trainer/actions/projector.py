"""Writes word vectors for TensorBoard's projector, as files that other programs can read, too. Trains no vectors."""

from trainer.actions.action import Context, Periodic
from trainer.observe.report import Report
from trainer.pretrained.word_vectors import embeddings, vocabulary


class Projector(Periodic):
    """Writes RUN_DIR/tensorboard/train/vecs.tsv, one vector per line, and meta.tsv, one word per line.

    Each time replaces the files. The vectors are those that are evaluated: moving averages, if the run keeps them.

    Args:
      every: a period in steps; None: once per epoch.
      layer: name of the layers.Embedding.
      field: the field whose vocabulary the words come from.
      model: the name of one of the task's models, as in its checkpoints.

    Raises:
      UsageError: there is no such layer, or the field has no vocabulary.
    """

    def __init__(
        self, context: Context, every: int | None = None, layer: str = "embedding", field: str = "x",
        model: str = "model",
    ):  # fmt: skip
        super().__init__(context, every)
        self._vectors = embeddings(context.training.parts, model, layer)
        self._words = vocabulary(context.training.fields, field)

    def due(self, step: int, report: Report) -> bool:
        return step > 0 and super().due(step, report)

    def __call__(self, report: Report) -> bool:
        with self.context.goodput.spend("showing"):
            with self.context.evaluator.weights():
                vectors = self._vectors.numpy()[: len(self._words)]
            self.context.summaries.embedding(self._words, vectors)
        return False
