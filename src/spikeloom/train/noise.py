"""
Input noise: each sample is disturbed in one of several ways, by a strength of its own.

    bit_flip          a bit turns over with probability p (inputs 0 and 1 only)
    salt_and_pepper   with probability p a value becomes 0 or 1, either as likely
    gaussian          x + p·n, n standard normal, kept within 0 and 1
    occlusion         a square patch covering the share p of the picture is 0
    dropped           a sensor (a pixel with all its channels, a feature) is 0 with probability p
    jitter            an event moves one place along the last axis with probability p, back or forth as likely

All on values from 0 to 1, p the strength, 0 to 0.5.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ConfigError, DataError

HIGHEST = 0.5
"""Half of all bits turned over leave nothing to learn."""


def bit_flip(x: Float[Tensor, "b *rest"], p: Float[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """Raises DataError where a value is neither 0 nor 1."""
    binary = (x == 0) | (x == 1)
    if not bool(binary.all()):
        todo = "turn inputs into bits first (a threshold), or choose gaussian noise"
        raise DataError("bits can only be flipped where inputs are bits", found=float(x[~binary][0]), allowed="0 and 1", todo=todo)
    return (x - (_uniform(x, generator) < _wide(p, x)).to(x.dtype)).abs()


def salt_and_pepper(x: Float[Tensor, "b *rest"], p: Float[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """See the module."""
    drawn, share = _uniform(x, generator), _wide(p, x)
    return torch.where(drawn < share, (drawn < share / 2).to(x.dtype), x)


def gaussian(x: Float[Tensor, "b *rest"], p: Float[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """See the module."""
    return (x + _wide(p, x) * torch.randn(x.shape, generator=generator, dtype=x.dtype)).clamp(0, 1)


def occlusion(x: Float[Tensor, "b *rest"], p: Float[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """The patch lies wholly inside; of features [B, F] a run of them is hidden."""
    sizes = x.shape[2:] if x.dim() > 2 else x.shape[1:]
    covered = torch.ones(len(x), *(1,) * (x.dim() - 1), dtype=torch.bool)
    for axis, size in enumerate(sizes, start=x.dim() - len(sizes)):
        length = (size * p ** (1 / len(sizes))).round()
        start = (torch.rand(len(x), generator=generator) * (size - length + 1)).floor()
        place = torch.arange(size)
        inside = (place >= start[:, None]) & (place < (start + length)[:, None])
        covered = covered & inside.view(len(x), *(size if at == axis else 1 for at in range(1, x.dim())))
    return x.masked_fill(covered, 0.0)


def dropped(x: Float[Tensor, "b *rest"], p: Float[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """See the module."""
    sensors = x[:, :1] if x.dim() > 2 else x
    return x.masked_fill(_uniform(sensors, generator) < _wide(p, x), 0.0)


def jitter(x: Float[Tensor, "b *rest"], p: Float[Tensor, " b"], generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """Events that meet in one place are one; at the ends they stay."""
    drawn, share = _uniform(x, generator), _wide(p, x)
    left, right = drawn < share / 2, (drawn >= share / 2) & (drawn < share)
    stays = torch.where(left | right, 0.0, x)
    back = torch.nn.functional.pad(torch.where(left, x, 0.0)[..., 1:], (0, 1))
    forth = torch.nn.functional.pad(torch.where(right, x, 0.0)[..., :-1], (1, 0))
    ends = torch.zeros_like(x)
    ends[..., 0] = torch.where(left, x, 0.0)[..., 0]
    ends[..., -1] += torch.where(right, x, 0.0)[..., -1]
    return torch.stack([stays, back, forth, ends]).amax(0)


Disturb = Callable[[Tensor, Tensor, torch.Generator], Tensor]
NOISES: Mapping[str, Disturb] = {
    "bit_flip": bit_flip,
    "salt_and_pepper": salt_and_pepper,
    "gaussian": gaussian,
    "occlusion": occlusion,
    "dropped": dropped,
    "jitter": jitter,
}


@final
@dataclass(frozen=True)
class Noise:
    """A strength from `low` to `high` for each sample, drawn evenly or by the `curriculum`, and for each sample one of `kinds`. With
    `bits_at` a value is first cut: to 1 from there on, else to 0.

    Raises ConfigError out of range.
    """

    kinds: tuple[str, ...] = ("bit_flip",)
    low: float = 0.0
    high: float = 0.45
    curriculum: bool = True
    bits_at: float | None = None

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(NOISES):
            raise ConfigError("noise of that kind is unknown", found=", ".join(self.kinds) or "none", allowed=", ".join(NOISES))
        if not (math.isfinite(self.low) and math.isfinite(self.high) and 0 <= self.low <= self.high <= HIGHEST):
            found, allowed = f"{self.low} to {self.high}", f"0 to {HIGHEST}, the lower end first"
            raise ConfigError("noise cannot have this range", found=found, allowed=allowed)

    def strength(self, places: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """Of noise that lies at these places, 0 to 1, of the range."""
        return self.low + (self.high - self.low) * places

    def disturbed(
        self, x: Float[Tensor, "b *rest"], strengths: Float[Tensor, " b"], generator: torch.Generator
    ) -> Float[Tensor, "b *rest"]:
        """Each sample with noise of its strength. DataError as `bit_flip`."""
        if self.bits_at is not None:
            x = (x >= self.bits_at).to(x.dtype)
        if len(self.kinds) == 1:
            return NOISES[self.kinds[0]](x, strengths, generator)
        which, found = torch.randint(len(self.kinds), (len(x),), generator=generator), x.clone()
        for number, kind in enumerate(self.kinds):
            rows = (which == number).nonzero().flatten()
            if len(rows):
                found[rows] = NOISES[kind](x[rows], strengths[rows], generator)
        return found


def at_strength(x: Float[Tensor, "b *rest"], kind: str, strength: float, generator: torch.Generator) -> Float[Tensor, "b *rest"]:
    """All samples with the same strength of noise, for measuring."""
    noise = Noise((kind,), strength, strength)
    return noise.disturbed(x, torch.full((len(x),), strength), generator)


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator, dtype=x.dtype)


def _wide(p: Tensor, x: Tensor) -> Tensor:
    return p.to(x.dtype).view(-1, *(1,) * (x.dim() - 1))
