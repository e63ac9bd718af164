"""
Operations that move values, as routes: the operation itself moves the places of its operands, and where they come to lie is the index.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, fx

from spikeloom.backend.lower.currents import Known
from spikeloom.ir import target_of
from spikeloom.ir.hardware import Operation, Route


def moved(node: fx.Node, values: Callable[[fx.Node], Any], put: Callable[[Operation], None]) -> Known | list[Known]:
    """What a moving operation makes of known values; constants and sizes come from `values` too. Several parts as a list of them."""
    live = [operand for operand in dict.fromkeys(node.all_input_nodes) if isinstance(values(operand), Known)]
    reads = [values(operand) for operand in live]
    starts = np.cumsum([1, *[read.unit.size for read in reads]])  # place 0 is a constant zero: what padding fills in
    places = dict(zip(live, [_places(read, int(start)) for read, start in zip(reads, starts, strict=False)], strict=True))
    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda operand: places[operand] if operand in places else values(operand))
    found = target_of(node)(*args, **kwargs)
    if isinstance(found, Tensor):
        return placed(node.name, reads, _index(found), put)
    return [placed(f"{node.name}_{part}", reads, _index(each), put) for part, each in enumerate(found)]


def placed(name: str, reads: list[Known], index: Int[ndarray, "..."], put: Callable[[Operation], None]) -> Known:
    """The values at these places of the operands, flattened and put one behind the other (-1: 0); nothing is put where nothing moves."""
    shape, flat = index.shape, index.reshape(-1)
    units = np.concatenate([read.unit.reshape(-1) for read in reads])
    unit: Float[ndarray, ...] = np.where(flat < 0, np.nan, units[flat]).reshape(shape)
    still = bool(flat.size == units.size and (flat == np.arange(units.size)).all())
    if still and len(reads) == 1 and reads[0].shape == shape:
        return Known(reads[0].name, unit)
    put(Route(name, tuple(read.name for read in reads), shape, None if still else flat.astype(np.int64)))
    return Known(name, unit)


def shaped(name: str, known: Known, shape: tuple[int, ...], put: Callable[[Operation], None]) -> Known:
    """The same values in the same order, in another shape."""
    return placed(name, [known], np.arange(known.unit.size).reshape(shape), put)


def _places(known: Known, start: int) -> Tensor:
    """Where each element of a sample lies, as a batch of one. Floating, for some operations move nothing else (exact to 2^53)."""
    return torch.arange(start, start + known.unit.size, dtype=torch.float64).view(1, *known.shape)


def _index(found: Tensor) -> Int[ndarray, "..."]:
    return found[0].numpy().astype(np.int64) - 1
