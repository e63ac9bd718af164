"""
Thresholds: the step s of an identity staircase of N levels, chosen from what a population sees in the ANN.

    maximum      s = max|f(z)| / N                                                             (1)
    percentile   s = quantile_p |f(z)| / N                                                     (2)
    mse          s = argmin_s E[(f(z) − q_s(z))²],   q_s(z) = s·clip(⌊z/s + ½⌋, −n, N)         (3)
    hmt          s ← s·k(s),  k(s) = E[f(z) n_s(z)] / (s·E[n_s(z)²]),  n_s = q_s/s,  z ~ N(μ, σ²)   until k → 1   (4)

The distribution of z is a histogram per channel (`observe`), for (4) its mean and deviation alone.

Sources: (1) Diehl et al. 2015; (2) Rueckauer et al. 2017, §2.3; (3) Li et al. 2021 (SNN calibration, MMSE);
(4) H-MT, AAAI 2026, threshold optimisation under a Gaussian assumption (the fixed point as we derive it).
"""

import torch
from jaxtyping import Float
from torch import Tensor

METHODS = ("mse", "maximum", "percentile", "hmt")
TOGETHER = 1 << 16
_ROOT_2, _ROOT_2PI = 2.0**0.5, (2.0 * torch.pi) ** 0.5


def quantised(z: Float[Tensor, "*any"], step: Float[Tensor, "*#any"], levels: int, negative: int) -> Float[Tensor, "*any"]:
    """q_s(z) of (3), with the default initial potential of half a step."""
    return torch.floor(z / step + 0.5).clamp_(-negative, levels) * step


def maximum_step(values: Float[Tensor, "c b"], weights: Float[Tensor, "c b"], levels: int) -> Float[Tensor, " c"]:
    """(1): `values` are f at the histogram's bins, `weights` their counts."""
    return values.abs().masked_fill(weights == 0, 0.0).amax(1) / levels


def percentile_step(values: Float[Tensor, "c b"], weights: Float[Tensor, "c b"], levels: int, percentile: float) -> Float[Tensor, " c"]:
    """(2) with p in percent, over all values of the channel."""
    order = values.abs().sort(1)
    share = weights.gather(1, order.indices).cumsum(1)
    place = (share < share[:, -1:] * percentile / 100.0).sum(1, keepdim=True).clamp(max=values.shape[1] - 1)
    return order.values.gather(1, place).squeeze(1) / levels


def mse_step(
    z: Float[Tensor, "c b"], target: Float[Tensor, "c b"], weights: Float[Tensor, "c b"], levels: int, negative: int, rounds: int = 2
) -> Float[Tensor, " c"]:
    """(3) by a grid of shares of the maximum, refined once a round around the best; of many channels some at a time, so that they stay in
    a processor's cache."""
    some = max(TOGETHER // z.shape[1], 1)
    z, target, weights = (value.expand(z.shape) for value in (z, target, weights))
    parts = zip(z.split(some), target.split(some), weights.split(some), strict=True)
    return torch.cat([_mse_step(x, y, w, levels, negative, rounds) for x, y, w in parts])


def _mse_step(z: Tensor, target: Tensor, weights: Tensor, levels: int, negative: int, rounds: int) -> Tensor:
    top = maximum_step(target, weights, levels)
    low, high = torch.full_like(top, 0.05), torch.full_like(top, 1.05)
    best = top
    for _ in range(rounds):
        grid = low + (high - low) * torch.linspace(0, 1, 33, device=top.device).view(-1, 1)
        steps = (grid * top).clamp_min(1e-12)
        losses = torch.stack([(weights * (target - quantised(z, step[:, None], levels, negative)).square()).sum(1) for step in steps])
        place = losses.argmin(0)
        best = steps.gather(0, place[None])[0]
        width = (high - low) / 32
        centre = grid.gather(0, place[None])[0]
        low, high = (centre - width).clamp_min(0.01), centre + width
    return best


def hmt_step(mean: Float[Tensor, " c"], std: Float[Tensor, " c"], levels: int, negative: int, iterations: int = 60) -> Float[Tensor, " c"]:
    """(4), from the Gaussian's partial moments over the staircase's cells; `std` 0 gives a step of |mean|/N."""
    std = std.clamp_min(1e-9)
    step = (mean.abs() + 3.0 * std) / levels
    ks = torch.arange(-negative + 1, levels + 1, device=mean.device, dtype=mean.dtype)
    for _ in range(iterations):
        edges = (ks[None] - 0.5) * step[:, None]
        standard = (edges - mean[:, None]) / std[:, None]
        tail = 0.5 * torch.erfc(standard / _ROOT_2)  # P(z ≥ edge)
        partial = mean[:, None] * tail + std[:, None] * torch.exp(-0.5 * standard.square()) / _ROOT_2PI  # E[z; z ≥ edge]
        first = partial.sum(1) - (mean[:, None].expand_as(partial) * (ks <= 0) if negative else torch.zeros_like(partial)).sum(1)
        second = ((2 * ks - 1)[None] * (tail - (ks <= 0).to(tail.dtype))).sum(1)
        gain = first / (second * step).clamp_min(1e-12)
        step = (step * gain.clamp(0.5, 2.0)).clamp_min(1e-12)
    return step
