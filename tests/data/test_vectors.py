"""Word vectors of other people's files, for the words that are asked for."""

import json

import numpy as np
import pytest

from trainer.data import vectors
from trainer.errors import UsageError

WORDS = ["", "[UNK]", "cat", "dog"]


@pytest.mark.parametrize("first", ["", "3 2\n"])
def test_a_text_file_has_a_word_a_line(tmp_path, first):
    (tmp_path / "v.txt").write_text(f"{first}cat 1 2\nthe 3 4\n. 5 6\n")
    found, known = vectors.load(str(tmp_path / "v.txt"), WORDS, 2)
    assert found.tolist() == [[0, 0], [0, 0], [1, 2], [0, 0]] and found.dtype == np.float32
    assert known.tolist() == [False, False, True, False]


def test_json_may_have_more_around_them_and_behind_them(tmp_path):
    pytest.importorskip("ijson", reason="the text extra is not installed")
    content = {"words": 2, "vectors": {"dog": [1.5, 2, 99, 0], "the": [1, 1, 1, 1]}}
    (tmp_path / "v.json").write_text(json.dumps(content))
    found, known = vectors.load(str(tmp_path / "v.json"), WORDS, 2)
    assert found[3].tolist() == [1.5, 2] and known.tolist() == [False, False, False, True]
    with pytest.raises(UsageError, match="'dog' has a vector of 4 numbers, where 5 were asked for"):
        vectors.load(str(tmp_path / "v.json"), WORDS, 5)
    (tmp_path / "v.json").write_text('{"a": [1, 2')
    with pytest.raises(UsageError, match="is no JSON that can be read"):
        vectors.load(str(tmp_path / "v.json"), WORDS, 2)


@pytest.mark.parametrize(("content", "said"), [
    ("cat 1 2\ndog 1 2 3\n", "line 2: a vector of 3 numbers, but 2 were asked for"),
    ("dog 1 x\n", "line 1: could not convert"), ("the 1 2\n", "the vector of none of 3 words"),
])  # fmt: skip
def test_bad_files_are_refused(tmp_path, content, said):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UsageError, match=said):
        vectors.load(str(tmp_path / "v.txt"), WORDS, 2)
    with pytest.raises(UsageError, match="no such file of word vectors"):
        vectors.load(str(tmp_path / "w.txt"), WORDS, 2)
