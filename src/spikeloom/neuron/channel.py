"""
Parameters along the channel axis: one number for a whole population (0-dim), or one per channel ([C]).
"""

import torch
from jaxtyping import Float
from torch import Tensor

Scalar = float | Float[Tensor, ""]
Parameter = float | Float[Tensor, ""] | Float[Tensor, " c"]
"""A neuron parameter: a Python number, a 0-dim tensor, or a tensor of one entry per channel."""


def along(parameter: Tensor, axis: int, like: Float[Tensor, " *any"]) -> Tensor:
    """`parameter` ([] or [C]) in the dtype of `like`, shaped so that it broadcasts over `like` with C on `axis`."""
    parameter = parameter.to(like.dtype)
    if parameter.ndim == 0:
        return parameter
    shape = [1] * like.ndim
    shape[axis] = -1
    return parameter.view(shape)


def tracked(*tensors: object) -> bool:
    """Whether autograd must see what is done to these tensors, so that nothing may happen in place."""
    return torch.is_grad_enabled() and any(isinstance(tensor, Tensor) and tensor.requires_grad for tensor in tensors)
