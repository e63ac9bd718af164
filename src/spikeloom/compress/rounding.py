"""
A layer's weights on a grid: the scales that serve best, the codes to second order, and scales again for those codes.

    s = argmin Σ_i C_ii (w_i − s·clip(⌊w_i/s⌉, low, high))²        per output channel or group of its inputs, of `RATIOS`     (1)
    q = second-order rounding of w to multiples of s               `second_order.settle`                                      (2)
    s ← q C wᵀ / q C qᵀ                                            where an output channel has one scale; then (2) goes on    (3)

Sources: (1) the weighted form of Choukroun et al. 2019, arXiv:1902.06822 (OMSE); (2) see `second_order`; (3) least squares.
"""

import torch
from jaxtyping import Bool, Float, Int8
from torch import Tensor

from spikeloom.compress.second_order import damped, error, in_turn, inverse_factor, ordered, revisited, settle
from spikeloom.ir import Grid, Quantised, quantised, read

RATIOS = torch.linspace(0.1, 1.0, 46)
"""The largest value a scale reaches, as a share of the largest weight."""
ROUNDS, SWEEPS = 3, 2


def group_of(grid: Grid, inputs: int) -> int:
    """How many inputs share a scale: the grid's group where it divides them, else all."""
    return grid.group if grid.group is not None and inputs % grid.group == 0 else inputs


def scales_of(weight: Float[Tensor, "g o i"], power: Float[Tensor, "g i"], grid: Grid) -> Float[Tensor, "g o n"]:
    """(1): one scale for each group of inputs; a group of zeros has the scale 1."""
    parts = weight.unflatten(2, (-1, group_of(grid, weight.shape[2])))
    weights = power.clamp_min(power.mean() * 1e-4 + 1e-30).unflatten(1, parts.shape[2:])[:, None]
    most = parts.abs().amax(3)
    best, scale = torch.full_like(most, torch.inf), torch.ones_like(most)
    for ratio in RATIOS.tolist():
        tried = torch.where(most > 0, most * (ratio / grid.high), 1.0)
        lost = ((parts - on_steps(parts, tried[..., None], grid)).square() * weights).sum(3)
        scale = torch.where(lost < best, tried, scale)
        best = torch.minimum(best, lost)
    return scale


def on_steps(values: Float[Tensor, " *any"], scale: Float[Tensor, " *one"], grid: Grid) -> Float[Tensor, " *any"]:
    """The nearest values the grid has at a scale."""
    return (values / scale).round_().clamp_(grid.low, grid.high).mul_(scale)


def nearest(weight: Float[Tensor, "o *i"], grid: Grid, *, shared: bool = False) -> Quantised:
    """Each weight at the nearest value of its grid, the scale by (1) with all inputs alike; `shared` has one scale for all of them."""
    rows = weight.float().reshape(1, 1 if shared else weight.shape[0], -1)
    grid = Grid(grid.low, grid.high) if shared else grid
    scale = scales_of(rows, torch.ones(1, rows.shape[2]), grid)
    return kept(weight, on_steps(rows.unflatten(2, (scale.shape[2], -1)), scale[..., None], grid).flatten(2), scale, grid, None)


def rounded(
    weight: Float[Tensor, "g o i"],
    curvature: Float[Tensor, "g i i"],
    grid: Grid,
    free: Bool[Tensor, "g o i"] | None = None,
) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o n"]]:
    """The weights on their grid, and the scales, by (1)–(3); where `free` is false a weight stays 0."""
    order, c = ordered(damped(curvature.float()))
    target = weight.float() if free is None else weight.float() * free
    scale = scales_of(target, curvature.diagonal(dim1=1, dim2=2).float(), grid)
    best, size = weight.float()[..., order], group_of(grid, weight.shape[2])
    mask = None if free is None else free[..., order]

    def allowed(values: Tensor, columns: Tensor) -> Tensor:
        found = on_steps(values, scale[..., order[columns] // size], grid)
        return found if mask is None else found * mask[..., columns]

    found = in_turn(best, inverse_factor(c), allowed)
    for turn in range(ROUNDS):
        for _ in range(SWEEPS):
            found = revisited(found, best, c, allowed)
        if turn + 1 < ROUNDS and scale.shape[2] == 1:
            fitted = refitted(found, best, c)
            found, scale = found * fitted, scale * fitted
    return torch.empty_like(found).index_copy_(2, order, found), scale


def on_grid(best: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], before: Tensor, grid: Grid, *, pruned: bool) -> Quantised:
    """The weights on a grid that serve a layer as well as `best` does, as nearly as can be had, in the shape of `before`; where the layer
    is pruned, its zeros stay."""
    free = read(before).reshape(best.shape) != 0 if pruned else None
    found, scale = rounded(best, curvature, grid, free)
    return kept(before, found, scale, grid, curvature)


def settled(best: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], before: Tensor, pruned: bool) -> Tensor:
    """Corrected weights of a layer, back on the grid and with the zeros that `before` has (`ir.Settle`)."""
    if isinstance(before, Quantised):
        return on_grid(best, curvature, before, before.grid, pruned=pruned)
    free = read(before).reshape(best.shape) != 0
    return settle(best, curvature, lambda values, columns: values * free[..., columns]).reshape(before.shape).to(before.dtype)


def refitted(found: Float[Tensor, "g o i"], best: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"]) -> Float[Tensor, "g o 1"]:
    """(3), as the factor by which the scale changes."""
    meant, own = (((found @ curvature) * each).sum(2, keepdim=True) for each in (best, found))
    return torch.where((own > 0) & (meant > 0), meant / own.clamp_min(1e-30), 1.0)


def kept(
    weight: Tensor, found: Float[Tensor, "g o i"], scale: Float[Tensor, "g o n"], grid: Grid, curvature: Float[Tensor, "g i i"] | None
) -> Quantised:
    """Rounded weights in the shape of `weight`, with their scales, and what they cost: the share of the output's power (of the weights'
    own where no curvature is known)."""
    before = read(weight).float().reshape(found.shape)
    c = torch.eye(found.shape[2]).expand(found.shape[0], -1, -1) if curvature is None else curvature.float()
    lost, all_ = (float(error(before, each, c).sum()) for each in (found, torch.zeros_like(found)))
    codes: Int8[Tensor, " *any"] = (found.unflatten(2, (scale.shape[2], -1)) / scale[..., None]).round().to(torch.int8)
    return quantised(codes.reshape(weight.shape), scale.flatten(0, 1), grid, error=lost / max(all_, 1e-30))
