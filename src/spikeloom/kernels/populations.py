"""
The kernels on tensors: what they serve, where the numbers lie, and how many threads share the work.

They serve float32 on a CPU, without gradients (`serves`), with channels that lie as `layout` says; elsewhere whoever calls them does
without. Results are those of `neuron.run_uniform` and `neuron.look_up`, bit for bit. Populations on a GPU
are handed on to Triton's kernel (`triton_populations`).
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.kernels import triton_populations
from spikeloom.kernels.bank import Place
from spikeloom.kernels.layout import Layout, layout_of
from spikeloom.kernels.threads import together

PIECE = 1024
"""How many neighbours a kernel works on together (`loops.PIECE`)."""
SHARE = 1 << 16
"""How many numbers are worth a thread."""
Axes = tuple[int, ...]


@final
class Plan(NamedTuple):
    """What a kernel is told of a tensor: whole numbers at an address, over how many pieces; `divided`: what stands
    beside the input lies as no kernel walks."""

    numbers: NDArray[np.uint64]
    address: int
    pieces: int
    divided: bool = False


def serves(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the kernels take such tensors at all."""
    tracking = torch.is_grad_enabled()
    for each in (x, *others):
        if each is not None and (each.dtype is not torch.float32 or not each.is_cpu or (tracking and each.requires_grad)):
            return False
    return True


def serves_population(x: Tensor, *others: Tensor | None) -> bool:
    """Whether `run_uniform` takes such tensors: on a CPU, or on a GPU by Triton."""
    return serves(x, *others) or triton_populations.serves(x, *others)


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
    """`neuron.run_uniform`: T steps of inputs [T·B, …], without decay or leak where they are None. Written to `out`, which may be x,
    where it is given. None where channels lie as no kernel walks."""
    if not x.is_cpu:
        told: dict[str, Any] = {"levels": levels, "negative": negative, "to_zero": to_zero, "gated": gated}
        return triton_populations.run_uniform(x, step, v0, decay, leak, **told, axes=axes, timesteps=timesteps, out=out)
    if timesteps > 1 and not x.is_contiguous():
        x, out = x.contiguous(), None
    channels = max(step.numel(), v0.numel(), 1 if decay is None else decay.numel(), 1 if leak is None else leak.numel())
    plan = _neuron_plan(x.shape, x.stride(), axes, channels, timesteps)
    if plan is None and not x.is_contiguous():
        x, out = x.contiguous(), None
        plan = _neuron_plan(x.shape, x.stride(), axes, channels, timesteps)
    if plan is None:
        return None
    o = torch.empty_like(x) if out is None else out
    held = [None if each is None else _even(each, channels) for each in (step, v0, decay, leak)]
    places = [0 if each is None else each.data_ptr() for each in held]
    arguments = (x.data_ptr(), o.data_ptr(), *places, float(-negative), float(levels), to_zero, gated, plan.address)
    _share(_loops().run_uniform, arguments, plan, o)
    return o


def look_up(
    x: Float[Tensor, " *any"],
    floats: Float[Tensor, " f"],
    codes: UInt8[Tensor, " b"],
    place: Place,
    axes: Axes,
    *,
    less: tuple[Tensor, ...] = (),
    gain: Tensor | None = None,
    out: Tensor | None = None,
) -> Float[Tensor, " *any"] | None:
    """`neuron.look_up` of (x - less)/gain in a table of a bank; up to two tensors may be subtracted, one after the other. Written to
    `out`, which may be x, where it is given. None where channels lie as no kernel walks. Raises IndexError where an input is not a
    number."""
    plan = _table_plan(x.shape, x.stride(), axes, place, _shape_beside(x, less, gain))
    if plan is None and x.is_contiguous():
        return None
    if plan is None or plan.divided:
        return look_up(driven(x, less, gain).contiguous(), floats, codes, place, axes)
    o = torch.empty_like(x) if out is None else out
    beside = [each.data_ptr() for each in less] + [0] * (2 - len(less)) + [0 if gain is None else gain.data_ptr()]
    given = (x.data_ptr(), o.data_ptr(), *beside, floats.data_ptr(), codes.data_ptr(), plan.address)
    if _share(_loops().look_up, given, plan, o):
        raise IndexError("a staircase has no value where its input is not a number")
    return o


def driven(x: Float[Tensor, " *any"], less: tuple[Tensor, ...], gain: Tensor | None) -> Float[Tensor, " *any"]:
    """(x - less)/gain"""
    for each in less:
        x = x - each
    return x if gain is None else x / gain


def _shape_beside(x: Tensor, less: tuple[Tensor, ...], gain: Tensor | None) -> Axes | None:
    """The shape that what is subtracted and the gain have; None where there are none, () where they are not of one kind with x."""
    beside = less if gain is None else (*less, gain)
    if not beside:
        return None
    shape = beside[0].shape
    alike = len(less) <= 2 and x.is_contiguous() and all(each.shape == shape and each.is_contiguous() for each in beside)
    return shape if alike else ()


@lru_cache(maxsize=1024)
def _neuron_plan(shape: Axes, strides: Axes, axes: Axes, channels: int, timesteps: int) -> Plan | None:
    layout = layout_of((shape[0] // timesteps, *shape[1:]), strides, axes, channels)
    return None if layout is None else _plan(layout, channels, timesteps)


@lru_cache(maxsize=4096)
def _table_plan(shape: Axes, strides: Axes, axes: Axes, place: Place, beside: Axes | None) -> Plan | None:
    layout, shared = layout_of(tuple(shape), strides, axes, place.channels), 1
    if layout is None:
        return None
    if beside is not None:
        layout, shared = _rowed(layout, shape, beside)
    starts = [start % (1 << 64) for start in place[3:]]
    return _plan(layout, place.channels, place.cells, place.ranks, max(shared, 1), *starts)._replace(divided=shared == 0)


def _rowed(layout: Layout, shape: Axes, beside: Axes) -> tuple[Layout, int]:
    """The layout whose rows each have one number of a tensor beside the input, and how many rows share it: 0 where it does not lie as
    [B, L, 1] does beside [B, L, C]."""
    kept = len(beside) - next((place for place, size in enumerate(reversed(beside)) if size != 1), len(beside))
    if len(beside) != len(shape) or tuple(beside[:kept]) != tuple(shape[:kept]):
        return layout, 0
    rest = math.prod(shape[kept:])
    if layout.groups == 1 and not layout.together:
        return Layout(math.prod(shape[:kept]), rest, 1, 1, False), 1
    return layout, rest // layout.length if rest % layout.length == 0 else 0


def _plan(layout: Layout, channels: int, *more: int) -> Plan:
    pieces = -(-layout.length // PIECE)
    told = (layout.rows * layout.length, layout.length, layout.mid, layout.groups, channels, int(layout.together), pieces, *more)
    numbers = np.array(told, np.uint64)
    return Plan(numbers, numbers.ctypes.data, layout.rows * pieces)


def _even(parameter: Tensor, channels: int) -> Tensor:
    """A parameter as one number for each channel, one after another."""
    return (parameter if parameter.numel() == channels else parameter.expand(channels)).contiguous()


def _share(kernel: Callable[..., bool], arguments: tuple[Any, ...], plan: Plan, o: Tensor) -> bool:
    """A kernel on all pieces, shared by as many threads as torch may use and the work is worth; whether it answered yes anywhere."""
    worth = o.numel() // SHARE
    threads = 1 if worth < 2 else min(torch.get_num_threads(), worth, plan.pieces)
    if threads == 1:
        return kernel(*arguments, 0, plan.pieces)
    ends = [plan.pieces * thread // threads for thread in range(threads + 1)]
    return any(together(lambda *piece: kernel(*arguments, *piece), list(pairwise(ends))))


@cache
def _loops() -> Any:
    """The compiled kernels; importing them takes seconds the first time, so nothing does before a population runs."""
    from spikeloom.kernels import loops

    return loops
