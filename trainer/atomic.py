"""Files that stand under their names whole or not at all, whenever somebody looks."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields where to write the file that takes the place of `path` at the end of this context.

    An error in the context leaves `path` as it was, and nothing beside it. Whoever is killed there leaves a file
    .<hexadecimal>.<name>, which nobody reads. Two may write the same path at the same time: the last one stays.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
