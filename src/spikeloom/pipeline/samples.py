"""
Samples as networks take them, whatever they are of.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from torch import Tensor

from spikeloom.ir import Batches
from spikeloom.pipeline.evaluation import Batch


@final
@dataclass(frozen=True)
class Samples:
    """How many there are, and `read(size, limit)`: a fresh stream of the first `limit` in batches of at most `size`.

    `classes` is how many the labels know; `note` says in words what was chosen, and what one sample is where that is not plain; `rows`
    which rows of which split of which set they are, where that can be said.
    """

    count: int
    read: Callable[[int, int | None], Iterator[Batch]]
    classes: int | None = None
    note: str = ""
    rows: tuple[str, str, np.ndarray] | None = None

    def stream(self, size: int) -> Batches:
        """A fresh stream of the inputs alone each time it is called."""

        def inputs() -> Iterator[tuple[Tensor, ...]]:
            for batch, _ in self.read(size, None):
                yield batch

        return inputs


def first(batches: Iterable[Batch], count: int) -> Iterator[Batch]:
    """The first batches, up to the one that makes `count` samples."""
    for inputs, labels in batches:
        if count <= 0:
            return
        yield inputs, labels
        count -= len(inputs[0])


def behind(data: Samples, skipped: int) -> Samples:
    """The samples after the first `skipped` ones."""

    def read(size: int, limit: int | None) -> Iterator[Batch]:
        left = skipped
        for inputs, labels in data.read(size, None if limit is None else skipped + limit):
            count = len(inputs[0])
            if count > left:
                yield tuple(value[left:] for value in inputs), None if labels is None else labels[left:]
            left = max(left - count, 0)

    return Samples(max(data.count - skipped, 0), read, data.classes, data.note)


def largest(batches: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The inputs whose samples are the largest: of texts the longest."""
    return max(batches, key=lambda inputs: inputs[0][0].numel())
