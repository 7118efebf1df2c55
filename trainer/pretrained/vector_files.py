"""Reads files of pretrained word vectors: text files of GloVe and word2vec, and JSON. Assigns them to no layer."""

import codecs
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from trainer.base import counted_files
from trainer.base.errors import UsageError
from trainer.data.text_files import is_number, quoted


def load(path: str, words: Sequence[str], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the vectors, float32 [words, width], 0 for words that the file lacks; and bool [words], which it has.

    The file is read entry by entry, until all words are found.

    Args:
      path: a file of lines `word number number …` (GloVe; word2vec's first line, of two numbers, is skipped; a word may
        contain spaces); or *.json, in which some object has words as keys and lists of numbers as values. In JSON, up
        to two numbers after the first `width` are ignored (some files append the vector's norm and index), and all
        lists must have the same length; a file may state the width of its vectors as "dimensions".
      words: the words to look for.
      width: of a vector.

    Raises:
      UsageError: no such file, not UTF-8, or no word found; or, with its line or word, a vector of another width, or
        with a value that is not a number, NaN, infinite or too large for float32.
    """
    place = {word: i for i, word in enumerate(words) if word}
    vectors, found = np.zeros((len(words), width), np.float32), np.zeros(len(words), bool)
    file = Path(path).expanduser()
    if not file.is_file():
        raise UsageError(f"no such file of word vectors: {path}")
    for where, word, vector in (_json if file.suffix == ".json" else _lines)(file, width, place.keys()):
        if not np.isfinite(vector).all():
            raise UsageError(f"{where}: the vector of {quoted(word)} has a value that is NaN, or too large for float32")
        vectors[place[word]], found[place[word]] = vector, True
        if found.sum() == len(place):
            break
    if not found.any():
        raise UsageError(
            f"{path} has the vector of none of {len(place):,} words: it may be of another language or case"
        )
    return vectors, found


def _lines(file: Path, width: int, wanted: Collection[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yields, for each wanted word of a text file: its position (for messages), the word, its vector."""
    with _opened(file) as lines:
        for number, line in enumerate(lines, 1):
            word, *values = line.rstrip().split(b" ")
            if number == 1 and len(values) == 1 and word.isdigit():
                continue  # word2vec's header: number of vectors, and their width
            more = values[: max(len(values) - width, 0)]  # belongs to the word, unless the vector is too wide
            if len(values) < width or (more and all(not value or _is_number(value) for value in more)):
                raise UsageError(
                    f"{file}, line {number:,}: a vector of {len(values)} numbers, but {width} were asked for: "
                    f"correct the width, or the file"
                )
            try:
                text = b" ".join([word, *more]).decode()
                if text in wanted:
                    vector = values[len(more) :]
                    if wrong := [value for value in vector if not _is_number(value)]:
                        raise ValueError(f"{quoted(wrong[0].decode(errors='replace'))} is no number")
                    yield f"{file}, line {number:,}", text, _float32(vector)
            except ValueError as error:
                raise UsageError(f"{file}, line {number:,}: {error}") from None


# Numbers that may follow a vector in JSON: its norm, and its index in the file.
_MORE = 2


def _json(file: Path, width: int, wanted: Collection[str]) -> Iterator[tuple[str, str, np.ndarray]]:
    try:
        import ijson
    except ModuleNotFoundError as error:
        raise UsageError("vectors in JSON are read with ijson: pip install 'convoy-train[text]'") from error
    word, values, length, dimensions = "", list[float](), 0, None
    listed = mixed = False  # whether we are in the list of a wanted word; whether it holds anything but numbers
    try:
        with _opened(file) as stream:
            for path, event, value in ijson.parse(stream, use_float=True):
                if event == "map_key":
                    word = value
                elif not listed:
                    if event == "start_array" and word in wanted:
                        listed, mixed, values = True, False, []
                    elif event == "number" and path.rpartition(".")[2] == "dimensions":  # not that word's vector
                        dimensions = value
                elif event == "number":
                    values.append(value)
                elif event in ("null", "boolean", "string"):
                    mixed = True
                else:  # the end of the list; or a list or an object in it, which a vector does not have
                    if values:  # otherwise it is not a vector: files have other lists, too
                        length = length or len(values)
                        _check(file, word, values, mixed or event != "end_array", width, length)
                        if dimensions not in (None, width):
                            raise UsageError(
                                f"{file} says that its vectors have {dimensions:,} numbers, where {width} were asked "
                                f"for: correct the width"
                            )
                        yield str(file), word, _float32(values[:width])
                    listed, word = False, ""
    except (ijson.JSONError, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0]
        raise UsageError(f"{file} is no JSON that can be read, after the key {quoted(word)}: {said}") from None


def _check(file: Path, word: str, values: Sequence[float], mixed: bool, width: int, length: int) -> None:
    if mixed:
        raise UsageError(f"{file}: {quoted(word)} has a vector in which not all are numbers: correct the file")
    if not width <= len(values) <= width + _MORE:
        raise UsageError(
            f"{file}: {quoted(word)} has a vector of {len(values)} numbers, where {width} were asked for: correct the "
            f"width, or the file"
        )
    if len(values) != length:
        raise UsageError(
            f"{file}: {quoted(word)} has a vector of {len(values)} numbers, and one before it has {length}: correct "
            f"the file"
        )


def _opened(file: Path) -> BinaryIO:
    stream = counted_files.reader(file)
    if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        stream.seek(0)
    return stream


def _float32(values: Sequence[float] | Sequence[bytes]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.array(values, np.float32)


def _is_number(value: bytes) -> bool:
    return is_number(value.decode("latin1"))
