"""
Moments: sums over samples of a layer's inputs and of what its outputs lack, streamed; memory does not grow with the samples.

What least squares needs of any number of samples (`calibrate.solve`), and what tells how much a connection is worth (`compress.worth`).
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor


@final
@dataclass
class Moments:
    """Sums over samples for G groups: count, Σx, Σr, Σxxᵀ, Σrxᵀ, Σr², in float64; it only ever grows by `add`."""

    count: float
    x: Float[Tensor, "g i"]
    r: Float[Tensor, "g o"]
    xx: Float[Tensor, "g i i"]
    rx: Float[Tensor, "g o i"]
    rr: Float[Tensor, "g o"]


def empty(groups: int, inputs: int, outputs: int) -> Moments:
    """Moments of no samples."""
    shapes = ((inputs,), (outputs,), (inputs, inputs), (outputs, inputs), (outputs,))
    return Moments(0.0, *(torch.zeros(groups, *shape, dtype=torch.float64) for shape in shapes))


def add(moments: Moments, x: Float[Tensor, "g n i"], r: Float[Tensor, "g n o"]) -> None:
    """Add n samples of inputs and residuals. Products are made in their own dtype and summed up in float64: give float32 inputs less
    something near their mean, or variances small beside it drown in rounding."""
    moments.count += x.shape[1]
    moments.x += x.sum(1)
    moments.r += r.sum(1)
    moments.xx += x.transpose(1, 2) @ x
    moments.rx += r.transpose(1, 2) @ x
    moments.rr += r.square().sum(1)


def merge(a: Moments, b: Moments) -> None:
    """Add the samples of b to a."""
    a.count += b.count
    for mine, its in ((a.x, b.x), (a.r, b.r), (a.xx, b.xx), (a.rx, b.rx), (a.rr, b.rr)):
        mine += its


def centred(m: Moments) -> tuple[Float[Tensor, "g i i"], Float[Tensor, "g o i"]]:
    """The covariances of inputs, and of residuals with inputs."""
    n = max(m.count, 1.0)
    mean_x, mean_r = m.x / n, m.r / n
    return m.xx / n - mean_x.unsqueeze(2) * mean_x.unsqueeze(1), m.rx / n - mean_r.unsqueeze(2) * mean_x.unsqueeze(1)
