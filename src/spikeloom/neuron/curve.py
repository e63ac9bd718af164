"""
Curves: staircases whose levels lie along a curve of two or three numbers a channel, so that a run computes them and looks nothing up.

    k = clip(⌊x/(α + δ·|x|)⌉, k_min, N),  o = f(c + α·k/(1 − δ·|k|))        x = h − c, ⌊·⌉ to the nearest         ("hyperbolic", 1)
    k = min(⌊M·e^((h − c)/m)⌉, M),        o = e^c·(k/M)^m,  m = 2 or 3       for f = exp                          ("power", 2)
    minimise E[(f(h) − o(h))²]   over c, α, δ, or over c, m                  for each channel's histogram          (3)

α is the step at the centre c, δ says how fast steps grow away from it: by 1/(1 − δ·|k|)², δ = 0 being the uniform staircase. The hyperbola
x/(α + δ·|x|) is how photoreceptors compress (Naka & Rushton 1966); what (2) sends grows by a power (Stevens 1957). 0 is among the values
of (1) where f(0) = 0 and 0 lies within the inputs, or at their end, for c is then one of the levels about 0, and the lowest of (2).

Thresholds and values are those of any function staircase. `curve_of` finds the numbers again in a table that was made so.

Sources: Naka & Rushton 1966, doi:10.1113/jphysiol.1966.sp008003; Stevens 1957, doi:10.1037/h0046162; companding before equal steps,
Bennett 1948, doi:10.1002/j.1538-7305.1948.tb01340.x; as thresholds of the neuron law, ours.
"""

from collections.abc import Callable
from itertools import product
from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Bool, Float
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
LEAST_REACH = 1e-6
"""Of the farthest input of all channels: how far the levels of a channel reach at least, one that was always 0, say."""
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
    """What was tried for each channel: where the centre is to be, whether just there or so that 0 is a level, δ·N, the reach; and what it
    takes off the error of silence."""

    place: Float[Tensor, " c"]
    free: Bool[Tensor, " c"]
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


def reading(k: Float[Tensor, "*rows n"], step: Float[Tensor, "c 1"], growth: Float[Tensor, "c 1"]) -> Float[Tensor, "c n"]:
    """x of (1) for a level."""
    return step * k / (1 - growth * k.abs())


def fit_curves(
    f: Function, edges: Float[Tensor, "c b1"], masses: Float[Tensor, "c b"], levels: int, *, kind: Kind, signed: bool, centred: bool = False
) -> Tables:
    """(3) for C histograms: thresholds [C, K] and values [C, K + 1] in float64, K = N, or with a sign 2·N; (2) has none. `centred`: c = 0,
    for a function that is even."""
    counts = counts_of(f, edges.double(), masses.double())
    if kind == "power":
        return staircases(_powers(counts, levels), f)
    moves = signed and not centred
    return staircases(_hyperbolas(counts, f, -levels if signed else 0, levels, moves=moves, free=_far_from_0(edges, masses) & moves), f)


def _far_from_0(edges: Float[Tensor, "c b1"], masses: Float[Tensor, "c b"]) -> Bool[Tensor, " c"]:
    """Where all inputs lie on one side of 0. One at 0 does not: what is silent (the sum of two ReLUs, say) is to stay so."""
    room, none = 1e-6 * (edges[:, -1:] - edges[:, :1]), masses <= 0
    return ((edges[:, :-1] > room) | none).all(1) | ((edges[:, 1:] < -room) | none).all(1)


def _hyperbolas(counts: Counts, f: Function, low: int, levels: int, *, moves: bool, free: Bool[Tensor, " c"]) -> Curve:
    """(3) for (1): a grid, then what is close to the best of each channel; the centre stays 0 unless it `moves`, and leaves the levels
    about 0 where it is `free`."""
    weights = counts.mass.diff(dim=1) / counts.mass[:, -1:]
    mean = (weights * counts.centres).sum(1)
    spread = (weights * (counts.centres - mean[:, None]).square()).sum(1).sqrt()
    far = torch.where(weights > 0, counts.centres.abs(), 0.0).amax(1)
    far = far.clamp_min(max(LEAST_REACH * float(far.max()), torch.finfo(torch.float32).tiny))

    def tried(place: Tensor, growth: Tensor, reach: Tensor) -> Found:
        found = Found(place, free, growth.clamp(0.0, MOST_GROWTH), reach, reach)
        return found._replace(gain=gain_of(counts, *staircases(_curve(found, low, levels), f)))

    none = torch.zeros_like(far)
    best = tried(none, none, far)
    for place, growth, smaller in product(CENTRES if moves else CENTRES[:1], GROWTHS, range(REACHES)):
        best = best.or_better(tried(place * mean, none + growth, far * SMALLER**smaller))
    for aside, more, share in CLOSER:
        asides = (0.0, -aside, aside) if moves else (0.0,)
        for moved, grown, factor in product(asides, (0.0, -more, more), (1.0, 1 - share, 1 + share)):
            best = best.or_better(tried(best.place + moved * spread, best.growth + grown, best.reach * factor))
    return _curve(best, low, levels)


def _curve(found: Found, low: int, levels: int) -> Curve:
    """The curve of what was tried. Where its centre is not free it is the level about 0 that is nearest to the place: so 0 is a level."""
    step, growth = found.reach * (1 - found.growth) / levels, found.growth / levels
    nearest = (found.place / (step + growth * found.place.abs())).round().clamp(low, levels) if low else torch.zeros_like(step)
    centre = torch.where(found.free, found.place, step * nearest / (1 - growth * nearest.abs()))
    return Curve("hyperbolic", centre, step, growth, low, levels)


def _powers(counts: Counts, levels: int) -> Curve:
    """(3) for (2)."""
    size = torch.full_like(counts.top, levels)
    centre, exponent, gain = counts.top.log(), torch.full_like(size, POWERS[0]), torch.full_like(size, -torch.inf)
    for power, less in product(POWERS, range(SCALES)):
        tried = Curve("power", (1.25 * counts.top * LESS**less).log(), size, torch.full_like(size, power), 0, levels)
        new = gain_of(counts, *staircases(tried, torch.exp))
        better = new > gain
        gain, centre, exponent = (torch.where(better, *pair) for pair in ((new, gain), (tried.centre, centre), (tried.growth, exponent)))
    return Curve("power", centre, size, exponent, 0, levels)


def curve_of(thresholds: Float[Tensor, "c k"], values: Float[Tensor, "c k1"], f: Function, *, kind: Kind, signed: bool) -> Curve | None:
    """The curve, in float32, that gives these thresholds within `EXACT` of a step and these values but for rounding; None where none does.

    The level whose value is 0 is exactly 0 along the curve too."""
    theta, height = thresholds.double(), values.double()
    curve = _power_of(theta, height) if kind == "power" else _hyperbola_of(theta, height, signed)
    if not all(bool(part.isfinite().all()) for part in (curve.centre, curve.step, curve.growth)):
        return None
    if kind == "power" and curve.growth.unique().numel() > 1:  # a run raises all channels to one power
        return None
    exact = curve._replace(centre=curve.centre.double(), step=curve.step.double(), growth=curve.growth.double())
    meant, reached = staircases(exact, f)
    gaps = torch.nn.functional.pad(theta.diff(dim=1), (1, 1), value=torch.inf)
    room = EXACT * torch.minimum(gaps[:, :-1], gaps[:, 1:])
    size = height.abs().amax(1, keepdim=True)
    same = ((meant - theta).abs() <= room).all() & ((reached - height).abs() <= 1e-6 * size).all()
    return curve if bool(same) else None


def _hyperbola_of(theta: Float[Tensor, "c k"], values: Float[Tensor, "c k1"], signed: bool) -> Curve:
    """The numbers of (1) by least squares: with κ = k − ½ and x = θ − c it says x = α·κ + δ·|κ|·x."""
    count = theta.shape[1]
    low, high = (-(count // 2), count // 2) if signed else (0, count)
    centre = (theta[:, -low - 1] + theta[:, -low]) / 2 if signed else torch.zeros_like(theta[:, 0])
    half = torch.arange(low, high, dtype=theta.dtype, device=theta.device) + 0.5
    x = theta - centre[:, None]
    bent = half.abs() * x
    a, b, d = half.square().sum(), (half * bent).sum(1), bent.square().sum(1)
    p, q = (half * x).sum(1), (bent * x).sum(1)
    det = a * d - b * b
    step, growth = ((d * p - b * q) / det).float(), ((a * q - b * p) / det).float().clamp_min(0.0)
    least, silent = values.abs().min(1)
    pinned, silent = least <= 1e-6 * values.abs().amax(1), silent + low
    at_silence = reading(silent.float()[:, None], step[:, None], growth[:, None])[:, 0]
    return Curve("hyperbolic", torch.where(pinned, 0.0 - at_silence, centre.float()), step, growth, low, high)


def _power_of(theta: Float[Tensor, "c k"], values: Float[Tensor, "c k1"]) -> Curve:
    """The numbers of (2), from the first and the last value."""
    size = torch.full_like(theta[:, 0], theta.shape[1])
    power = ((values[:, -1] / values[:, 1]).log() / size.log()).round()
    return Curve("power", values[:, -1].log().float(), size.float(), power.float(), 0, theta.shape[1])
