"""
Curves: staircases whose levels lie along a curve of two or three numbers a channel, so that a run computes them and looks nothing up.

    k = clip(⌊x/(α + δ·|x|)⌉, k_min, N),  o = f(c + α·k/(1 − δ·|k|))        x = h − c, ⌊·⌉ to the nearest         ("hyperbolic", 1)
    k = min(⌊M·e^((h − c)/m)⌉, M),        o = e^c·(k/M)^m,  m = 2 or 3       for f = exp                          ("power", 2)
    minimise E[(f(h) − o(h))²]   over c, α, δ, or over c, m                  for each channel's histogram          (3)

α is the step at the centre c, δ says how fast steps grow away from it: by 1/(1 − δ·|k|)², δ = 0 being the uniform staircase. The hyperbola
x/(α + δ·|x|) is how photoreceptors compress (Naka & Rushton 1966); what (2) sends grows by a power (Stevens 1957). 0 is among the values
of (1) where f(0) = 0, for c is minus one of its levels, and the lowest of (2).

Thresholds and values are those of any function staircase. `curve_of` finds the numbers again in a table that was made so.

Sources: Naka & Rushton 1966, doi:10.1113/jphysiol.1966.sp008003; Stevens 1957, doi:10.1037/h0046162; companding before equal steps,
Bennett 1948, doi:10.1002/j.1538-7305.1948.tb01340.x; as thresholds of the neuron law, ours.
"""

from collections.abc import Callable
from itertools import product
from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.neuron.two_range import Counts, counts_of, gain_of

Kind = Literal["hyperbolic", "power"]
Function = Callable[[Tensor], Tensor]
Tables = tuple[Float[Tensor, "c k"], Float[Tensor, "c k1"]]
"""Thresholds [C, K], and one value more."""

CENTRES = (0.0, 0.5, 1.0)
"""Where centres are looked for first, as shares of the way from 0 to the mean."""
GROWTHS = (0.0, 0.35, 0.6, 0.75, 0.87)
"""δ·N: which are tried first."""
REACHES, SMALLER = 9, 0.8
"""How many reaches α·N/(1 − δ·N) are tried first, from the farthest input down, and each by how much smaller than the one before."""
CLOSER = ((0.25, 0.12, 0.1), (0.12, 0.06, 0.05), (0.06, 0.03, 0.025), (0.03, 0.015, 0.012))
"""Then, around each channel's best, round after round: by how much of the deviation, in δ·N, and by what share of the reach."""
POWERS = (2, 3)
SCALES, LESS = 56, 0.94
"""How many e^c are tried for (2), from 1.25·max f down."""
MOST_GROWTH = 0.97
EXACT = 1e-4
"""How far, in steps, a threshold of a table may lie from where (1) or (2) has it for `curve_of` to answer."""


@final
class Curve(NamedTuple):
    """The numbers of (1), or of (2) with m as `growth` and M as `step`; k from `lowest` to `highest`."""

    kind: Kind
    centre: Float[Tensor, " c"]
    step: Float[Tensor, " c"]
    growth: Float[Tensor, " c"]
    lowest: int
    highest: int


@final
class Found(NamedTuple):
    """What was tried for each channel: where the centre is to be, δ·N, the reach; and what it takes off the error of silence."""

    place: Float[Tensor, " c"]
    growth: Float[Tensor, " c"]
    reach: Float[Tensor, " c"]
    gain: Float[Tensor, " c"]

    def or_better(self, other: "Found") -> "Found":
        """Of each channel the better one."""
        better = other.gain > self.gain
        return Found(*(torch.where(better, new, old) for new, old in zip(other, self, strict=True)))


def staircases(curve: Curve, f: Function) -> Tables:
    """The thresholds and values of (1) or (2), in the dtype of the curve."""
    k = torch.arange(curve.lowest, curve.highest + 1, dtype=curve.centre.dtype, device=curve.centre.device)
    half = k[1:] - 0.5
    c, step, growth = (each[:, None] for each in (curve.centre, curve.step, curve.growth))
    if curve.kind == "power":
        return c + growth * (half / step).log(), c.exp() * (k / step) ** growth
    return c + reading(half, step, growth), f(c + reading(k, step, growth))


def reading(k: Float[Tensor, " n"], step: Float[Tensor, "c 1"], growth: Float[Tensor, "c 1"]) -> Float[Tensor, "c n"]:
    """x of (1) for a level."""
    return step * k / (1 - growth * k.abs())


def fit_curves(
    f: Function, edges: Float[Tensor, "c b1"], masses: Float[Tensor, "c b"], levels: int, *, kind: Kind, signed: bool, centred: bool = False
) -> Tables:
    """(3) for C histograms: thresholds [C, K] and values [C, K + 1] in float64, K = N, or with a sign 2·N. `centred`: c = 0, for a
    function that is even."""
    counts = counts_of(f, edges.double(), masses.double())
    if kind == "power":
        return staircases(_powers(counts, levels), f)
    low = -levels if signed else 0
    weights = counts.mass.diff(dim=1) / counts.mass[:, -1:]
    mean = (weights * counts.centres).sum(1)
    spread = (weights * (counts.centres - mean[:, None]).square()).sum(1).sqrt()
    far = torch.where(weights > 0, counts.centres.abs(), 0.0).amax(1).clamp_min(torch.finfo(torch.float32).tiny)
    best = _measured(counts, f, Found(torch.zeros_like(far), torch.zeros_like(far), far, far), low, levels)
    for place, growth, power in product((0.0,) if centred or not signed else CENTRES, GROWTHS, range(REACHES)):
        tried = Found(place * mean, torch.full_like(far, growth), far * SMALLER**power, far)
        best = best.or_better(_measured(counts, f, tried, low, levels))
    for aside, more, share in CLOSER:
        for moved, grown, factor in product((0.0,) if centred or not signed else (0.0, -aside, aside), (0.0, -more, more), (1.0, 1 - share, 1 + share)):
            growth = (best.growth + grown).clamp(0.0, MOST_GROWTH)
            tried = Found(best.place + moved * spread, growth, best.reach * factor, far)
            best = best.or_better(_measured(counts, f, tried, low, levels))
    return staircases(_curve(best, low, levels), f)


def _curve(found: Found, low: int, levels: int) -> Curve:
    """The curve of what was tried: its centre is minus the level that is nearest to minus the place, so that 0 is a level."""
    step, growth = found.reach * (1 - found.growth) / levels, found.growth / levels
    nearest = (found.place / (step + growth * found.place.abs())).round().clamp(low, levels) if low else torch.zeros_like(step)
    return Curve("hyperbolic", step * nearest / (1 - growth * nearest.abs()), step, growth, low, levels)


def _measured(counts: Counts, f: Function, found: Found, low: int, levels: int) -> Found:
    return found._replace(gain=gain_of(counts, *staircases(_curve(found, low, levels), f)))


def _powers(counts: Counts, levels: int) -> Curve:
    """(3) for (2)."""
    size = torch.full_like(counts.top, levels)
    best, gain = None, torch.full_like(counts.top, -torch.inf)
    for power, less in product(POWERS, range(SCALES)):
        tried = Curve("power", (1.25 * counts.top * LESS**less).log(), size, torch.full_like(counts.top, power), 0, levels)
        new = gain_of(counts, *staircases(tried, torch.exp))
        better = new > gain
        centre, exponent = (tried.centre, tried.growth) if best is None else (best.centre, best.growth)
        gain = torch.where(better, new, gain)
        best = tried._replace(centre=torch.where(better, tried.centre, centre), growth=torch.where(better, tried.growth, exponent))
    return best if best is not None else Curve("power", counts.top.log(), size, size, 0, levels)
