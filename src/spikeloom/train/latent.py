"""
Latent parameters: what is trained in the place of a tensor, such that any step leaves a tensor that the network may have.

    weight, bias    w = u                                       where a layer is pruned, zeros stay                       (1)
    on a grid       w = s·clip(⌊u⌉ − z, …),  ∂w/∂u := s         u real, straight through the rounding; s = exp(σ)         (2)
    step, heights   s = s₀·exp(σ)                               positive, a height keeps its sign, and 0 stays 0          (3)
    v[0], leak      v = ρ·s                                     a share of the step, whatever the step becomes            (4)
    decay           a, held in 0 … 1                                                                                      (5)

Each parameter has a typical size, by which a learning rate becomes relative: a step of Adam moves a parameter by about rate · size. On a
grid, u is held within half a step of the ends, from where it can come back.

Sources: straight through: Bengio et al. 2013, arXiv:1308.3432; ternary weights with learnt scales: Zhu et al. 2016, arXiv:1612.01064; the
first scale: the best of many in squared error, as Li et al. 2016, arXiv:1605.04711, find it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.ir import Grid, Quantised, like, quantised, read

RATIOS = torch.linspace(0.05, 1.0, 96)
"""The largest value a first scale reaches, as a share of the largest weight."""


@dataclass(frozen=True)
class Latent(ABC):
    """One trained tensor of a program. `group` is the group of learning rates that it belongs to."""

    name: str
    group: str

    @abstractmethod
    def start(self) -> tuple[tuple[Tensor, float], ...]:
        """The parameters at first, each with its typical size."""

    @abstractmethod
    def value(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """The tensor that the parameters stand for; `made` holds those that come before it."""

    def stored(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """The tensor as the program keeps it."""
        return self.value(raw, made)

    def confine_(self, raw: Sequence[Tensor]) -> None:
        """After a step: the parameters are where they may be, which is anywhere unless a latent says otherwise."""
        return


def typical(value: Tensor) -> float:
    """The root mean square of what is not 0; 1 where nothing is."""
    found = value[value != 0]
    return float(found.square().mean().sqrt()) if found.numel() else 1.0


@final
@dataclass(frozen=True)
class Free(Latent):
    """(1); zeros of a pruned weight stay."""

    tensor: Tensor
    pruned: bool = False
    size: float | None = None

    def start(self) -> tuple[tuple[Tensor, float], ...]:
        """u."""
        value = read(self.tensor)
        return ((value, typical(value) if self.size is None else self.size),)

    def value(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """w."""
        return raw[0] * (read(self.tensor) != 0).to(raw[0]) if self.pruned else raw[0]

    def stored(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """w, in the form the tensor was kept in."""
        return like(self.value(raw, made), self.tensor)


@final
@dataclass(frozen=True)
class OnGrid(Latent):
    """(2) for a weight that lies on a grid, or comes to lie on one."""

    tensor: Tensor
    grid: Grid
    pruned: bool = False
    shared: bool = False

    def start(self) -> tuple[tuple[Tensor, float], ...]:
        """u [r, n, i], in steps of the grid, and σ [r, n]."""
        if isinstance(self.tensor, Quantised):
            scale, zero = self.tensor.scale, self._zero()
            u = self.tensor.codes().to(scale).view(*scale.shape, -1) - zero
        else:
            parts = rows_of(read(self.tensor), self.grid, shared=self.shared)
            scale = best_scale(parts, self.grid)
            u = parts / scale[..., None]
        return (u, typical(u)), (scale.log(), 1.0)

    def value(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """w."""
        u, scale = raw[0], raw[1].exp()[..., None]
        through = u + (self._rounded(u) - u).detach()
        return (through * scale).view(self.tensor.shape)

    def stored(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """q and s, in a quantised weight."""
        codes = (self._rounded(raw[0].detach()) + self._zero().to(raw[0])).to(torch.int8).cpu().view(self.tensor.shape)
        return quantised(codes, raw[1].detach().exp().cpu(), self.grid, self.tensor.zero if isinstance(self.tensor, Quantised) else None)

    def confine_(self, raw: Sequence[Tensor]) -> None:
        """u is within half a step of the grid's ends."""
        zero = self._zero().to(raw[0])
        raw[0].copy_(raw[0].clamp(self.grid.low - 0.5 - zero, self.grid.high + 0.5 - zero))

    def _rounded(self, u: Tensor) -> Tensor:
        zero = self._zero().to(u)
        whole = u.round().clamp(self.grid.low - zero, self.grid.high - zero)
        return whole * (read(self.tensor) != 0).view(u.shape).to(u) if self.pruned else whole

    def _zero(self) -> Tensor:
        """z [r, n, 1]."""
        zero = self.tensor.zero if isinstance(self.tensor, Quantised) else None
        return torch.zeros(1, 1, 1) if zero is None else zero[..., None].float()


@final
@dataclass(frozen=True)
class Scale(Latent):
    """(3)."""

    tensor: Tensor

    def start(self) -> tuple[tuple[Tensor, float], ...]:
        """σ."""
        return ((torch.zeros_like(self.tensor), 1.0),)

    def value(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """s₀·exp(σ)."""
        return self.tensor.to(raw[0].device) * raw[0].exp()


@final
@dataclass(frozen=True)
class Share(Latent):
    """(4); `of` is the step's name, of the same shape."""

    tensor: Tensor
    step: Tensor
    of: str

    def start(self) -> tuple[tuple[Tensor, float], ...]:
        """ρ."""
        return ((self.tensor / self.step, 1.0),)

    def value(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """ρ·s."""
        return raw[0] * made[self.of]


@final
@dataclass(frozen=True)
class Decay(Latent):
    """(5)."""

    tensor: Tensor

    def start(self) -> tuple[tuple[Tensor, float], ...]:
        """a."""
        return ((self.tensor, 1.0),)

    def value(self, raw: Sequence[Tensor], made: Mapping[str, Tensor]) -> Tensor:
        """a."""
        return raw[0]

    def confine_(self, raw: Sequence[Tensor]) -> None:
        """0 ≤ a ≤ 1."""
        raw[0].clamp_(0.0, 1.0)


def rows_of(weight: Tensor, grid: Grid, *, shared: bool) -> Float[Tensor, "r n i"]:
    """A weight by what shares a scale: output channels (all as one where they are `shared`), groups of inputs, inputs."""
    rows = weight.reshape(1, -1) if shared else weight.reshape(weight.shape[0], -1)
    size = grid.group if grid.group is not None and not shared and rows.shape[1] % grid.group == 0 else rows.shape[1]
    return rows.unflatten(1, (-1, size))


def best_scale(parts: Float[Tensor, "r n i"], grid: Grid) -> Float[Tensor, "r n"]:
    """The scales at which a grid is nearest to weights, in squared error, then what is best for the codes found; 1 for weights of 0."""
    most = parts.abs().amax(2)
    best, scale = torch.full_like(most, torch.inf), torch.ones_like(most)
    for ratio in RATIOS.tolist():
        tried = torch.where(most > 0, most * (ratio / grid.high), 1.0)
        codes = (parts / tried[..., None]).round().clamp(grid.low, grid.high)
        lost = (parts - codes * tried[..., None]).square().sum(2)
        scale = torch.where(lost < best, tried, scale)
        best = torch.minimum(best, lost)
    codes = (parts / scale[..., None]).round().clamp(grid.low, grid.high)
    own = codes.square().sum(2)
    return torch.where(own > 0, (codes * parts).sum(2) / own.clamp_min(1.0), scale)
