"""
A bank: the tables of many function staircases in two stretches of memory, one of float32 and one of bytes.

A network that holds its tables like this hands two tensors to every look-up instead of several of its own: there is less to check
before each call, for torch.compile most of all. Where a table lies is told by whole numbers.

    constants  shift [C], then 1/width [C], of the grid                                      (`neuron.grid.Lookup`, `neuron.grid.Ranks`)
    heights    [C, G], or [C, G, 2] with splits [C, G]; only where the table is read by cells
    levels     [C, R, 2]: thresholds and values, and two numbers more: the value after the last rank may be read, though it is none
    codes      [C, G], only where the table is read by ranks
"""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

NOWHERE = -1


@final
class Place(NamedTuple):
    """Where in a bank a table lies, and its sizes: C channels, G cells, R ranks. `NOWHERE`: it has no such part."""

    channels: int
    cells: int
    ranks: int
    constants: int
    heights: int
    splits: int
    levels: int
    codes: int


@final
class Along(NamedTuple):
    """Where in a bank the numbers of a curve lie, centre [C], step [C], growth [C] from `start` on (`neuron.curve`), and what is made of
    them: "identity", "square" or "power", for levels from `lowest` to `highest`; `power` is m, 0 where there is none."""

    form: str
    channels: int
    start: int
    lowest: int
    highest: int
    power: int


@final
class Bank(NamedTuple):
    """Tables by place."""

    floats: Float[Tensor, " f"]
    codes: UInt8[Tensor, " b"]
    places: tuple[Place, ...]


def bank_of(
    shift: Float[Tensor, " c"],
    width: Float[Tensor, " c"],
    levels: Float[Tensor, "c r 2"],
    heights: Float[Tensor, "c g *two"] | None = None,
    splits: Float[Tensor, "c g"] | None = None,
    codes: UInt8[Tensor, "c g"] | None = None,
) -> Bank:
    """A bank of one table, read by cells (heights) or by ranks (codes)."""
    read = heights if codes is None else codes
    if read is None:
        raise ValueError("a table is read by cells or by ranks")
    parts, starts = [shift, 1 / width], list[int]()
    for part in (heights, splits, levels):
        starts.append(NOWHERE if part is None else sum(each.numel() for each in parts))
        parts += [] if part is None else [part]
    parts.append(levels.new_zeros(2))
    place = Place._make([len(shift), read.shape[1], levels.shape[1], 0, *starts, NOWHERE if codes is None else 0])
    empty = torch.zeros(0, dtype=torch.uint8, device=shift.device)
    return Bank(torch.cat([part.flatten() for part in parts]), empty if codes is None else codes.flatten(), (place,))


def joined(banks: Sequence[Bank]) -> Bank:
    """One bank of all tables, in their order."""
    places, floats, codes = list[Place](), 0, 0
    for bank in banks:
        for place in bank.places:
            moved = [start if start == NOWHERE else start + floats for start in place[3:7]]
            places.append(Place._make([*place[:3], *moved, place.codes if place.codes == NOWHERE else place.codes + codes]))
        floats, codes = floats + bank.floats.numel(), codes + bank.codes.numel()
    return Bank(torch.cat([bank.floats for bank in banks]), torch.cat([bank.codes for bank in banks]), tuple(places))
