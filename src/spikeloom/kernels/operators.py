"""
The kernels as operators of torch, `torch.ops.spikeloom.*`: a compiled graph holds each as one call.

They are for float32 on a CPU; other devices may add implementations of their own under the same names.
"""

import torch
from torch import Tensor

from spikeloom.kernels.bank import Place
from spikeloom.kernels.populations import look_up

LIBRARY = torch.library.Library("spikeloom", "DEF")
LIBRARY.define("look_up(Tensor x, Tensor floats, Tensor codes, int[] place, int[] axes, Tensor[] less, Tensor? gain) -> Tensor")


def look_up_on_cpu(
    x: Tensor, floats: Tensor, codes: Tensor, place: list[int], axes: list[int], less: list[Tensor], gain: Tensor | None
) -> Tensor:
    """`look_up`, with strides as `torch.empty_like` has them."""
    o = torch.empty_like(x)
    if o.numel() == 0:
        return o
    table, rows = Place(*place), tuple(less)
    found = look_up(x, floats, codes, table, tuple(axes), less=rows, gain=gain, out=o if x.stride() == o.stride() else None)
    if found is None:
        found = look_up(x.contiguous(), floats, codes, table, tuple(axes), less=rows, gain=gain)
    if found is None:
        raise RuntimeError(f"no kernel walks channels on axes {axes} of {tuple(x.shape)}")
    return o if found is o else o.copy_(found)


def _alike(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


LIBRARY.impl("look_up", look_up_on_cpu, "CPU")
torch.library.register_fake("spikeloom::look_up", _alike, lib=LIBRARY)
