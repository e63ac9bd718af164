"""
What a connection is worth: the error it would leave if it were taken away.

    magnitude      w²/mean(w²) of the layer                                   what the layer's inputs are plays no part       (1)
    firing         w_j² C_jj                                                  what its spikes contribute by themselves        (2)
    second order   w_j² / [(C_MM)⁻¹]_jj                                       what is left after the others made it good      (3)

C are the second moments of what the layer really receives, M the connections that an output still has. (3) is the least that
E‖w x − ŵ x‖² can grow by if ŵ_j = 0 and all else is free; it is exact for one connection, and the weights that the others then take are
those of least squares on M (`refitted`):

    ŵ_M = w C[:, M] (C_MM)⁻¹                                                                                                    (4)

The worth of layers compares over a network by what a layer would still have of it (`relative`):

    u_j = worth_j / Σ_{k: worth_k ≥ worth_j} worth_k                                                                            (5)

It is the share that the layer's output, or its weights, lose in that step, whatever their scale, and the last weight of a layer has 1.

Sources: (5) Lee et al. 2020, arXiv:2010.07611 (LAMP), there of w²; (3) Hassibi & Stork 1993 (optimal brain surgeon), layer by layer as in
Frantar & Alistarh 2022, arXiv:2208.11580; (2) Sun et al. 2023, arXiv:2306.11695 (Wanda), squared.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from spikeloom.compress.second_order import settle

WORTHS = ("second_order", "firing", "magnitude")
EXACT = 4e11
"""The most multiplications a layer's own inverses may take, one for each output; past it all outputs share one."""
BLOCK_BYTES = 2**28


def worth_of(
    weight: Float[Tensor, "g o i"], power: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], method: str
) -> Float[Tensor, "g o i"]:
    """(1), (2) or (3); `power` is what `refitted` found beside the weights."""
    if method == "magnitude":
        alive = weight != 0
        return weight.square() / weight[alive].square().mean().clamp_min(1e-30)
    if method == "firing":
        return weight.square() * curvature.diagonal(dim1=1, dim2=2)[:, None]
    return weight.square() * power


def relative(worth: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """(5); what is worth nothing has 0."""
    flat = worth.flatten().double()
    order = flat.argsort(descending=True, stable=True)
    share = torch.zeros_like(flat)
    share[order] = flat[order] / flat[order].cumsum(0).clamp_min(1e-300)
    return share.view(worth.shape)


def refitted(
    best: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], kept: Bool[Tensor, "g o i"]
) -> tuple[Float[Tensor, "g o i"], Float[Tensor, "g o i"]]:
    """(4) for every output, and 1/[(C_MM)⁻¹]_jj, 0 for what is not kept. `best` serves best where nothing has to be 0.

    C must be positive definite. In layers too large for an inverse of each output's own, weights are `settle`d, and the inverse is that of
    all inputs.
    """
    c = curvature.float()
    if bool(kept.all()):
        return best.clone(), _powers(c)[:, None].expand_as(best).to(best)
    most = int(kept.sum(2).max())
    if kept.shape[1] * float(most) ** 3 > EXACT:
        weights = settle(best, curvature, lambda values, columns: values * kept[..., columns])
        return weights, (_powers(c)[:, None] * kept).to(best)
    pairs = [_rows(w, each, which) for w, each, which in zip(best.float(), c, kept, strict=True)]
    weights, powers = (torch.stack(part).to(best) for part in zip(*pairs, strict=True))
    return weights, powers


def channel_worth(weight: Float[Tensor, "g o i"], curvature: Float[Tensor, "g i i"], taps: int) -> Float[Tensor, " c"]:
    """What each input channel is worth to a layer, all taps of its kernels together, as a share of the variance of what the layer gives:

    Σ_o w_oS ([C⁻¹]_SS)⁻¹ w_oSᵀ / Σ_o w_o C w_oᵀ,     S the taps of the channel             (Kurtic et al. 2023, arXiv:2302.04089)
    """
    w, c = weight.double(), curvature.double()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(c))
    blocks = inverse.unflatten(1, (-1, taps)).unflatten(3, (-1, taps)).diagonal(dim1=1, dim2=3).movedim(3, 1)  # [g, c, taps, taps]
    alone = torch.linalg.inv(blocks)
    parts = w.unflatten(2, (-1, taps))  # [g, o, c, taps]
    lost = torch.einsum("goct,gctu,gocu->gc", parts, alone, parts)
    return (lost / ((w @ c) * w).sum().clamp_min(1e-30)).flatten()


def _powers(curvature: Float[Tensor, "*g i i"]) -> Float[Tensor, "*g i"]:
    """1/[C⁻¹]_jj."""
    return 1 / torch.cholesky_inverse(torch.linalg.cholesky(curvature)).diagonal(dim1=-2, dim2=-1)


def _rows(
    best: Float[Tensor, "o i"], curvature: Float[Tensor, "i i"], kept: Bool[Tensor, "o i"]
) -> tuple[Float[Tensor, "o i"], Float[Tensor, "o i"]]:
    """(4) and the powers of one group, some outputs at a time."""
    target = best @ curvature
    weights, powers = torch.zeros_like(best), torch.zeros_like(best)
    counts = kept.sum(1)
    order = counts.argsort()
    size = max(1, BLOCK_BYTES // (4 * 3 * int(counts.max().clamp_min(1)) ** 2))
    for block in order.split(size):
        n = int(counts[block].max())
        if n == 0:
            continue
        places = kept[block].to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :n]
        own = kept[block].gather(1, places)
        c = curvature[places[:, :, None], places[:, None, :]] * (own[:, :, None] & own[:, None, :])
        c = c + torch.diag_embed((~own).to(c))  # places that an output has not are the identity's
        lower = torch.linalg.cholesky(c)
        found = torch.cholesky_solve((target[block].gather(1, places) * own)[..., None], lower)[..., 0]
        inverse = torch.cholesky_inverse(lower).diagonal(dim1=1, dim2=2)
        weights[block] = torch.zeros_like(best[block]).scatter_(1, places, found * own)
        powers[block] = torch.zeros_like(best[block]).scatter_(1, places, own / inverse)
    return weights, powers
