"""
Changes of weights from a batch: every sample has its own spikes and traces, all share the weights.

    Δw = Σ_b post_b ⊗ pre_b            sum                                                   (1)
    Δw = (1/B)·Σ_b post_b ⊗ pre_b      mean: as large for many environments as for one       (2)
    Δw = Σ_b f_b·e_b                   traces e [B, out, in] and what they are multiplied with       (3)
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

OverBatch = Literal["mean", "sum"]
"""What is done with the changes of a batch's samples."""


def outer(post: Float[Tensor, "b o"], pre: Float[Tensor, "b i"], over_batch: OverBatch) -> Float[Tensor, "o i"]:
    """(1) or (2), as one matrix product; weights lie as in `torch.nn.Linear`, [out, in]."""
    total = post.T @ pre
    return total if over_batch == "sum" else total.div_(max(len(pre), 1))


def outer_each(post: Float[Tensor, "b o"], pre: Float[Tensor, "b i"]) -> Float[Tensor, "b o i"]:
    """post_b ⊗ pre_b for each sample by itself."""
    return torch.bmm(post[:, :, None], pre[:, None, :])


def weighted_sum(factor: Float[Tensor, "b f"], traces: Float[Tensor, "b o i"], over_batch: OverBatch) -> Float[Tensor, "o i"]:
    """(3) or its mean; a factor is one number for all synapses of a sample [B, 1] or one per output [B, out]."""
    batch, outputs, inputs = traces.shape
    if factor.shape[1] == 1:
        total = (factor.T @ traces.reshape(batch, -1)).view(outputs, inputs)
    else:
        total = torch.einsum("bo,boi->oi", factor, traces)
    return total if over_batch == "sum" else total / max(batch, 1)
