"""
What runs a population: a kernel where one serves it (float32, no gradients; on a CPU, or on a GPU where Triton is installed), the functions
of `neuron` elsewhere.

The numbers are the same, bit for bit. In a graph that torch.compile takes, small look-ups on a CPU are written out and fused with what is
beside them (`kernels.inductor`; NaN gives NaN there, where a call raises IndexError), and so are the functions of `neuron` where no kernel
serves. Levels along a curve (`neuron.curve`) are computed there, not looked up: then the numbers differ by rounding, and an input within
`neuron.curve.EXACT` of a step of a threshold may get the level beside it.
"""

from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from spikeloom import kernels
from spikeloom.kernels import NOWHERE, Along, Bank, Place, bank_of
from spikeloom.neuron import (
    Axis,
    Curve,
    Lookup,
    Parameter,
    Ranks,
    Reset,
    index_table,
    level_table,
    look_up,
    rank_table,
    read_table,
    run_uniform,
)

FEW, FEW_BY_RANKS = 1 << 15, 1 << 13
"""Fewer inputs than this are read faster inside of what torch.compile makes than by a call: by cells, and by ranks."""
LARGE = 1 << 15
"""Tables of more bytes than this leave a processor's first cache: they are read by ranks."""


def run_population(
    x: Float[Tensor, " tb *rest"],
    step: Float[Tensor, " *c"],
    v0: Parameter,
    decay: Parameter,
    leak: Parameter,
    *,
    levels: int,
    negative: int,
    reset: Reset,
    axis: Axis,
    timesteps: int,
    out: Tensor | None = None,
) -> Float[Tensor, " tb *rest"]:
    """`neuron.run_uniform`; a kernel writes to `out`, which may be x, where it is given."""
    parts = (v0, _unless(decay, 1.0), _unless(leak, 0.0))
    if not any(isinstance(part, float | int) for part in parts):
        v, kept, lost = cast(tuple[Tensor, Tensor | None, Tensor | None], parts)
        if not torch.compiler.is_compiling() and kernels.serves_population(x, step, v, kept, lost):
            told: dict[str, Any] = {"levels": levels, "negative": negative, "timesteps": timesteps}
            told |= {"to_zero": reset == "zero", "gated": reset == "gated"}
            o = kernels.run_uniform(x, step, v, kept, lost, **told, axes=_axes(axis), out=out)
            if o is not None:
                return o
    return run_uniform(x, step, v0, decay, leak, levels=levels, negative=negative, reset=reset, axis=axis, timesteps=timesteps)


def read_bank(
    x: Float[Tensor, " *any"],
    gain: Tensor | None,
    floats: Float[Tensor, " f"],
    codes: UInt8[Tensor, " b"],
    *,
    place: Place,
    axis: Axis,
    less: tuple[Tensor, ...] = (),
    out: Tensor | None = None,
    along: Along | None = None,
) -> Float[Tensor, " *any"]:
    """A function staircase of a bank, read at (x - less)/gain; a kernel writes to `out`, which may be x, where it is given. Where its
    levels lie `along` a curve, compiled graphs compute them."""
    if kernels.serves(x, floats, gain, *less):
        if not torch.compiler.is_compiling():
            o = kernels.look_up(x, floats, codes, place, _axes(axis), less=less, gain=gain, out=out)
            if o is not None:
                return o
        elif along is not None:
            return torch.ops.spikeloom.along(x, floats, *along, _axes(axis), less, gain)
        elif x.numel() < (FEW if place.codes == NOWHERE else FEW_BY_RANKS):
            return torch.ops.spikeloom.read(x, floats, codes, place, _axes(axis), less, gain)
        elif out is not None:
            torch.ops.spikeloom.look_up_(x, floats, codes, place, _axes(axis), less, gain)
            return x
        else:
            return torch.ops.spikeloom.look_up(x, floats, codes, place, _axes(axis), less, gain)
    h = kernels.driven(x, less, gain)
    if torch.is_grad_enabled() and h.requires_grad:
        levels = _levels(floats, place) if place.channels > 1 else _levels(floats, place)[0]
        return read_table(h, levels[..., :-1, 0].nan_to_num(torch.inf), levels[..., 1], axis)
    return look_up(h, table_at(floats, codes, place), axis)


def bank_of_table(thresholds: Float[Tensor, " *c k"], values: Float[Tensor, " *c k1"]) -> Bank | None:
    """A table in the form that is read fastest; None where thresholds lie too close together for any grid."""
    lookup, ranks = index_table(thresholds, values), rank_table(thresholds, values)
    if lookup is None:
        return None
    levels = level_table(thresholds, values)
    if ranks is not None and lookup.heights.nbytes > LARGE:
        return bank_of(ranks.shift, ranks.width, levels, codes=ranks.codes)
    return bank_of(lookup.shift, lookup.width, levels, lookup.heights, lookup.splits)


def along_of(curve: Curve, form: str, start: int) -> Along:
    """What a look-up is told of a curve whose numbers lie in a bank from `start` on."""
    power = int(curve.growth[0]) if curve.kind == "power" else 0
    return Along("power" if power else form, len(curve.centre), start, curve.lowest, curve.highest, power)


def table_at(floats: Float[Tensor, " f"], codes: UInt8[Tensor, " b"], place: Place) -> Lookup | Ranks:
    """The table that lies at a place of a bank."""
    channels, cells = place.channels, place.cells
    shift, per_width = (floats.narrow(0, place.constants + part * channels, channels) for part in (0, 1))
    width = 1 / per_width  # exact, for widths are powers of two
    if place.codes != NOWHERE:
        return Ranks(shift, width, codes.narrow(0, place.codes, channels * cells).view(channels, cells), _levels(floats, place))
    parted = place.splits != NOWHERE
    heights = floats.narrow(0, place.heights, channels * cells * (1 + parted)).view(channels, cells, *([2] if parted else []))
    splits = floats.narrow(0, place.splits, channels * cells).view(channels, cells) if parted else None
    starts = torch.arange(0, channels * cells, cells, dtype=torch.int32, device=floats.device)
    return Lookup(shift, width, starts, heights, splits)


def never_falls(floats: Float[Tensor, " f"], place: Place) -> bool:
    """Whether a table's values ascend, or stay, from each threshold to the next."""
    levels = _levels(floats, place)
    reached = ~levels[:, :-1, 0].isnan()
    return bool((levels[..., 1].diff(dim=1)[reached] >= 0).all())


def _levels(floats: Tensor, place: Place) -> Float[Tensor, "c r 2"]:
    return floats.narrow(0, place.levels, place.channels * place.ranks * 2).view(place.channels, place.ranks, 2)


def _unless(parameter: Parameter, neutral: float) -> Parameter | None:
    """The parameter, or None where it is the number that does nothing."""
    return None if not isinstance(parameter, Tensor) and parameter == neutral else parameter


def _axes(axis: Axis) -> tuple[int, ...]:
    return (axis,) if isinstance(axis, int) else axis
