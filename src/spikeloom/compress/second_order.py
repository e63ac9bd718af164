"""
Second-order rounding and pruning of one layer: what a weight loses where it is rounded or taken away, the weights beside it make good.

With C = E[x xᵀ] of the layer's inputs (and some of the identity, so that it can be inverted) the layer's error is the quadratic form

    E‖(W − Ŵ) x‖² = Σ_rows (w − ŵ) C (w − ŵ)ᵀ                                                              (1)

Column by column, the most active input first: the column takes a value it may have, and the error this makes is passed to the columns
that are still free, with U the upper Cholesky factor of C⁻¹:

    e = (w_j − ŵ_j) / U_jj,     w_k ← w_k − e·U_jk     for k after j                                         (2)

Then every column is visited again, with all others where they are now, and takes the allowed value nearest to the one that serves (1) best:

    ŵ_j ← allowed( ŵ_j − [(Ŵ − W) C]_j / C_jj )                                                             (3)

No such step makes (1) larger, for what is allowed is a set of values of each weight by itself.

Sources: (2) Frantar et al. 2022, arXiv:2210.17323 (GPTQ), for masks Frantar & Alistarh 2023, arXiv:2301.00774 (SparseGPT); (3) coordinate
descent, Behdin et al. 2023, arXiv:2309.01885 (QuantEase).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

Allowed = Callable[[Float[Tensor, "g o c"], Int[Tensor, " c"]], Float[Tensor, "g o c"]]
"""Values of some columns of a layer (their places given) → the nearest ones they may have."""
BLOCK = 128
"""Columns whose errors are passed on together to those after the block."""
DAMPING = 1e-2


def settle(
    weight: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], allowed: Allowed, *, sweeps: int = 4
) -> Float[Tensor, "g o i"]:
    """Allowed weights near to those that serve (1) as well as can be had: (2), then `sweeps` times (3); in the dtype of `weight`.

    `weight` [g, o, i] are the best weights without a constraint, `curvature` [g, i, i] is C for each group of channels; inputs that
    never are active take the nearest value.
    """
    order, c = ordered(damped(curvature.float()))
    best = weight.float()[..., order]

    def permitted(values: Tensor, columns: Tensor) -> Tensor:
        return allowed(values, order[columns])

    found = in_turn(best, inverse_factor(c), permitted)
    for _ in range(sweeps):
        found = revisited(found, best, c, permitted)
    return torch.empty_like(found).index_copy_(2, order, found).to(weight.dtype)


def error(weight: Float[Tensor, "g o i"], other: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"]) -> Float[Tensor, "g o"]:
    """(1) for every row."""
    difference = (weight - other).to(curvature.dtype)
    return ((difference @ curvature) * difference).sum(2)


def ordered(curvature: Float[Tensor, "g i i"]) -> tuple[Int[Tensor, " i"], Float[Tensor, "g i i"]]:
    """The order in which columns are taken, the most active first, and C in it."""
    order = curvature.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True)
    return order, curvature[:, order][:, :, order]


def damped(curvature: Float[Tensor, "g i i"], share: float = DAMPING) -> Float[Tensor, "g i i"]:
    """C with a share of its mean power on the diagonal."""
    power = curvature.diagonal(dim1=1, dim2=2).mean(1).clamp_min(1e-12)
    return curvature + (share * power)[:, None, None] * torch.eye(curvature.shape[1], dtype=curvature.dtype)


def inverse_factor(curvature: Float[Tensor, "g i i"]) -> Float[Tensor, "g i i"]:
    """U, upper triangular, with UᵀU = C⁻¹."""
    lower = torch.linalg.cholesky(curvature.double())
    inverse = torch.cholesky_inverse(lower)
    return torch.linalg.cholesky(inverse, upper=True).to(curvature.dtype)


def in_turn(weight: Float[Tensor, "g o i"], factor: Float[Tensor, "g i i"], allowed: Allowed) -> Float[Tensor, "g o i"]:
    """(2) over all columns in their order."""
    left, found = weight.clone(), torch.empty_like(weight)
    for block in torch.arange(weight.shape[2]).split(BLOCK):
        first, last = int(block[0]), int(block[-1]) + 1
        errors = torch.empty_like(left[..., first:last])
        for j in range(first, last):
            found[..., j : j + 1] = allowed(left[..., j : j + 1], torch.tensor([j]))
            e = (left[..., j : j + 1] - found[..., j : j + 1]) / factor[:, j, j, None, None]
            left[..., j + 1 : last] -= e * factor[:, None, j, j + 1 : last]
            errors[..., j - first : j - first + 1] = e
        left[..., last:] -= errors @ factor[:, first:last, last:]
    return found


def revisited(
    found: Float[Tensor, "g o i"], best: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], allowed: Allowed
) -> Float[Tensor, "g o i"]:
    """(3), once over all columns."""
    found = found.clone()
    for block in torch.arange(found.shape[2]).split(BLOCK):
        first, last = int(block[0]), int(block[-1]) + 1
        slope = (found - best) @ curvature[..., first:last]  # [(Ŵ − W) C] of this block's columns, kept up to date within it
        for j in range(first, last):
            power = curvature[:, j, j, None, None]
            before = found[..., j : j + 1].clone()
            found[..., j : j + 1] = allowed(before - slope[..., j - first, None] / power, torch.tensor([j]))
            slope += (found[..., j : j + 1] - before) * curvature[:, None, j, first:last]
    return found
