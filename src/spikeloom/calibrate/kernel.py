"""
Least squares for one layer with fewer rows than inputs: the same solution as `solve`, from the rows themselves.

    ΔW = αᵀ X,   α = (X Xᵀ/n + λ·mean(diag C_xx)·I)⁻¹ R / n          X [n, i], R [n, o] less their means                  (1)

An n×n system in place of an i×i one: what makes wide layers of large models affordable, of which no calibration set has rows enough for
`solve`. The two forms are equal by the push-through identity (C + λI)⁻¹Xᵀ = Xᵀ(XXᵀ/n + λI)⁻¹.

Source: kernel ridge regression, Saunders et al. 1998, "Ridge Regression Learning Algorithm in Dual Variables".
"""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.calibrate.solve import JUDGES, RIDGES

AT_ONCE = 4096
"""Outputs that are solved for together: the float64 numbers of more of them would be a second copy of a wide layer's weights."""


@final
@dataclass(frozen=True)
class Rows:
    """Inputs and residuals of n samples for G groups; sums over them are taken in float64."""

    x: Float[Tensor, "g n i"]
    r: Float[Tensor, "g n o"]


def joined_rows(parts: list[tuple[Tensor, Tensor]], groups: int, inputs: int, outputs: int) -> Rows:
    """The rows of several chunks; none of them is no rows."""
    none = torch.zeros(groups, 0, inputs), torch.zeros(groups, 0, outputs)
    return Rows(*(torch.cat([none[place], *(part[place] for part in parts)], 1) for place in (0, 1)))


def best_of_rows(first: Rows, second: Rows) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o"], float | None]:
    """ΔW, Δb and the λ that the two halves of the rows agree on (None: mean shift alone), as `solve.best`."""
    one, other = (some_outputs(rows) for rows in (first, second))
    losses = [held_out(one, other, ridge) + held_out(other, one, ridge) for ridge in (None, *RIDGES)]
    ridge = (None, *RIDGES)[losses.index(min(losses))]
    return *solution(Rows(torch.cat([first.x, second.x], 1), torch.cat([first.r, second.r], 1)), ridge), ridge


def some_outputs(rows: Rows) -> Rows:
    """The rows with about `JUDGES` of their outputs, evenly spread."""
    return Rows(rows.x, rows.r[..., :: max(rows.r.shape[2] // JUDGES, 1)])


def held_out(fitted: Rows, judged: Rows, ridge: float | None) -> float:
    """Mean over the judged rows of ‖r − ΔW x − Δb‖² for what was fitted to the other rows."""
    change, shift = solution(fitted, ridge)
    left = judged.r - judged.x @ change.transpose(1, 2) - shift[:, None]
    return float(left.square().sum(dtype=torch.float64) / max(judged.x.shape[1], 1))


def solution(rows: Rows, ridge: float | None) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o"]]:
    """(1) with λ = `ridge`, and the shift that goes with it; None is λ = ∞."""
    (groups, n, inputs), outputs = rows.x.shape, rows.r.shape[2]
    mean_x, mean_r = (value.mean(1, dtype=torch.float64) if n else value.sum(1).double() for value in (rows.x, rows.r))
    change = torch.zeros(groups, outputs, inputs)
    if ridge is None or n == 0:
        return change, mean_r
    x = rows.x.double() - mean_x[:, None]
    gram = x @ x.transpose(1, 2) / n
    power = (gram.diagonal(dim1=1, dim2=2).sum(1) / inputs).clamp_min(1e-12)
    factor = torch.linalg.cholesky_ex(gram + (ridge * power + 1e-9)[:, None, None] * torch.eye(n, dtype=torch.float64)).L
    for some in torch.arange(outputs).split(AT_ONCE):
        r = rows.r[..., some].double() - mean_r[:, None, some]
        change[:, some] = (torch.cholesky_solve(r / n, factor).transpose(1, 2) @ x).float()
    return change, mean_r - (change @ mean_x.float().unsqueeze(2)).squeeze(2)
