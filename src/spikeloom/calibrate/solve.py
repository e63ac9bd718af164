"""
Least squares for one layer: the change of weights and bias that brings a layer, on the inputs it really gets, closest
to what the ANN's layer gives.

    min_ΔW,Δb  Σ ‖(W + ΔW) x + b + Δb − y‖² + λ‖ΔW‖²                                     (1)
    ΔW = C_rx (C_xx + λ·mean(diag C_xx)·I)⁻¹,   Δb = E[r] − ΔW E[x],   r = y − W x − b   (2)

x is the layer's input in the SNN, y the target from the ANN. The moments are summed in a stream (memory does not grow
with the samples), in two halves: λ is the one whose solution from one half serves the other half best, with no change
of weights at all (λ = ∞, the mean shift) among the candidates.

Source: normal equations of ridge regression with cross-validated λ (Hoerl & Kennard 1970), layer by layer as in
Li et al. 2021 (SNN calibration, "advanced"); the mean shift is Nagel et al. 2019's bias correction.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.simulate import Moments, centred, merge

RIDGES = (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 10.0)
JUDGES = 1024
"""Outputs by which λ is chosen: more of them cost time and decide nothing."""


def solution(m: Moments, ridge: float | None) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o"]]:
    """ΔW and Δb of (2) with λ = `ridge`; None is λ = ∞."""
    n = max(m.count, 1.0)
    mean_x, mean_r = m.x / n, m.r / n
    if ridge is None:
        return torch.zeros_like(m.rx), mean_r
    c_xx, c_rx = centred(m)
    power = c_xx.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    eye = torch.eye(c_xx.shape[1], dtype=c_xx.dtype)
    factor = torch.linalg.cholesky_ex(c_xx + (ridge * power + 1e-9)[:, None, None] * eye).L
    change = torch.cholesky_solve(c_rx.transpose(1, 2), factor).transpose(1, 2)
    return change, mean_r - (change @ mean_x.unsqueeze(2)).squeeze(2)


def remaining(m: Moments, change: Float[Tensor, "g o i"], shift: Float[Tensor, "g o"]) -> float:
    """Mean over samples of ‖r − ΔW x − Δb‖² on these moments."""
    n = max(m.count, 1.0)
    quadratic = ((change @ m.xx) * change).sum(2) + 2 * shift * (change @ m.x.unsqueeze(2)).squeeze(2) + n * shift.square()
    cross = (change * m.rx).sum(2) + shift * m.r
    return float((m.rr - 2 * cross + quadratic).sum() / n)


def best(first: Moments, second: Moments) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o"], float | None]:
    """ΔW, Δb and the λ that the two halves of the samples agree on (None: mean shift alone), judged by at most `JUDGES` of the outputs;
    `first` takes the second half in."""
    candidates: list[tuple[float, int, float | None]] = []
    one, other = (some_outputs(each, JUDGES) for each in (first, second))
    for place, ridge in enumerate((None, *RIDGES)):
        loss = remaining(other, *solution(one, ridge)) + remaining(one, *solution(other, ridge))
        candidates.append((loss, place, ridge))
    ridge = min(candidates)[2]
    merge(first, second)
    return *solution(first, ridge), ridge


def some_outputs(m: Moments, count: int) -> Moments:
    """The moments of about `count` of the outputs, evenly spread."""
    every = max(m.r.shape[1] // count, 1)
    return Moments(m.count, m.x, m.r[:, ::every], m.xx, m.rx[:, ::every], m.rr[:, ::every])
