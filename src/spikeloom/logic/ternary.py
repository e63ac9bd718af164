"""
Ternary weights with a latent real weight behind each, which training moves.

    t = sign(w)·1[|w| > δ],   δ = share · mean|w| over the weights of one output        (1)
    backward  ∂t/∂w := 1                                                                  (2)

Sources: (1) Li & Liu 2016, Ternary Weight Networks, arXiv:1605.04711 (share 0.7);
(2) straight-through, Bengio et al. 2013, arXiv:1308.3432.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SHARE = 0.7


class _Ternary(torch.autograd.Function):
    """Equations (1) and (2)."""

    @staticmethod
    def forward(ctx: Any, w: Tensor, share: float) -> Tensor:
        del ctx
        edge = share * w.abs().flatten(1).mean(1).view(-1, *(1,) * (w.dim() - 1))
        return (w > edge).to(w.dtype) - (w < -edge).to(w.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        del ctx
        return grad_outputs[0], None


def ternary(w: Float[Tensor, "o ..."], share: float = SHARE) -> Float[Tensor, "o ..."]:
    """The weights -1, 0, 1 nearest to w, each output by its own measure (1); gradients pass to w as they are (2)."""
    return _Ternary.apply(w, share)  # pyright: ignore[reportReturnType]
