"""Word vectors of other people's files, for the words that are asked for."""

import json

import numpy as np
import pytest

from trainer.base.errors import UsageError
from trainer.pretrained import vector_files

WORDS = ["", "[UNK]", "cat", "dog"]


@pytest.mark.parametrize("first", ["", "3 2\n"])
def test_a_text_file_has_a_word_a_line(tmp_path, first):
    (tmp_path / "v.txt").write_text(f"{first}cat 1 2\nthe 3 4\n. 5 6\n")
    found, known = vector_files.load(str(tmp_path / "v.txt"), WORDS, 2)
    assert found.tolist() == [[0, 0], [0, 0], [1, 2], [0, 0]] and found.dtype == np.float32
    assert known.tolist() == [False, False, True, False]


def test_json_may_have_more_around_them_and_behind_them(tmp_path):
    pytest.importorskip("ijson", reason="the text extra is not installed")
    content = {"words": 2, "vectors": {"dog": [1.5, 2, 99, 0], "the": [1, 1, 1, 1]}}
    (tmp_path / "v.json").write_text(json.dumps(content))
    found, known = vector_files.load(str(tmp_path / "v.json"), WORDS, 2)
    assert found[3].tolist() == [1.5, 2] and known.tolist() == [False, False, False, True]
    with pytest.raises(UsageError, match="'dog' has a vector of 4 numbers, where 5 were asked for"):
        vector_files.load(str(tmp_path / "v.json"), WORDS, 5)
    with pytest.raises(UsageError, match="'dog' has a vector of 4 numbers, where 1 were asked for"):
        vector_files.load(str(tmp_path / "v.json"), WORDS, 1)
    (tmp_path / "v.json").write_text(json.dumps({"dimensions": 2, "more": {"dimensions": [9, 9, 9]}, **content}))
    assert vector_files.load(str(tmp_path / "v.json"), WORDS, 2)[0].tolist() == found.tolist()
    with pytest.raises(UsageError, match="says that its vectors have 2 numbers, where 3 were asked for"):
        vector_files.load(str(tmp_path / "v.json"), WORDS, 3)
    (tmp_path / "v.json").write_text('{"a": [1, 2')
    with pytest.raises(UsageError, match="is no JSON that can be read"):
        vector_files.load(str(tmp_path / "v.json"), WORDS, 2)


def test_a_word_may_have_spaces_in_it(tmp_path):
    """As GloVe's of 840 billion words have."""
    (tmp_path / "v.txt").write_text(". . . 1 2\nat name@domain.com 3 4\ncat 5 6\n")
    found, known = vector_files.load(str(tmp_path / "v.txt"), ["", ". . .", "at name@domain.com", "at"], 2)
    assert found.tolist() == [[0, 0], [1, 2], [3, 4], [0, 0]] and known.tolist() == [False, True, True, False]


@pytest.mark.parametrize("first", ["", "1 2\n"])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path, first):
    (tmp_path / "v.txt").write_text(f"{first}cat 1 2\n", encoding="utf-8-sig")
    assert vector_files.load(str(tmp_path / "v.txt"), WORDS, 2)[0][2].tolist() == [1, 2]


def test_json_may_begin_with_a_byte_order_mark(tmp_path):
    pytest.importorskip("ijson", reason="the text extra is not installed")
    (tmp_path / "v.json").write_text('{"cat": [1, 2]}', encoding="utf-8-sig")
    assert vector_files.load(str(tmp_path / "v.json"), WORDS, 2)[0][2].tolist() == [1, 2]


def test_json_may_say_more_of_a_word_or_of_itself(tmp_path):
    pytest.importorskip("ijson", reason="the text extra is not installed")
    content = {"dog": ["no", "vector"], "cat": [{"dog": [1, 2]}, {"cat": [3, 4]}], "[UNK]": [[5, 6], [7, 8]]}
    (tmp_path / "v.json").write_text(json.dumps(content))
    found, known = vector_files.load(str(tmp_path / "v.json"), WORDS, 2)
    assert found[2:].tolist() == [[3, 4], [1, 2]] and known.tolist() == [False, False, True, True]


@pytest.mark.parametrize(("content", "said"), [
    ('{"cat": [1, null, 3]}', "'cat' has a vector in which not all are numbers"),
    ('{"cat": [1, "2", 3]}', "'cat' has a vector in which not all are numbers"),
    ('{"cat": [1, [2], 3]}', "'cat' has a vector in which not all are numbers"),
    ('{"cat": [1, 1e39]}', "v.json: the vector of 'cat' has a value that is NaN, or too large for float32"),
    ('{"cat": [1, NaN]}', "is no JSON that can be read, after the key 'cat': "),
    ('{"cat": [1, 2, 3], "dog": [1, 2]}', "'dog' has a vector of 2 numbers, and one before it has 3"),
])  # fmt: skip
def test_bad_vectors_in_json_are_refused(tmp_path, content, said):
    pytest.importorskip("ijson", reason="the text extra is not installed")
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(UsageError, match=said) as refused:
        vector_files.load(str(tmp_path / "v.json"), WORDS, 2)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(("content", "said"), [
    ("cat 1 2\ndog 1 2 3\n", "line 2: a vector of 3 numbers, but 2 were asked for"),
    ("the 1 2\ncat  1 2\n", "line 2: a vector of 3 numbers"), ("cat 1\n", "line 1: a vector of 1 numbers"),
    ("the 1 2\ncat 1 nan\n", "line 2: 'nan' is no number"),
    ("cat 1e39 1\n", "line 1: the vector of 'cat' has a value that is NaN, or too large for float32"),
    ("dog 1 x\n", "line 1: 'x' is no number"), ("the 1 2\n", "the vector of none of 3 words"),
])  # fmt: skip
def test_bad_files_are_refused(tmp_path, content, said):
    (tmp_path / "v.txt").write_text(content)
    with pytest.raises(UsageError, match=said):
        vector_files.load(str(tmp_path / "v.txt"), WORDS, 2)
    with pytest.raises(UsageError, match="no such file of word vectors"):
        vector_files.load(str(tmp_path / "w.txt"), WORDS, 2)


def test_what_is_read_counts_as_progress(tmp_path, progress):
    (tmp_path / "v.txt").write_text("the 3 4\n" * (1 << 17) + "cat 1 2\n")
    assert progress(vector_files.load, str(tmp_path / "v.txt"), WORDS, 2) >= 16
