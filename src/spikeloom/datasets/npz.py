"""
NumPy archives: one file with arrays `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test` and so on for splits.

x is [n, height, width], [n, height, width, channels] or [n, channels, height, width], or any float array [n, ...] that the model takes as
it is; y holds class numbers. Nothing is unpickled.
"""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloom.datasets.source import ArraySource, Splits, as_labels
from spikeloom.errors import DataError


def read_inputs(path: Path) -> tuple[list[str], Callable[[str], NDArray[Any]]]:
    """The splits of an archive whose labels nobody asks for, "all" for plain `x`, and what reads the inputs of one. DataError where there
    are none."""
    if not path.is_file():
        raise DataError("there is no such npz file", found=path)
    arrays = {name.removeprefix("x").removeprefix("_") or "all": name for name in _names(path) if name == "x" or name.startswith("x_")}
    if not arrays:
        raise DataError(f"{path} lacks arrays", found=", ".join(_names(path)) or "nothing", allowed="x, or x_train, x_test …")
    return list(arrays), lambda split: _array(path, arrays[split])


def open_npz(path: Path) -> Splits:
    """The splits of an archive; one split "all" where it holds plain `x` and `y`. DataError where it cannot be read or lacks arrays."""
    if not path.is_file():
        raise DataError("there is no such npz file", found=path)
    names = _names(path)
    splits = {name.removeprefix("x").removeprefix("_"): name for name in names if name == "x" or name.startswith("x_")}
    lonely = [name for name in splits.values() if f"y{name[1:]}" not in names]
    if not splits or lonely:
        raise DataError(f"{path} lacks arrays", found=", ".join(names) or "nothing", allowed="x and y, or x_train, y_train, x_test …")
    return {split or "all": partial(_open, path, name) for split, name in splits.items()}


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an npz archive", found=error, allowed="what numpy.savez writes, without pickled objects") from error


def _array(path: Path, name: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[name]
    except Exception as error:  # zipfile, zlib and numpy's reader of headers raise many things on a damaged archive
        raise DataError(f"the array {name!r} in {path} cannot be read", found=error, allowed="an array of numbers, not pickled") from error


def _open(path: Path, name: str) -> ArraySource:
    pictures = _array(path, name)
    if pictures.ndim < 2 or not (np.issubdtype(pictures.dtype, np.number) or pictures.dtype == np.bool_):
        raise DataError(f"the array {name!r} in {path} holds no samples", found=f"{pictures.dtype} of shape {pictures.shape}")
    return ArraySource(pictures, as_labels(_array(path, f"y{name[1:]}"), len(pictures), f"{path}: y{name[1:]}"))
