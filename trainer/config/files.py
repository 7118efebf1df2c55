"""Finds gin files: as given, in the checkout's gin/, or in the copy that a wheel installs. Reads none."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from trainer.base.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent.parent
_CHECKOUT = _PACKAGE.parent / "gin"

# In an installation this package is in site-packages, where gin/ is the gin library itself.
PLACES: tuple[Path, ...] = (
    *([] if (_CHECKOUT / "__init__.py").exists() else [_CHECKOUT]),
    _PACKAGE / "configs",
)


def find(name: str, beside: Path | None = None) -> Path:
    """Returns the gin file `name`, looked up in the folder `beside`, then as given, then in PLACES.

    Raises:
        UsageError: there is none; names the folders searched, and the most similar name.
    """
    places = (*([beside] if beside else []), Path(), *PLACES)
    for place in places:
        if (place / name).is_file():
            return place / name
    if folders := [place / name for place in places if (place / name).is_dir()]:
        raise UsageError(f"{name} is no gin file but a folder, {folders[0].absolute()}: name a file in it")
    looked_in = [str(Path(name).parent)] if Path(name).is_absolute() else [str(place.absolute()) for place in places]
    siblings = [str(place / path.name) for place in [Path(name).parent] for path in sorted(place.glob("*.gin"))]
    known = [str(path.relative_to(place)) for place in PLACES for path in sorted(place.rglob("*.gin"))]
    raise UsageError(f"no gin file {name}: looked in {', '.join(looked_in)}{nearest(name, siblings + known)}")


def choose(flag: str, folder: str, name: str) -> Path:
    """Returns the file that a flag such as --model=NAME selects, `folder`/NAME.gin in one of PLACES.

    Raises:
        UsageError: there is none of that name; lists the names that exist.
    """
    for place in PLACES:
        if (place / folder / f"{name}.gin").is_file():
            return place / folder / f"{name}.gin"
    names = sorted({path.stem for place in PLACES for path in (place / folder).glob("*.gin")})
    raise UsageError(f"{flag}={name}: there is no such name; there are: {', '.join(names) or 'none'}")


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns the end of an error message: the one of `names` that was probably meant, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else ""
