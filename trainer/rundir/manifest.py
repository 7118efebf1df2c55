"""The manifest of a checkpoint: what it must say, and the order of checkpoints by what theirs say. Reads no files."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainer.base.errors import UsageError
from trainer.storage.store import MANIFEST

FORMAT = 2
# Of a checkpoint's folder: its step and, on an object store, its attempt; and of the files in it.
_NAME = re.compile(r"step_(\d{8,})(\.attempt_\d+)?$")
_FILE = re.compile(r"state\.[\w.-]+$")


class Damaged(Exception):
    """A checkpoint is proven to be damaged: what is wrong with it."""


def step_of(name: str) -> int | None:
    """The step of the checkpoint in a folder of that name; None if it is no checkpoint's."""
    named = _NAME.match(name)
    return int(named[1]) if named else None


def written(step: int, attempt: int, files: Mapping[str, Mapping[str, int]], notes: Mapping[str, Any]) -> str:
    """Returns the text of a manifest.

    Args:
      files: `bytes` and `crc32` of each, by its name.
      notes: what else is to be known of the checkpoint, expressible in JSON.
    """
    manifest = {"format": FORMAT, "step": step, "attempt": attempt, "files": files, "notes": notes}
    return json.dumps(manifest, indent=1)


class Listed(NamedTuple):
    """A checkpoint as it is listed. attempt: None if its manifest is damaged."""

    name: str
    step: int
    attempt: int | None


def in_order(listed: Sequence[Listed]) -> list[Listed]:
    """Newest first: by attempt, then by step.

    An attempt that is over may still publish a checkpoint on an object store. Those of a later one are newer, whatever
    their steps. A damaged one, whose attempt is not known, is taken for one of the last attempt.
    """
    last = max((each.attempt for each in listed if each.attempt is not None), default=0)
    return sorted(listed, key=lambda each: (last if each.attempt is None else each.attempt, each.step), reverse=True)


def read(content: bytes, name: str) -> dict[str, Any]:
    """Returns the manifest of the checkpoint in a folder of that name.

    Raises:
      Damaged: it is none.
      UsageError: it is of another version of Convoy.
    """
    try:
        found = json.loads(content)
        if type(found["format"]) is int and found["format"] != FORMAT:
            raise UsageError(
                f"checkpoint {name} is of format {found['format']}, which this version of Convoy does not know: use "
                f"the version that wrote it"
            )
        if found["format"] != FORMAT or found["step"] != step_of(name):
            raise ValueError("it is of another format or step")
        if type(found["attempt"]) is not int or not isinstance(found["notes"], dict):
            raise ValueError("it lacks the attempt, or the notes")
        for file, known in found["files"].items():
            if not _FILE.match(file) or type(known["bytes"]) is not int or type(known["crc32"]) is not int:
                raise ValueError(f"it names {file!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{MANIFEST}: {error}") from error
    manifest: dict[str, Any] = found
    return manifest
