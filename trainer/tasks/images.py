"""Checks of the images in a task's data. Reads no images."""

from collections.abc import Mapping, Sequence

from trainer.base.errors import UsageError
from trainer.data.source import Field


def require_photos(fields: Mapping[str, Field], names: Sequence[str]) -> None:
    """Raises UsageError unless these fields exist and are colour images, [height, width, 3]."""
    if not names:
        raise UsageError("the task needs at least one field of colour images: name it")
    for name in names:
        if name not in fields or len(fields[name].shape) != 3 or fields[name].shape[-1] != 3:
            raise UsageError(f"the task uses the field '{name}' as a colour image; the data has: {_listed(fields)}")


def shape_of_bytes(fields: Mapping[str, Field], name: str) -> tuple[int, int, int]:
    """The (height, width, channels) of a field of uint8 images; a field [height, width] has one channel.

    Raises:
      UsageError: there is no such field, or it has another shape or dtype.
    """
    if name not in fields or len(fields[name].shape) not in (2, 3) or fields[name].dtype != "uint8":
        raise UsageError(
            f"the task uses the field '{name}' as images of bytes, uint8 [height, width] or [height, width, channels]; "
            f"the data has: {_listed(fields)}"
        )
    height, width, *channels = fields[name].shape
    return height, width, channels[0] if channels else 1


def _listed(fields: Mapping[str, Field]) -> str:
    return ", ".join(f"'{name}' {field.dtype} {list(field.shape)}" for name, field in sorted(fields.items()))
