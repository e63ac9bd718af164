"""
The kernels as operators of torch, `torch.ops.spikeloom.*`.

    look_up    what a table gives; a compiled graph holds it as one call
    look_up_   the same written over x
    read       the same as `look_up`, but inductor writes it out (`inductor`)
    along      what a curve gives, which inductor writes out (`neuron.curve`)

They are for float32 on a CPU; other devices may add implementations of their own under the same names.
"""

import torch
from torch import Tensor

from spikeloom.kernels.bank import Place
from spikeloom.kernels.inductor import teach
from spikeloom.kernels.populations import driven, look_up

LIBRARY = torch.library.Library("spikeloom", "DEF")
for name in ("look_up", "read"):
    LIBRARY.define(f"{name}(Tensor x, Tensor floats, Tensor codes, int[] place, int[] axes, Tensor[] less, Tensor? gain) -> Tensor")
LIBRARY.define(
    "along(Tensor x, Tensor floats, str form, int channels, int start, int lowest, int highest, int power, int[] axes, Tensor[] less, "
    "Tensor? gain) -> Tensor"
)
LIBRARY.define("look_up_(Tensor(a!) x, Tensor floats, Tensor codes, int[] place, int[] axes, Tensor[] less, Tensor? gain) -> ()")


def look_up_on_cpu(
    x: Tensor, floats: Tensor, codes: Tensor, place: list[int], axes: list[int], less: list[Tensor], gain: Tensor | None
) -> Tensor:
    """`look_up`, with strides as `torch.empty_like` has them."""
    o = torch.empty_like(x)
    return _filled(o, o if x.stride() == o.stride() else None, x, floats, codes, place, axes, less, gain)


def look_up_over(
    x: Tensor, floats: Tensor, codes: Tensor, place: list[int], axes: list[int], less: list[Tensor], gain: Tensor | None
) -> None:
    """`look_up` written over x."""
    _filled(x, x, x, floats, codes, place, axes, less, gain)


def _filled(
    o: Tensor,
    out: Tensor | None,
    x: Tensor,
    floats: Tensor,
    codes: Tensor,
    place: list[int],
    axes: list[int],
    less: list[Tensor],
    gain: Tensor | None,
) -> Tensor:
    """`o`, filled with what is read, through `out` where a kernel may write there."""
    if o.numel() == 0:
        return o
    table, rows = Place(*place), tuple(less)
    found = look_up(x, floats, codes, table, tuple(axes), less=rows, gain=gain, out=out)
    if found is None:
        found = look_up(x.contiguous(), floats, codes, table, tuple(axes), less=rows, gain=gain)
    if found is None:
        raise RuntimeError(f"no kernel walks channels on axes {axes} of {tuple(x.shape)}")
    return o if found is o else o.copy_(found)


def along_on_cpu(
    x: Tensor,
    floats: Tensor,
    form: str,
    channels: int,
    start: int,
    lowest: int,
    highest: int,
    power: int,
    axes: list[int],
    less: list[Tensor],
    gain: Tensor | None,
) -> Tensor:
    """What a curve gives, in operations of torch: outside of compiled graphs."""
    shape = [1] * x.dim()
    for axis in axes if channels > 1 else []:
        shape[axis] = x.shape[axis]
    centre, step, growth = (floats.narrow(0, start + part * channels, channels).view(shape) for part in range(3))
    h = driven(x, tuple(less), gain) - centre
    if form == "power":
        k = (step * torch.exp(h / power)).round().clamp_max(highest)
        return centre.exp() / step**power * k**power
    bound = [step * k / (1 - growth * abs(k)) for k in (lowest, highest)]
    h = torch.minimum(torch.maximum(h, bound[0]), bound[1])
    k = (h / (step + growth * h.abs())).round()
    r = centre + step * k / (1 - growth * k.abs())
    return r.square() if form == "square" else r


def _alike(x: Tensor, *_: object) -> Tensor:
    return torch.empty_like(x)


def _alike_written_out(x: Tensor, *_: object) -> Tensor:
    teach()
    return torch.empty_like(x)


def _nothing(*_: object) -> None:
    return None


LIBRARY.impl("along", along_on_cpu, "CPU")
LIBRARY.impl("look_up", look_up_on_cpu, "CPU")
LIBRARY.impl("read", look_up_on_cpu, "CPU")
LIBRARY.impl("look_up_", look_up_over, "CPU")
torch.library.register_fake("spikeloom::look_up", _alike, lib=LIBRARY)
torch.library.register_fake("spikeloom::read", _alike_written_out, lib=LIBRARY)
torch.library.register_fake("spikeloom::along", _alike_written_out, lib=LIBRARY)
torch.library.register_fake("spikeloom::look_up_", _nothing, lib=LIBRARY)
