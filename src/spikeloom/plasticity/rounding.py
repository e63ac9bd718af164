"""
Learning on weights of whole numbers (`ir.quantised`): 8 bits, 4 bits, ternary. A change is mostly less than a step of the grid.

    q ← clip(q + ⌊Δw/s + ε⌋, low, high),   ε uniform in [0, 1)      a change of a fraction p is a step with chance p       (1)
    t = ρ + Δw/s;  q' = clip(q + ⌊t⌉, low, high);  ρ ← clip(t − (q' − q), −½, ½)                                           (2)

(1) keeps nothing beside the codes, and is right in the mean: E[⌊x + ε⌋] = x. (2) keeps the fraction ρ that has not moved yet, and loses
nothing; what a bound has stopped is forgotten. Neither leaves the grid. Chance comes from the generator given.

Sources: Gupta et al. 2015, arXiv:1502.02551 (stochastic rounding); Hubara et al. 2016, arXiv:1602.02830, and Seide et al. 2014,
Interspeech 1058 (what is lost is carried over).
"""

from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int8
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.ir import Grid, Quantised, quantised


def round_at_random(x: Float[Tensor, "*any"], generator: torch.Generator) -> Float[Tensor, "*any"]:
    """Whole numbers beside x, whose mean is x: ⌊x + ε⌋."""
    return (x + torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)).floor()


def moved_at_random(
    codes: Int8[Tensor, "*any"], steps: Float[Tensor, "*any"], grid: Grid, generator: torch.Generator
) -> Int8[Tensor, "*any"]:
    """(1): codes after a change of so many steps of the grid, Δw/s."""
    return _clipped(codes, round_at_random(steps, generator), grid)


def _clipped(codes: Int8[Tensor, "*any"], whole: Float[Tensor, "*any"], grid: Grid) -> Int8[Tensor, "*any"]:
    return (codes + whole).clamp(grid.low, grid.high).to(torch.int8)


def in_steps(weight: Quantised, change: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Δw/s: a change of the weights in steps of their own scales. Raises ConfigError for a change of another shape."""
    if change.shape != weight.shape:
        raise ConfigError("a change does not fit the weights", found=tuple(change.shape), allowed=tuple(weight.shape))
    rows, groups = weight.scale.shape
    return (change.reshape(rows, groups, -1) / weight.scale.to(change.dtype)[..., None]).reshape(change.shape)


def with_codes(weight: Quantised, codes: Int8[Tensor, "*any"]) -> Quantised:
    """The weight with other codes on the same grid and scales; how much was lost by rounding is no longer known."""
    return quantised(codes, weight.scale, weight.grid, weight.zero)


def changed_at_random(weight: Quantised, change: Float[Tensor, "*any"], generator: torch.Generator) -> Quantised:
    """(1) for a quantised weight; the one given stays as it is."""
    return with_codes(weight, moved_at_random(weight.codes(), in_steps(weight, change), weight.grid, generator))


@final
class Residue(NamedTuple):
    """Codes q, and the fraction ρ of a step, |ρ| ≤ ½, that each has still to go."""

    codes: Int8[Tensor, "*any"]
    fraction: Float[Tensor, "*any"]


@final
@dataclass(frozen=True)
class Residual:
    """(2), on a grid."""

    grid: Grid

    def init(self, codes: Int8[Tensor, "*any"], like: Tensor | None = None) -> Residue:
        """Nothing to go. Raises ConfigError for codes that are not on the grid."""
        if codes.numel() and not self.grid.low <= int(codes.min()) <= int(codes.max()) <= self.grid.high:
            found = f"{int(codes.min())} to {int(codes.max())}"
            raise ConfigError("codes that are not on their grid", found=found, allowed=f"{self.grid.low} to {self.grid.high}")
        return Residue(codes, torch.zeros(codes.shape, dtype=torch.float32 if like is None else like.dtype, device=codes.device))

    def step(self, state: Residue, steps: Float[Tensor, "*any"]) -> Residue:
        """The state after a change of so many steps of the grid, Δw/s."""
        total = state.fraction + steps
        codes = _clipped(state.codes, total.round(), self.grid)
        moved = codes.to(total.dtype) - state.codes.to(total.dtype)
        return Residue(codes, (total - moved).clamp(-0.5, 0.5))
