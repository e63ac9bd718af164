"""
Populations on a GPU, by Triton: `neuron.run_uniform` in one pass over memory, bit for bit.

The eager functions read and write every membrane in each of several passes a step; here each number is read once and written once. A
division is a true one (`div_rn`) and multiply-adds are not fused, so that every number is the one that single operations give.

Triton comes with torch's builds for CUDA, or by `pip install spikeloom[gpu]`; without it populations run by `neuron`.
"""

from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.errors import ResourceError
from spikeloom.kernels.layout import Layout, layout_of

BLOCK, WARPS = 512, 4
UNFUSED: dict[str, Any] = {"enable_fp_fusion": False, "num_warps": WARPS}
"""How the kernel has to be compiled."""
Axes = tuple[int, ...]


@cache
def installed() -> bool:
    """Whether Triton is there."""
    return find_spec("triton") is not None


def serves(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the kernel takes such tensors: float32, all on one GPU, no gradients, Triton installed."""
    given = [x, *(each for each in others if each is not None)]
    tracking = torch.is_grad_enabled() and any(each.requires_grad for each in given)
    alike = all(each.dtype is torch.float32 and each.device == x.device for each in given)
    return x.is_cuda and alike and not tracking and installed()


def run_uniform(
    x: Float[Tensor, " tb *rest"],
    step: Float[Tensor, " *c"],
    v0: Float[Tensor, " *c"],
    decay: Float[Tensor, " *c"] | None,
    leak: Float[Tensor, " *c"] | None,
    *,
    levels: int,
    negative: int,
    to_zero: bool,
    gated: bool = False,
    axes: Axes,
    timesteps: int,
    out: Tensor | None = None,
) -> Float[Tensor, " tb *rest"] | None:
    """`neuron.run_uniform`: T steps of inputs [T·B, …], without decay or leak where they are None. Written to `out`, which may be x, where
    it is given. None where channels lie as no kernel walks. Raises ResourceError where Triton is missing."""
    given = [each for each in (step, v0, decay, leak) if each is not None]
    channels = max(each.numel() for each in given)
    layout = _layout(tuple(x.shape), x.stride(), axes, channels, timesteps)
    if layout is None or (timesteps > 1 and not x.is_contiguous()):
        x, out = x.contiguous(), None
        layout = _layout(tuple(x.shape), x.stride(), axes, channels, timesteps)
    if layout is None:
        return None
    o = torch.empty_like(x) if out is None else out
    held = [step if each is None else each.expand(channels).contiguous() for each in (step, v0, decay, leak)]
    neurons = layout.rows * layout.length
    reset = "gated" if gated else "zero" if to_zero else "subtract"
    sizes = (neurons, layout.length, layout.mid, layout.groups, timesteps)
    told = {"together": layout.together, "decays": decay is not None, "leaks": leak is not None, "reset": reset, "block": BLOCK}
    _kernel()[(-(-neurons // BLOCK),)](x, o, *held, float(-negative), float(levels), *sizes, **told, **UNFUSED)
    return o


@lru_cache(maxsize=1024)
def _layout(shape: Axes, strides: Axes, axes: Axes, channels: int, timesteps: int) -> Layout | None:
    return layout_of((shape[0] // timesteps, *shape[1:]), strides, axes, channels)


@cache
def _kernel() -> Any:
    """The kernel; importing it takes seconds the first time."""
    if not installed():
        raise ResourceError("populations on a GPU by a kernel need triton", found="no triton", todo="pip install 'spikeloom[gpu]'")
    from spikeloom.kernels.triton_loops import run_uniform as kernel

    return kernel
