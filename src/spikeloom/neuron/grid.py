"""
Fast reading of function staircases: a grid over the input, so that a neuron costs the same whatever its number of thresholds.

    place(h) = trunc(clip(h/width - begin, 0, G - 1))          monotone in h, even in floating point               (1)

A table is on a grid where every threshold is the first number of a cell, none of them of the first: then the cell alone says how
many thresholds h has reached, and a value is read at once. `on_grid` moves thresholds there, where that moves none of them by more
than a tenth of the way to its neighbours. Of any other table no cell holds two thresholds, and h is compared with the one of its
cell. Either way `look_up` gives, bit for bit, what a search gives: (1) is monotone, so h ≥ θ can only be in doubt within θ's cell.

Widths of cells are powers of two, and grids begin a whole number of cells from 0: a table that is on a grid is recognised as such
again. Outside of compiled graphs large inputs are read piece by piece, each small enough for a processor's cache.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from spikeloom.neuron.channel import Axis, spread

MAX_CELLS = 1 << 20
FEWEST_CELLS = 64
MOST_MOVED = 0.1  # of the way to the nearest neighbour
WHOLE = 1 << 22  # cells from 0 that a grid may begin at: beyond, its numbers are no longer exact
PIECE = 1 << 16  # inputs that are read together


@final
class Lookup(NamedTuple):
    """A table on a grid of G cells per channel (C = 1 where all share it)."""

    shift: Float[Tensor, " c"]  # how many cells before 0 the grid begins
    width: Float[Tensor, " c"]  # of a cell
    starts: Int[Tensor, " c"]  # where a channel's cells begin among all
    heights: Float[Tensor, "c g *two"]  # in each cell; below its split, and from it on, where there are splits
    splits: Float[Tensor, " c g"] | None = None  # the threshold in the cell, or infinity


@final
class Ranks(NamedTuple):
    """The same table in less memory, for K < 256 thresholds: which is the first in each cell, and what there is to know of it."""

    shift: Float[Tensor, " c"]
    width: Float[Tensor, " c"]
    codes: UInt8[Tensor, "c g"]  # how many thresholds lie in lower cells: the rank of the one to compare with
    levels: Float[Tensor, "c k1 2"]  # of each rank its threshold, NaN where it is never reached, and the value below it


@final
class Grid(NamedTuple):
    """A grid for each channel, in columns, so that thresholds [C, K] can be placed."""

    begin: Float[Tensor, "c 1"]
    width: Float[Tensor, "c 1"]
    cells: int

    def places(self, h: Float[Tensor, "c k"]) -> Int[Tensor, "c k"]:
        """(1)."""
        return places(h, -self.begin, self.width, self.cells)


def places(h: Float[Tensor, " *any"], shift: Tensor, width: Tensor, cells: int) -> Int[Tensor, " *any"]:
    """(1), for a grid that broadcasts over h; the division is exact."""
    return torch.addcdiv(shift, h, width).clamp_(0, cells - 1).to(torch.int32)


def index_table(thresholds: Float[Tensor, " *c k"], values: Float[Tensor, " *c k1"]) -> Lookup | None:
    """The table prepared for `look_up`, in the dtype of `thresholds`; infinite thresholds (padding) are never reached.

    None where thresholds lie so close together that no grid of `MAX_CELLS` cells parts them: `read_table` must do.
    """
    thresholds, values = torch.atleast_2d(thresholds), torch.atleast_2d(values)
    parted: Lookup | None = None
    for cells in _sizes(len(thresholds)):
        if (grid := _grid_of(thresholds, cells)) is not None:
            return _whole(thresholds, values, grid)
        if parted is None:
            spaced = _spaced(thresholds, cells)
            if not _holds_two(thresholds, spaced):
                parted = _parted(thresholds, values, spaced)
    return parted


def rank_table(thresholds: Float[Tensor, " *c k"], values: Float[Tensor, " *c k1"]) -> Ranks | None:
    """The table as ranks, on the coarsest grid that parts all thresholds; None where there are too many for that."""
    thresholds, values = torch.atleast_2d(thresholds), torch.atleast_2d(values)
    if thresholds.shape[1] > 255:
        return None
    for cells in _sizes(len(thresholds)):
        grid = _spaced(thresholds, cells)
        if not _holds_two(thresholds, grid):
            codes = _reached(thresholds, grid, right=False).to(torch.uint8)
            return Ranks(*_constants(grid)[:2], codes, level_table(thresholds, values))
    return None


def level_table(thresholds: Float[Tensor, " *c k"], values: Float[Tensor, " *c k1"]) -> Float[Tensor, "c k1 2"]:
    """Of each rank its threshold, NaN where it is never reached, and the value below it."""
    thresholds, values = torch.atleast_2d(thresholds), torch.atleast_2d(values)
    reached = torch.where(thresholds.isfinite(), thresholds, torch.nan)
    return torch.stack([torch.nn.functional.pad(reached, (0, 1), value=torch.nan), values.to(thresholds.dtype)], dim=-1)


def look_up(h: Float[Tensor, " *any"], lookup: Lookup | Ranks, axis: Axis) -> Float[Tensor, " *any"]:
    """The staircase's value at each h, by a prepared table. No gradients; NaN is an IndexError."""
    if isinstance(lookup, Ranks):
        return _by_ranks(h, lookup, axis)
    if torch.compiler.is_compiling() or h.numel() <= PIECE or not h.is_contiguous():
        return _look_up(h, lookup, axis)
    o = torch.empty_like(h)
    for given, into, table, where in _pieces(h, o, lookup, axis):
        _look_up(given, table, where, into)
    return o


def _pieces(h: Tensor, o: Tensor, lookup: Lookup, axis: Axis) -> Iterator[tuple[Tensor, Tensor, Lookup, Axis]]:
    """Parts of the input and output with the table that serves them and the axis of its channels."""
    channels = len(lookup.width)
    if channels == 1:
        yield from ((*pair, lookup, 0) for pair in zip(h.view(-1).split(PIECE), o.view(-1).split(PIECE), strict=True))
    elif axis == 1 and math.prod(h.shape[2:]) >= PIECE // 8:
        splits = lookup.splits
        own = [(lookup.shift[c, None], lookup.width[c, None], lookup.starts[:1], lookup.heights[c, None]) for c in range(channels)]
        tables = [Lookup(*parts, None if splits is None else splits[c, None]) for c, parts in enumerate(own)]
        for c, given, into in ((c, h[b, c].view(-1), o[b, c].view(-1)) for b in range(len(h)) for c in range(channels)):
            yield from ((*pair, tables[c], 0) for pair in zip(given.split(PIECE), into.split(PIECE), strict=True))
    elif axis in (h.ndim - 1, -1):
        rows = max(PIECE // channels, 1)
        yield from ((*pair, lookup, 1) for pair in zip(h.flatten(0, -2).split(rows), o.flatten(0, -2).split(rows), strict=True))
    else:
        yield h, o, lookup, axis


def _look_up(h: Tensor, lookup: Lookup, axis: Axis, out: Tensor | None = None) -> Tensor:
    channels, cells = lookup.heights.shape[:2]
    if channels == 1:
        place = places(h, lookup.shift, lookup.width, cells)
    else:
        shift, width, starts = lookup.shift, lookup.width, lookup.starts
        if axis not in (-1, h.ndim - 1):
            shift, width, starts = (spread(part, axis, h) for part in (shift, width, starts))
        place = places(h, shift, width, cells).add_(starts)
    if lookup.splits is None:
        return take(lookup.heights, place, out)
    above = h >= take(lookup.splits, place)
    return take(lookup.heights, place.mul_(2).add_(above), out)


def _by_ranks(h: Tensor, ranks: Ranks, axis: Axis) -> Tensor:
    shift, width = (spread(part, axis, h) if len(part) > 1 else part for part in (ranks.shift, ranks.width))
    channels, cells = ranks.codes.shape
    place = places(h, shift, width, cells)
    first = spread(torch.arange(channels, dtype=torch.int32, device=h.device), axis, h) if channels > 1 else 0
    rank = first * ranks.levels.shape[1] + take(ranks.codes, first * cells + place).to(torch.int32)
    reached = h >= take(ranks.levels, 2 * rank)
    return take(ranks.levels, 2 * (rank + reached) + 1)


def on_grid(thresholds: Float[Tensor, " *c k"]) -> Float[Tensor, " *c k"]:
    """The thresholds, each moved to the first number of the nearest cell of a grid; as they were where some would move too far.

    Infinite ones (padding) stay. Ascending thresholds ascend afterwards.
    """
    table = torch.atleast_2d(thresholds)
    finite, (low, span) = table.isfinite(), _range(table)
    gaps = torch.nn.functional.pad(table.diff(dim=1), (1, 1), value=torch.inf).nan_to_num(torch.inf, torch.inf, torch.inf)
    room = torch.minimum(gaps[:, :-1], gaps[:, 1:]) * MOST_MOVED
    room = torch.where(room.isfinite(), room, span * MOST_MOVED)
    for cells in _sizes(len(table)):
        width = _power(span / (cells - 4))
        grid = Grid((low / width).round() - 1, width, cells)
        cell = (table / width - grid.begin).round().nan_to_num(1, 1, 1).clamp(1, cells - 1)
        moved = torch.where(finite, _first(grid, cell.to(torch.int32)), table)
        if _may_begin(grid) and bool((((moved - table).abs() <= room) | ~finite).all()):
            return moved.view(thresholds.shape)
    return thresholds


def take(table: Tensor, place: Int[Tensor, " *any"], out: Tensor | None = None) -> Tensor:
    """The entries of a contiguous table, counted through its axes; written to `out` (of the shape of `place`) where there is one."""
    if out is None:
        return table.view(-1).index_select(0, place.reshape(-1)).view(place.shape)
    torch.index_select(table.view(-1), 0, place.reshape(-1), out=out.view(-1))
    return out


def _sizes(channels: int) -> Iterator[int]:
    cells = FEWEST_CELLS
    while channels * cells <= MAX_CELLS:
        yield cells
        cells *= 2


def _range(thresholds: Float[Tensor, "c k"]) -> tuple[Float[Tensor, "c 1"], Float[Tensor, "c 1"]]:
    """Where the finite thresholds of each channel begin, and how far they reach."""
    finite = thresholds.isfinite()
    low = torch.where(finite[:, :1], thresholds[:, :1], 0.0)
    return low, torch.where(finite, thresholds - low, 0.0).amax(1, keepdim=True)


def _power(width: Float[Tensor, "c 1"]) -> Float[Tensor, "c 1"]:
    """The next power of two; 1 for no width."""
    return torch.where(width > 0, torch.exp2(torch.log2(width.clamp_min(1e-30)).ceil()), 1.0)


def _may_begin(grid: Grid) -> bool:
    return bool((grid.begin.abs() < WHOLE).all())


def _spaced(thresholds: Float[Tensor, "c k"], cells: int) -> Grid:
    """A grid of so many cells that covers the thresholds of each channel."""
    low, span = _range(thresholds)
    width = _power(span / (cells - 2))
    return Grid((low / width).floor(), width, cells)


def _holds_two(thresholds: Float[Tensor, "c k"], grid: Grid) -> bool:
    """Whether two finite thresholds of a channel lie in one cell."""
    return bool(((grid.places(thresholds).diff(dim=1) == 0) & thresholds.isfinite()[:, 1:]).any())


def _grid_of(thresholds: Float[Tensor, "c k"], cells: int) -> Grid | None:
    """The grid of so many cells that all channels' thresholds are on; None where there is none."""
    low, span = _range(thresholds)
    width = _power(span / (cells - 4))
    begins, widths, found = torch.zeros_like(low), width, torch.zeros_like(low, dtype=torch.bool)
    for factor in (1.0, 0.5, 2.0):  # moving thresholds may have moved the range past a power of two
        tried = Grid((low / (width * factor)).round() - 1, width * factor, cells)
        good = _is_on(thresholds, tried) & ~found
        begins, widths = torch.where(good, tried.begin, begins), torch.where(good, tried.width, widths)
        found |= good
    grid = Grid(begins, widths, cells)
    return grid if bool(found.all()) and _may_begin(grid) else None


def _is_on(thresholds: Float[Tensor, "c k"], grid: Grid) -> Bool[Tensor, "c 1"]:
    """Whether each finite threshold of a channel is the first number of a cell, but not of the first cell."""
    before = torch.nextafter(thresholds, torch.full_like(thresholds, -torch.inf))
    return ((grid.places(before) < grid.places(thresholds)) | ~thresholds.isfinite()).all(1, keepdim=True)


def _first(grid: Grid, cell: Int[Tensor, "c k"]) -> Float[Tensor, "c k"]:
    """The least number of each cell, found by bisection over floating-point numbers in their order."""
    low, high = (_ordered((grid.begin + cell + part) * grid.width) for part in (-1.0, 0.5))
    for _ in range(34):
        middle = (low + high) // 2
        reached = grid.places(_number(middle)) >= cell
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return _number(high)


def _ordered(x: Float[Tensor, " *any"]) -> Int[Tensor, " *any"]:
    """float32 numbers as integers in the same order."""
    bits = x.float().view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def _number(order: Int[Tensor, " *any"]) -> Float[Tensor, " *any"]:
    """The float32 numbers of `_ordered`."""
    bits = torch.where(order < 0, -order - 0x80000000, order)
    return bits.to(torch.int32).view(torch.float32)


def _whole(thresholds: Tensor, values: Tensor, grid: Grid) -> Lookup:
    """The table of a grid that the thresholds are on."""
    counts = _reached(thresholds, grid, right=True)
    return Lookup(*_constants(grid), values.gather(1, counts).to(thresholds.dtype))


def _parted(thresholds: Tensor, values: Tensor, grid: Grid) -> Lookup:
    """Every cell's split, infinity if it has none, and the values below and from the split on."""
    before, until = (_reached(thresholds, grid, right=right) for right in (False, True))
    splits = torch.where(until > before, thresholds.gather(1, before.clamp_max(thresholds.shape[1] - 1)), torch.inf)
    pairs = torch.stack([values.gather(1, before), values.gather(1, until)], dim=-1).to(thresholds.dtype)
    return Lookup(*_constants(grid), pairs, splits)


def _reached(thresholds: Tensor, grid: Grid, *, right: bool) -> Int[Tensor, "c g"]:
    """For each cell, how many thresholds lie in lower cells, or, with `right`, in it and lower ones."""
    here = grid.places(thresholds).masked_fill(~thresholds.isfinite(), grid.cells).contiguous()
    cells = torch.arange(grid.cells, dtype=here.dtype, device=here.device).expand(len(here), grid.cells).contiguous()
    return torch.searchsorted(here, cells, right=right)


def _constants(grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """The first fields of a `Lookup`."""
    starts = torch.arange(0, len(grid.begin) * grid.cells, grid.cells, dtype=torch.int32, device=grid.begin.device)
    return -grid.begin[:, 0], grid.width[:, 0].contiguous(), starts
