"""
What every kind of data set opens as: named splits, each a source of labelled pictures.

A source knows its labels without decoding a picture; a picture is decoded when it is asked for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeloom.errors import DataError

Labels = NDArray[np.int64]


@runtime_checkable
class Source(Protocol):
    """Labelled pictures in a fixed order."""

    @property
    def labels(self) -> Labels:
        """The label of every picture, int64 [n]; -1 where the data set hides it."""
        ...

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of their labels; None where the data set has none."""
        ...

    def picture(self, row: int) -> Image.Image | NDArray[Any]:
        """The picture at a row, as stored. DataError names it where it cannot be decoded."""
        ...


Splits = Mapping[str, Callable[[], Source]]
"""The splits of a data set by their own names; a split is opened by calling its value."""


@final
@dataclass(frozen=True)
class ArraySource:
    """Pictures that lie in memory as one array [n, ...]."""

    pictures: NDArray[Any]
    labels: Labels
    classes: tuple[str, ...] | None = None

    def picture(self, row: int) -> NDArray[Any]:
        """The array at a row, a view."""
        return self.pictures[row]


def as_labels(values: NDArray[Any], count: int, where: str) -> Labels:
    """The labels as int64 [count]. DataError where they are not one whole number per picture."""
    found = f"{values.dtype} of shape {values.shape}"
    if values.size != count or values.ndim > 2:
        raise DataError(f"{where}: there is not one label per picture", found=found, allowed=f"{count} labels")
    flat = values.reshape(-1)
    if not np.issubdtype(flat.dtype, np.integer) and not (np.issubdtype(flat.dtype, np.floating) and np.array_equal(flat, np.rint(flat))):
        raise DataError(f"{where}: labels are not whole numbers", found=found, allowed="class numbers from 0")
    return flat.astype(np.int64)
