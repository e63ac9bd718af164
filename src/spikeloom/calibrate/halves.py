"""
What least squares for one layer is fed with: the rows of all samples in two halves, so that each can judge what the other says.

They are summed up to moments (`solve`), or, where there are fewer of them than inputs, kept (`kernel`); the solution is the same.
"""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.calibrate.kernel import best_of_rows, joined_rows
from spikeloom.calibrate.solve import add, best, empty


@final
class Halves:
    """Inputs x [g, n, i] and residuals r [g, n, o] of a layer, added chunk by chunk. Without `normal` all rows are kept."""

    def __init__(self, groups: int, inputs: int, outputs: int, normal: bool) -> None:
        self.shape, self.normal, self.count = (groups, inputs, outputs), normal, 0
        self.kept: tuple[list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]] = ([], [])
        self.moments: list[Any] = []
        self.centre: Tensor | None = None

    def add(self, x: Float[Tensor, "g n i"], r: Float[Tensor, "g n o"], half: int) -> None:
        """Rows of which the first `half` belong to the first half, the others to the second."""
        self.count += x.shape[1]
        self.centre = x.mean(1, keepdim=True) if self.centre is None else self.centre
        x = x - self.centre  # sums of squares drown in what all rows share
        self.kept[0].append((x[:, :half], r[:, :half]))
        self.kept[1].append((x[:, half:], r[:, half:]))
        if self.normal and self.count >= self.shape[1]:
            self._sum_up()

    def _sum_up(self) -> None:
        self.moments = self.moments or [empty(*self.shape), empty(*self.shape)]
        for moments, kept in zip(self.moments, self.kept, strict=True):
            for x, r in kept:
                add(moments, x, r)
            kept.clear()

    def solved(self) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o"], float | None]:
        """The change of the weights and of the bias, and the λ that the halves agree on."""
        if self.moments:
            change, shift, ridge = best(*self.moments)
        else:
            first, second = (joined_rows(kept, *self.shape) for kept in self.kept)
            change, shift, ridge = best_of_rows(first, second)
        if self.centre is not None:
            shift = shift - (change @ self.centre.to(change).transpose(1, 2)).squeeze(2)
        return change, shift, ridge

    def second_moments(self, ridge: float | None) -> tuple[Float[Tensor, "g i i"], Float[Tensor, "g i"], Float[Tensor, "g o"]]:
        """Of all rows: the covariance of the inputs, with the λ of a solution on its diagonal, their means, and the residuals' means.
        Only after `solved`."""
        if self.moments:
            count, xx = max(self.moments[0].count, 1.0), self.moments[0].xx
            mean_x, mean_r = self.moments[0].x / count, self.moments[0].r / count
        else:
            both = joined_rows([*self.kept[0], *self.kept[1]], *self.shape)
            count, x = max(both.x.shape[1], 1), both.x.double()
            mean_x, mean_r, xx = x.sum(1) / count, both.r.sum(1, dtype=torch.float64) / count, x.transpose(1, 2) @ x
        covariance = xx / count - mean_x[:, :, None] * mean_x[:, None]
        power = covariance.diagonal(dim1=1, dim2=2).mean(1)
        covariance = covariance + ((ridge or 0.0) * power)[:, None, None] * torch.eye(self.shape[1], dtype=torch.float64)
        return covariance, mean_x if self.centre is None else mean_x + self.centre.squeeze(1), mean_r
