"""
Two ranges: a staircase of N levels with fine steps up to some level and coarse ones beyond, for inputs that are small but for a few.

    u_i = i  for i ≤ n,   n + r·(i − n)  beyond,   r = 1, 2, 4, …            levels in units of the fine step s      (1)
    values ±s·u_i,  thresholds half-way between them                          negative ones where it is signed       (2)
    minimise E[(f(h) − o(h))²]  over n, r and s                               for each channel's histogram           (3)

Every value is a whole multiple of s, so a level travels as an integer and a coarse step is a fine one shifted. r = 1 is the uniform
staircase: it is among those tried, so that two ranges are never worse than one. (3) looks at a grid of n, r and s, then closer around
each channel's best; errors come from prefix sums over the bins, at thresholds alone.

Source: piecewise uniform quantisation, Fang et al. 2020, "Post-training piecewise linear quantization" (PWLQ), arXiv 2002.00104; as a
choice of thresholds of the neuron law, ours.
"""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

RATIOS = (2, 4, 8, 16, 32, 64, 128)
SPLITS = 8
"""How many n are tried for each ratio, evenly spread."""
REACHES = 10
"""How many s·u_N are tried for each (n, r), as shares of the greatest |f|: from 1 down, each so much smaller than the one before."""
SMALLER = 0.78
CLOSER = (0.12, 0.05, 0.02)
"""How far from each channel's best s others are looked at in the end, as shares of it; n is moved by 1 in between."""


@final
class Counts(NamedTuple):
    """Histograms for (3): where bins have their middle, prefix sums of their mass and of mass times f, the greatest |f|."""

    centres: Float[Tensor, "c b"]
    mass: Float[Tensor, "c b1"]
    first: Float[Tensor, "c b1"]
    top: Float[Tensor, " c"]


@final
class Shape(NamedTuple):
    """A staircase for each channel: n, r, s of (1), and what it takes off the error of a neuron that is always silent."""

    fine: Float[Tensor, " c"]
    ratio: Float[Tensor, " c"]
    step: Float[Tensor, " c"]
    gain: Float[Tensor, " c"]

    def or_better(self, other: "Shape") -> "Shape":
        """Of each channel the better one."""
        better = other.gain > self.gain
        return Shape(*(torch.where(better, new, old) for new, old in zip(other, self, strict=True)))


def units(levels: int, fine: Float[Tensor, " c"], ratio: Float[Tensor, " c"]) -> Float[Tensor, "c n"]:
    """(1): u_1 … u_N of each channel."""
    i = torch.arange(1, levels + 1, dtype=torch.float64, device=fine.device)
    return torch.where(i <= fine[:, None], i, fine[:, None] + ratio[:, None] * (i - fine[:, None]))


def staircases(shape: Shape, levels: int, signed: bool) -> tuple[Float[Tensor, "c k"], Float[Tensor, "c k1"]]:
    """(2): thresholds and values of each channel."""
    heights = shape.step[:, None] * units(levels, shape.fine, shape.ratio)
    silent = torch.zeros_like(heights[:, :1])
    values = torch.cat([-heights.flip(1), silent, heights] if signed else [silent, heights], dim=1)
    return (values[:, 1:] + values[:, :-1]) / 2, values


def fit_two_range(
    f: Callable[[Tensor], Tensor], edges: Float[Tensor, "c b1"], masses: Float[Tensor, "c b"], levels: int, *, signed: bool
) -> tuple[Float[Tensor, "c k"], Float[Tensor, "c k1"]]:
    """The staircases of (3) for C histograms: thresholds [C, K] and values [C, K + 1] in float64, K = N or with a sign 2·N. `f` is
    the identity up to clipping."""
    counts = counts_of(f, edges.double(), masses.double())
    best = _measured(counts, torch.full_like(counts.top, levels), torch.ones_like(counts.top), counts.top / levels, signed, levels)
    spread = sorted({max(1, round(k * (levels - 1) / SPLITS)) for k in range(1, SPLITS + 1)} - {levels})
    for fine, ratio in [(levels, 1), *product(spread, RATIOS)]:
        n, r = torch.full_like(counts.top, fine), torch.full_like(counts.top, ratio)
        whole = counts.top / units(levels, n, r)[:, -1]
        for power in range(REACHES):
            best = best.or_better(_measured(counts, n, r, whole * SMALLER**power, signed, levels))
    return staircases(_closer(counts, best, signed, levels), levels, signed)


def _closer(counts: Counts, best: Shape, signed: bool, levels: int) -> Shape:
    """What is found close to the best of each channel."""
    for share in CLOSER:
        for move, factor in product((0, -1, 1), (1 - share, 1 - share / 2, 1.0, 1 + share / 2, 1 + share)):
            fine = torch.where(best.ratio > 1, (best.fine + move).clamp(1, levels), best.fine)
            best = best.or_better(_measured(counts, fine, best.ratio, best.step * factor, signed, levels))
    return best


def counts_of(f: Callable[[Tensor], Tensor], edges: Float[Tensor, "c b1"], masses: Float[Tensor, "c b"]) -> Counts:
    """Histograms of a function's input, ready for `gain_of`."""
    centres = (edges[:, 1:] + edges[:, :-1]) / 2
    y = f(centres)
    mass, first = (torch.nn.functional.pad(part.cumsum(1), (1, 0)) for part in (masses, masses * y))
    top = torch.where(masses > 0, y.abs(), 0.0).amax(1).clamp_min(torch.finfo(torch.float32).tiny)
    return Counts(centres.contiguous(), mass, first, top)


def _measured(
    counts: Counts, fine: Float[Tensor, " c"], ratio: Float[Tensor, " c"], step: Float[Tensor, " c"], signed: bool, levels: int
) -> Shape:
    """A staircase for each channel with what it gains."""
    shape = Shape(fine, ratio, step, torch.zeros_like(step))
    return shape._replace(gain=gain_of(counts, *staircases(shape, levels, signed)))


def gain_of(counts: Counts, thresholds: Float[Tensor, "c k"], values: Float[Tensor, "c k1"]) -> Float[Tensor, " c"]:
    """What staircases take off the error of a neuron that is always silent, Σ mass·(f² − (f − o)²)."""
    cells = torch.searchsorted(counts.centres, thresholds.contiguous())
    mass, first = (torch.cat([part[:, :1], part.gather(1, cells), part[:, -1:]], dim=1).diff(dim=1) for part in (counts.mass, counts.first))
    return (values * (2 * first - values * mass)).sum(1)
