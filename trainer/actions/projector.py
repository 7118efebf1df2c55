"""Shows the vectors of words in TensorBoard's projector, and leaves them as files that other programs read."""

from trainer.actions.action import Context, Periodic
from trainer.word_vectors import embeddings, vocabulary


class Projector(Periodic):
    """Writes RUN_DIR/tensorboard/train/vecs.tsv, a vector a line, and meta.tsv, its word; both as they are last.

    They are the vectors that are evaluated: averages, where the run keeps them.

    Args:
      every: a period in steps; None: an epoch.
      layer: name of the layers.Embedding.
      field: the field whose vocabulary is meant.
      model: which of the task's models is meant, as its checkpoints call it.

    Raises:
      UsageError: there is no such layer, or the data has no vocabulary.
    """

    def __init__(
        self, context: Context, every: int | None = None, layer: str = "embedding", field: str = "x",
        model: str = "model",
    ):  # fmt: skip
        super().__init__(context, every)
        self._vectors = embeddings(context.parts, model, layer)
        self._words = vocabulary(context.fields, field)

    def due(self, step: int, report) -> bool:
        return step > 0 and super().due(step, report)

    def __call__(self, report) -> bool:
        with self.context.ledger.spend("showing"):
            with self.context.evaluator.weights():
                vectors = self._vectors.numpy()[: len(self._words)]
            self.context.summaries.embedding(self._words, vectors)
        return False
