"""
The built-in set: scikit-learn's 1,797 handwritten digits, 8x8 pixels of 17 grey levels, shown as 8-bit pictures.

Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits (UCI, 1998), its test part, as scikit-learn ships it. The set has no
split of its own: of every class, each fifth picture is a test picture (355 in all), the others are training pictures (1,442).
"""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool

from spikeloom.datasets.source import ArraySource, Labels, Splits

LEVELS = 16
"""The largest pixel value in the set as it is shipped."""


def every_fifth(labels: Labels) -> Bool[np.ndarray, " n"]:
    """True at each class's 5th, 10th, 15th … picture."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[4::5]] = True
    return chosen


def open_digits() -> Splits:
    """The splits train and test."""
    return {"train": partial(_open, test=False), "test": partial(_open, test=True)}


def _open(*, test: bool) -> ArraySource:
    from sklearn.datasets import load_digits  # imported here: it takes a second

    bunch: Any = load_digits()
    labels = bunch.target.astype(np.int64)
    rows = every_fifth(labels) == test
    pictures = np.rint(bunch.images[rows] * (255 / LEVELS)).astype(np.uint8)
    return ArraySource(pictures, labels[rows], tuple(str(digit) for digit in range(10)))
