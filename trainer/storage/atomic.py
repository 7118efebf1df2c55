"""Files that appear under their names complete or not at all, at any time. Does not wait for the disk (no fsync)."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; at the end of this context that file replaces `path`.

    An error in the context leaves `path` as it was, and nothing beside it. A process killed there leaves a file
    .<hexadecimal>.<name>, which nobody reads. If two processes write the same path at a time, the last one wins.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
