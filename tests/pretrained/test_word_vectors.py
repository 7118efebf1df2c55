"""Models of words that start from vectors of others."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.source import Field
from trainer.pretrained.word_vectors import WordVectors
from trainer.tasks.protocol import Parts

FIELDS = {"x": Field((2,), "int32", 0, 4, ("", "[UNK]", "cat", "dog", "zebra"))}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("dog 1 2 3\nmouse 7 8 9\ncat 4 5 6\n")
    return path


def parts(words=6):
    model = keras.Sequential([keras.layers.Embedding(words, 3, name="embedding"), keras.layers.Dense(2)])
    model(tf.zeros((1, 2), tf.int32))
    return Parts([], {"model": model})


def test_words_of_the_file_have_its_vectors_and_others_keep_theirs(file, converted):
    made = parts()
    table = made.models["model"].layers[0].embeddings
    before = np.array(table)
    said = WordVectors(str(file))(made, FIELDS)
    assert said == f"2 of 5 words have a vector in {file}"
    np.testing.assert_array_equal(np.asarray(table)[[2, 3]], [[4, 5, 6], [1, 2, 3]])
    np.testing.assert_array_equal(np.asarray(table)[[0, 1, 4, 5]], before[[0, 1, 4, 5]])
    assert len(converted.to_tensors) == 1  # the table, which may be large


def test_what_does_not_fit_is_refused(file):
    with pytest.raises(UsageError, match="the vocabulary of 'x' has 5 words, the layer 'embedding' has room for 4"):
        WordVectors(str(file))(parts(words=4), FIELDS)
    with pytest.raises(UsageError, match="no layers.Embedding is called 'words'; the model has: embedding"):
        WordVectors(str(file), layer="words")(parts(), FIELDS)
    with pytest.raises(UsageError, match="no field 'y' with a vocabulary"):
        WordVectors(str(file), field="y")(parts(), FIELDS)
    with pytest.raises(UsageError, match="there is no model 'encoder': the task has: model"):
        WordVectors(str(file), model="encoder")(parts(), FIELDS)
