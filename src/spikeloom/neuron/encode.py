"""
Spike encodings: from an analog tensor to T steps of input, and from levels to the events that carry them.

Inputs over time come time-major, folded into the batch: [T·B, ...] from [B, ...].

A level k travels (DESIGN.md §5) as
    unary    |k| unit spikes
    binary   popcount(|k|) spikes, weights shifted by their place
    graded   one event where k ≠ 0, carrying ⌈log2(N+1)⌉ bits, and a sign where there are negative levels

Latency code: one spike, the earlier the larger the value (Thorpe & Gautrais 1998).
"""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.neuron.uniform import run_uniform

Encoding = Literal["unary", "binary", "graded"]
ENCODINGS: tuple[Encoding, ...] = ("unary", "binary", "graded")


def encode_direct(x: Float[Tensor, " b *rest"], timesteps: int) -> Float[Tensor, " tb *rest"]:
    """The same current at every step."""
    return x.unsqueeze(0).expand(timesteps, *x.shape).flatten(0, 1)


def encode_rate(x: Float[Tensor, " b *rest"], timesteps: int, generator: torch.Generator, peak: float = 1.0) -> Float[Tensor, " tb *rest"]:
    """Bernoulli spikes of height ±peak whose expected mean is x clipped to [-peak, peak]; drawn from `generator`."""
    chance = encode_direct(x.abs() / peak, timesteps)
    draws = torch.rand(chance.shape, generator=generator, dtype=x.dtype, device=x.device)
    return encode_direct(x.sign() * peak, timesteps) * (draws < chance)


def encode_rate_regular(x: Float[Tensor, " b *rest"], timesteps: int, peak: float = 1.0) -> Float[Tensor, " tb *rest"]:
    """Evenly spread spikes of height peak, as an IF neuron with v[0] = peak/2 fires them; the mean is within peak/T of x in [0, peak]."""
    theta = torch.full((), peak, dtype=x.dtype, device=x.device)
    current = encode_direct(x, timesteps)
    return run_uniform(current, theta, theta / 2, 1.0, 0.0, levels=1, negative=0, reset="subtract", axis=0, timesteps=timesteps)


def encode_latency(x: Float[Tensor, " b *rest"], timesteps: int, peak: float = 1.0) -> Float[Tensor, " tb *rest"]:
    """One unit spike at step round((T-1)·(1 - x/peak)), x clipped to [0, peak]; none where x ≤ 0."""
    moment = ((timesteps - 1) * (1 - x.clamp(0, peak) / peak)).round()
    clock = torch.arange(timesteps, dtype=x.dtype, device=x.device).view(-1, *[1] * x.ndim)
    return ((clock == moment) & (x > 0)).to(x.dtype).flatten(0, 1)


def events(levels: Float[Tensor, " *any"] | Int[Tensor, " *any"], encoding: Encoding) -> Int[Tensor, " *any"]:
    """How many events carry each level (whole numbers of either sign, as floats or integers, |k| < 2^31)."""
    size = levels.abs().to(torch.int64)
    if encoding == "unary":
        return size
    if encoding == "binary":
        return _popcount(size)
    if encoding == "graded":
        return (size != 0).to(torch.int64)
    raise ConfigError("unknown spike encoding", found=encoding, allowed=", ".join(ENCODINGS))


def graded_bits(levels: int, negative_levels: int = 0) -> int:
    """The payload of a graded event in bits: ⌈log2(N+1)⌉ for the larger side, one more for a sign."""
    if max(levels, negative_levels) < 1 or min(levels, negative_levels) < 0:
        raise ConfigError("a graded event needs at least one level", found=(levels, negative_levels))
    return math.ceil(math.log2(max(levels, negative_levels) + 1)) + (negative_levels > 0)


def _popcount(k: Int[Tensor, " *any"]) -> Int[Tensor, " *any"]:
    """Bits set in 32-bit k, in parallel (Warren, Hacker's Delight, 5-1)."""
    k = k - ((k >> 1) & 0x55555555)
    k = (k & 0x33333333) + ((k >> 2) & 0x33333333)
    k = (k + (k >> 4)) & 0x0F0F0F0F
    return ((k * 0x01010101) >> 24) & 0xFF
