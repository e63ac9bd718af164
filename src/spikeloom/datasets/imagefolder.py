"""
A folder of class folders of pictures: `<class>/<picture>`, or `<split>/<class>/<picture>`. A class's number is its place in the alphabet.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
from PIL import Image

from spikeloom.datasets.pictures import decode_picture
from spikeloom.datasets.source import Labels, Splits
from spikeloom.datasets.splits import is_split_name
from spikeloom.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


@final
@dataclass(frozen=True)
class FileSource:
    """Pictures that lie in files of their own."""

    paths: tuple[Path, ...]
    labels: Labels
    classes: tuple[str, ...]

    def picture(self, row: int) -> Image.Image:
        """The decoded picture. DataError names the file where it cannot be read."""
        try:
            data = self.paths[row].read_bytes()
        except OSError as error:
            raise DataError(f"{self.paths[row]} cannot be read", found=error) from error
        return decode_picture(data, str(self.paths[row]))


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones left out, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files below a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def open_imagefolder(folder: Path) -> Splits:
    """The splits of a folder of class folders; one split "all" where it has none. DataError where it holds no pictures."""
    if not folder.is_dir():
        raise DataError("there is no such folder of class folders", found=folder)
    roots = {path.name: path for path in class_folders(folder)}
    splits = roots if roots and all(is_split_name(name) for name in roots) else {"all": folder}
    classes = tuple(sorted({path.name for root in splits.values() for path in class_folders(root)}))
    if not any(pictures_in(root / name) for root in splits.values() for name in classes):
        raise DataError(
            f"{folder} holds no class folders with pictures",
            found=", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "an empty folder",
            allowed="<class>/<picture> or <split>/<class>/<picture>, " + " ".join(sorted(SUFFIXES)),
        )
    return {split: partial(_open, root, classes) for split, root in splits.items()}


def _open(root: Path, classes: tuple[str, ...]) -> FileSource:
    found = [(path, label) for label, name in enumerate(classes) for path in pictures_in(root / name)]
    return FileSource(tuple(path for path, _ in found), np.array([label for _, label in found], dtype=np.int64), classes)
