"""Word vectors that others have trained: GloVe's and word2vec's text files, and JSON."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trainer.errors import UsageError


def load(path: str, words: Sequence[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 [words, width], 0 where the file lacks a word, and bool [words]: which ones it has.

    The file is read from its beginning to its end, an entry at a time, until all words are found.

    Args:
      path: `word number number …`, a word a line (GloVe; word2vec's first line, of two numbers, is passed over); or
        *.json, in which some object has words for keys and lists of numbers for values. Numbers beyond `width` in JSON
        are not the vector's (some files add its length there).
      words: whose vectors are wanted.
      width: of a vector.

    Raises:
      UsageError: no such file, not UTF-8, no word found, or a vector of another width, with its line.
    """
    place = {word: i for i, word in enumerate(words) if word}
    vectors, found = np.zeros((len(words), width), np.float32), np.zeros(len(words), bool)
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"no such file of word vectors: {path}")
    for word, vector in (_json if file.suffix == ".json" else _lines)(file, width, place.keys()):
        vectors[place[word]], found[place[word]] = vector, True
        if found.sum() == len(place):
            break
    if not found.any():
        raise UsageError(
            f"{path} has the vector of none of {len(place):,} words: it may be of another language or case"
        )
    return vectors, found


def _lines(file: Path, width: int, wanted) -> Iterator[tuple[str, np.ndarray]]:
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            word, *values = line.rstrip().split(b" ")
            if number == 1 and len(values) == 1:
                continue  # word2vec's: how many vectors, and how wide
            if len(values) != width:
                raise UsageError(
                    f"{file}, line {number:,}: a vector of {len(values)} numbers, but {width} were asked for: "
                    f"correct the width, or the file"
                )
            try:
                text = word.decode()
                if text in wanted:
                    yield text, np.array(values, np.float32)
            except ValueError as error:
                raise UsageError(f"{file}, line {number:,}: {error}") from None


def _json(file: Path, width: int, wanted) -> Iterator[tuple[str, np.ndarray]]:
    try:
        import ijson
    except ModuleNotFoundError as error:
        raise UsageError("vectors in JSON are read with ijson: pip install 'convoy-train[text]'") from error
    word, values = "", list[float]()
    listed = False  # whether what is read is the list of a wanted word
    try:
        with file.open("rb") as stream:
            for _, event, value in ijson.parse(stream, use_float=True):
                if event == "map_key":
                    word = value
                elif event == "start_array" and word in wanted:
                    listed, values = True, []
                elif event == "number" and listed:
                    values.append(value)
                elif event == "end_array" and listed:
                    if 0 < len(values) < width:
                        raise UsageError(
                            f"{file}: '{word}' has a vector of {len(values)} numbers, where {width} were asked for"
                        )
                    if values:  # else it is no vector: files say other things of themselves too
                        yield word, np.array(values[:width], np.float32)
                    listed = False
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no JSON that can be read: {error}") from None
