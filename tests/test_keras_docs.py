"""docs/keras.md says what the tables of the tests say."""

import keras_docs


def test_the_docs_are_of_the_tables():
    assert keras_docs.FILE.read_text() == keras_docs.text(), "python tests/keras_docs.py writes it anew"
