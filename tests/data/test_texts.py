"""Texts as numbers: vocabularies of the training texts alone, padding, unknown words, characters."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.base.errors import UsageError
from trainer.data.sources import text

TEXTS = {
    "train": (["The cat sat.", "the dog, the DOG sat", "a cat"], [0, 1, 1]),
    "test": (["the zebra sat"], [0]),
}


def read(source):
    return {name: tensor.numpy() for name, tensor in source.read(tf.range(len(source), dtype=tf.int64)).items()}


def test_words_are_numbered_by_the_training_texts_and_padded_with_0():
    splits = text.labelled(lambda: TEXTS, lambda: text.Words(size=5, length=4))
    train, test = read(splits.train), read(splits.test)
    assert train["x"].shape == (3, 4) and train["x"].dtype == np.int32
    assert train["x"].max() == 4 and train["x"][0, 3] == 0
    assert test["x"][0, 0] == train["x"][0, 0] and test["x"][0, 1] == 1  # "the", and a word that training lacks
    assert train["y"].tolist() == [0, 1, 1]
    vocabulary = splits.train.fields["x"].vocabulary
    assert vocabulary[:2] == ("", "[UNK]") and vocabulary[train["x"][0, 0]] == "the" and len(vocabulary) == 5


@pytest.mark.parametrize("encoder", [text.Bag, text.HashedBag])
def test_a_bag_forgets_the_order(encoder):
    splits = text.labelled(
        lambda: {"train": (["sat the cat", "the cat sat!"], [0, 1]), "test": (["the dog"], [0])}, lambda: encoder(32)
    )
    train, test = read(splits.train)["x"], read(splits.test)["x"]
    np.testing.assert_array_equal(train[0], train[1])
    assert train.shape == (2, 32) and train[0].sum() == 3 and (train[0] * test[0]).sum() == 1


def test_hashed_words_keep_their_order_and_need_no_vocabulary():
    encoder = text.HashedWords(size=1000, length=4)
    first = encoder.transform(["The cat sat.", "sat the cat, and more", ""])
    assert first.dtype == np.int32 and first.shape == (3, 4)
    np.testing.assert_array_equal(first[0, [2, 0, 1]], first[1, :3])  # the same words, in another order
    assert first[0, 3] == 0 and (first[2] == 0).all() and first[:2].max() < 1000 and (first[1] > 0).all()
    np.testing.assert_array_equal(encoder.transform(["the cat sat"]), first[:1])
    assert encoder.transform(["cat"])[0, 0] == 93  # on every machine, in every process


@pytest.mark.parametrize("encoder", [
    lambda: text.Words(20, 4), lambda: text.HashedWords(1000, 4), lambda: text.Bag(20), lambda: text.HashedBag(1000),
])  # fmt: skip
def test_words_of_any_alphabet_are_taken_apart_alike_by_all(encoder):
    said = ["ÜBER den Fluß, ja", "über den_ fluß: ja!", "ber den fluß ja", "ΚΟΣΜΕ мир", "κοσμε Мир"]
    made = encoder()
    made.fit(said)
    found = made.transform(said)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[3], found[4])
    assert (found[0] != found[2]).any() and (found[3] != found[2]).any()


def test_words_are_taken_apart_as_keras_does():
    said = [f"a{mark}b {mark} C\t{mark}d\n" for mark in map(chr, range(33, 127))] + ["don't e-mail"]
    own = text.Words(300, 5)
    keras_own = keras.layers.TextVectorization(300, output_sequence_length=5)
    own.fit(said)
    keras_own.adapt(said)
    assert own.vocabulary() == keras_own.get_vocabulary()
    np.testing.assert_array_equal(own.transform(said), keras_own(said))


@pytest.mark.parametrize(("encoder", "said"), [
    (lambda: text.Words(2, 4), "Words.size = 2: give a number of at least 3"),
    (lambda: text.Words(9, 0), "Words.length = 0: give a number of at least 1"), (lambda: text.Bag(1), "Bag.size = 1"),
    (lambda: text.HashedBag(0), "HashedBag.size = 0"), (lambda: text.HashedWords(1, 4), "HashedWords.size = 1"),
    (lambda: text.HashedWords(9, -1), "HashedWords.length = -1"),
])  # fmt: skip
def test_numbers_that_leave_no_room_are_refused(encoder, said):
    with pytest.raises(UsageError, match=said):
        encoder()


@pytest.mark.parametrize("encoder", [lambda: text.Words(9, 4), lambda: text.Bag(9)])
def test_texts_without_a_word_are_refused(encoder):
    with pytest.raises(UsageError, match="no training text has a word in it"):
        text.labelled(lambda: {"train": (["", " ?!"], [0, 1])}, encoder)
    with pytest.raises(UsageError, match="labelled.texts returned no text for test"):
        text.labelled(lambda: {**TEXTS, "test": ([], [])}, encoder)


def test_subwords_need_room_for_every_byte():
    pytest.importorskip("tokenizers", reason="the text extra is not installed")
    with pytest.raises(UsageError, match="Subwords.size = 257: give a number of at least 258"):
        text.Subwords(size=257, length=4)
    splits = text.labelled(lambda: TEXTS, lambda: text.Subwords(size=258, length=12))
    assert len(splits.train.fields["x"].vocabulary) == 258


def test_subwords_know_every_word():
    pytest.importorskip("tokenizers", reason="the text extra is not installed")
    splits = text.labelled(lambda: TEXTS, lambda: text.Subwords(size=300, length=12))
    train, test = read(splits.train)["x"], read(splits.test)["x"]
    assert train.shape == (3, 12) and (train[:, -1] == 0).all() and train.max() < 300
    assert (test == 1).sum() == 0


def test_folders_hold_a_text_a_file(tmp_path):
    for split in ("train", "test"):
        for name in ("neg", "pos"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "1.txt").write_text(f"{split} {name} ü")
    assert text.folders(str(tmp_path)) == {
        "train": (["train neg ü", "train pos ü"], [0, 1]), "test": (["test neg ü", "test pos ü"], [0, 1]),
    }  # fmt: skip
    (tmp_path / "train" / "pos" / "2.txt").write_bytes("ü".encode("latin-1"))
    with pytest.raises(UsageError, match=r"pos/2.txt is no UTF-8 text: .* at byte 0"):
        text.folders(str(tmp_path))
    (tmp_path / "test" / "pos" / "1.txt").unlink()
    (tmp_path / "train" / "pos" / "2.txt").unlink()
    with pytest.raises(UsageError, match=r"test/pos holds no text \(.txt\): fill it"):
        text.folders(str(tmp_path))
    with pytest.raises(UsageError, match="has no folder 'train'"):
        text.folders(str(tmp_path / "train"))


def test_folders_may_have_folders_in_them_and_what_is_left_out_is_told(tmp_path, tmp_path_factory):
    for name in ("train/neg/a/1.TXT", "train/pos/1.txt", "train/.ipynb_checkpoints/1.txt", "train/pos/.cache/2.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "train/pos/3.txt").mkdir()
    (tmp_path / "train/pos/._1.txt").write_bytes(b"\xff")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far.txt").write_text("far")
    (tmp_path / "train/pos/disk").symlink_to(elsewhere)
    for name in ("train/labels.feat", "train/lost.txt", "train/neg/notes.md"):
        (tmp_path / name).write_text("")
    found = text.folders(str(tmp_path))
    assert found == {"train": (["train/neg/a/1.TXT", "train/pos/1.txt", "far"], [0, 1, 1])}
    notes = text.labelled(lambda: found, lambda: text.Bag(size=10)).notes
    assert notes == found.notes == (
        f"4 files of {tmp_path} are left out, as their names or places are of no text: 1 .md, 2 hidden, "
        f"1 in no folder of a class",
    )  # fmt: skip
    (tmp_path / "val").mkdir()
    with pytest.raises(UsageError, match="has the folder 'val', which is of no split: rename it to train, validation"):
        text.folders(str(tmp_path))
    (tmp_path / "only/train/.git").mkdir(parents=True)
    with pytest.raises(UsageError, match="only/train holds no folders: each text must be in the folder of its class"):
        text.folders(str(tmp_path / "only"))


def test_labels_of_a_table_are_numbered_as_classes_are_and_learned_from_the_training_rows(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("said,kind\na,10\nb,4\nc,2\nd,4.0\ne,2\n")
    parts = [np.array([0, 1, 2]), np.array([3]), np.array([4])]
    found = text.table(str(file), "said", "kind", cut=lambda n: parts)
    assert found == {"train": (["a", "b", "c"], [2, 1, 0]), "validation": (["d"], [1]), "test": (["e"], [0])}
    with pytest.raises(UsageError, match="t.csv, line 4, column 'kind': '2' is the class of no training row"):
        text.table(str(file), "said", "kind", cut=lambda n: (parts[0][:2], parts[0][2:]))
    with pytest.raises(UsageError, match="table.only = {'kind': '3'} leaves no row"):
        text.table(str(file), "said", "kind", only={"kind": "3"})
    file.write_text('said,kind\n"a\nb",10\nb, \nc,2\n')
    with pytest.raises(UsageError, match="t.csv, line 4, column 'kind': what is to be predicted is missing"):
        text.table(str(file), "said", "kind", cut=lambda n: (parts[0], parts[0][:1]))


def test_a_table_holds_a_text_a_row(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("kind,said,of\n" + "".join(f'{k},"word, {i}",{o}\n' for i in range(10) for k in "ab" for o in "xy"))
    found = text.table(str(file), "said", "kind", only={"of": "x"})
    assert [len(found[split][0]) for split in ("train", "test")] == [16, 4]
    assert sorted(found["train"][0] + found["test"][0]) == sorted(f"word, {i}" for i in range(10) for _ in "ab")
    with pytest.raises(UsageError, match="has no column 'text'; it has: kind, said, of"):
        text.table(str(file), "text", "kind")
    with file.open("a") as more:
        more.write("a,one\n")
    with pytest.raises(UsageError, match="line 42: 2 values, but the first line has 3 names"):
        text.table(str(file), "said", "kind")


def test_characters_predict_the_next_one_and_the_end_is_held_out():
    splits = text.characters(lambda: "abcabcabc?" * 10, alphabet="abc", length=7)
    train = read(splits.train)
    assert len(splits.train) == 12 and len(splits.test) == 1
    np.testing.assert_array_equal(train["x"].ravel()[1:], train["y"].ravel()[:-1])
    assert train["x"][0].tolist() == [1, 2, 3, 1, 2, 3, 1] and train["x"][1].tolist() == [2, 3, 0, 1, 2, 3, 1]
    assert splits.train.fields["x"].maximum == 3
    assert splits.test.fields["x"].vocabulary == ("\N{REPLACEMENT CHARACTER}", "a", "b", "c")
    with pytest.raises(UsageError, match="10 characters for test, but a window needs 13"):
        text.characters(lambda: "abcabcabc?" * 10, alphabet="abc", length=12)


def test_no_part_of_a_text_need_be_held_out():
    splits = text.characters(lambda: "abcabcabc", alphabet="abc", length=4, test=0)
    assert splits.test is None and len(splits.train) == 2


@pytest.mark.parametrize(("options", "said"), [
    ({"alphabet": ""}, "characters.alphabet is empty"), ({"alphabet": "abca"}, "characters.alphabet has 'a' more than once"),
    ({"length": 0}, "characters.length = 0: give"), ({"length": -3}, "characters.length = -3"),
    ({"test": 1.5}, "characters.test = 1.5: give the share"), ({"test": -0.1}, "characters.test = -0.1"),
])  # fmt: skip
def test_characters_refuse_what_makes_no_sense(options, said):
    with pytest.raises(UsageError, match=said):
        text.characters(lambda: "abcabcabc?" * 10, **{"alphabet": "abc", "length": 7, **options})


@pytest.mark.parametrize("encoder", [lambda: text.Words(20, 4), lambda: text.Subwords(260, 4)])
def test_encoding_counts_as_progress_and_is_the_same_in_parts(progress, encoder):
    pytest.importorskip("tokenizers", reason="the text extra is not installed")
    said, made = TEXTS["train"][0] * 4000, encoder()
    fitted = progress(made.fit, said)
    assert fitted >= 3 or isinstance(made, text.Subwords)  # which is trained in one call
    assert progress(made.transform, said) == 3
    np.testing.assert_array_equal(made.transform(said)[-3:], made.transform(said[-3:]))


def test_a_long_text_is_taken_in_parts(progress, converted):
    said, found = "abc\N{SNOWMAN}ab" * 400_000, []  # 2.4 million characters
    assert progress(lambda: found.append(text.characters(lambda: said, "abc", length=6, test=0.0))) == 3
    assert (read(found[0].train)["x"] == [1, 2, 3, 0, 1, 2]).all() and len(found[0].train) == 399_999
    assert len(converted.to_tensors) == 1
