"""
Samples as networks take them, whatever they are of.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import final

from torch import Tensor

from spikeloom.ir import Batches
from spikeloom.pipeline.evaluation import Batch


@final
@dataclass(frozen=True)
class Samples:
    """How many there are, and `read(size, limit)`: a fresh stream of the first `limit` in batches of at most `size`.

    `classes` is how many the labels know; `note` says in words what was chosen, and what one sample is where that is not plain.
    """

    count: int
    read: Callable[[int, int | None], Iterator[Batch]]
    classes: int | None = None
    note: str = ""

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


def alike(batches: Iterable[Batch]) -> list[tuple[Tensor, ...]]:
    """The inputs of those batches whose samples have the commonest shape; counts per layer can be added up over these only."""
    kept = [inputs for inputs, _ in batches]
    shapes = Counter[tuple[int, ...]]()
    for inputs in kept:
        shapes[tuple(inputs[0].shape[1:])] += len(inputs[0])
    return [inputs for inputs in kept if tuple(inputs[0].shape[1:]) == shapes.most_common(1)[0][0]]
