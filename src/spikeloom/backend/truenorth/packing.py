"""
Neurons into cores: an order in which neighbours share inputs, and each into the first open core that still has axons for it.
"""

import math
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.truenorth.codes import Code
from spikeloom.backend.truenorth.cores import Core, Kind

OPEN = 6
"""How many cores are kept open; more find little."""


@final
class Wanted:
    """A neuron to be placed: the axons it needs, as keys (source layer, element, type, copy), in order."""

    __slots__ = ("keys", "neuron")

    def __init__(self, neuron: int, keys: tuple[tuple[int, int, int, int], ...]) -> None:
        self.neuron, self.keys = neuron, keys


def keys_of(columns: Int[ndarray, "n 2"], values: Int[ndarray, " n"], code: Code) -> tuple[tuple[int, int, int, int], ...]:
    """The axons by which weights reach a neuron; columns are (source, element)."""
    counts, found = code.counts(values), list[tuple[int, int, int, int]]()
    for (source, element), row in zip(columns.tolist(), counts.tolist(), strict=True):
        found += [(source, element, kind, copy) for kind, count in enumerate(row) for copy in range(count)]
    return tuple(found)


def orders(shape: tuple[int, ...], reads: Sequence[tuple[tuple[int, int, int, int], ...]]) -> Iterator[list[int]]:
    """Orders worth trying: by what is read, as they come, and for images in tiles of places."""
    yield list(range(len(reads)))
    yield sorted(range(len(reads)), key=lambda place: reads[place][:1] + reads[place][-1:])
    if len(shape) != 3:
        return
    places = np.arange(math.prod(shape)).reshape(shape)
    for tile in sorted({1, 2, 3, 4, 5, 6, 7, *shape[1:]}):
        if tile <= max(shape[1:]):
            blocks = [(y, x) for y in range(0, shape[1], tile) for x in range(0, shape[2], tile)]
            yield [int(n) for y, x in blocks for n in places[:, y : y + tile, x : x + tile].ravel()]


def packed(wanted: Sequence[Wanted], order: Sequence[int], kind: Kind, layer: str, spare: int) -> list[tuple[Core, list[Wanted]]]:
    """Cores with their axons, and which neurons each has; `spare` axons and neurons of a core stay free."""
    cores = list[tuple[Core, list[Wanted]]]()
    for place in order:
        want = wanted[place]
        home = next((pair for pair in cores[-OPEN:] if len(pair[1]) + spare < 256 and pair[0].takes(want.keys, spare)), None)
        if home is None:
            home = (Core(kind, layer), [])
            cores.append(home)
        for key in want.keys:
            home[0].axon(key, key[2])
        home[1].append(want)
    return cores


def best_packed(wanted: Sequence[Wanted], shape: tuple[int, ...], kind: Kind, layer: str, spare: int) -> list[tuple[Core, list[Wanted]]]:
    """The packing with the fewest cores of all orders."""
    ways = [packed(wanted, order, kind, layer, spare) for order in orders(shape, [want.keys for want in wanted])]
    return min(ways, key=len)
