"""
The uniform identity staircase, fast: what IF, LIF, SFN and multi-threshold populations run.

    h[t] = a·v[t-1] + x[t] - l                                 (1)
    o[t] = s·clip(floor(h[t]/s), -negative, levels)            (2)  s the step (the height of one level)
    v[t] = h[t] - o[t], or h[t] where o[t] = 0, else 0         (3)

A gated population (reset "gated") has spikes below 0 as well, as many as take back what it sent: in (2) `negative` is then
min(levels, n[t-1]), n the levels sent so far, n[t] = n[t-1] + o[t]/s. Its mean is never below 0.     (4)

Time is folded into the batch, time-major: x is [T·B, ...]. Without gradients everything happens in place on one buffer of our own:
at T=1 five passes over memory (add, divide, floor, clip, multiply). The division is a true one, so that a rational tie such as
h = 2·s falls on its upper side exactly (half-up when v[0] = s/2); torch.fake_quantize rounds ties to even and is slower on CPU.

With gradients the floor passes them straight through inside the range and the clip stops them outside (Bengio et al. 2013,
arXiv 1308.3432); step, v[0], decay and leak receive theirs too, for step that of LSQ (Esser et al. 2020, arXiv 1902.08153).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from spikeloom.neuron.channel import Axis, Parameter, along, tracked
from spikeloom.neuron.law import Reset


def fire(h: Float[Tensor, " *any"], step: Float[Tensor, " *c"], levels: int, negative: int, axis: Axis) -> Float[Tensor, " *any"]:
    """Equation (2) on any shape; `step` is 0-dim or one per channel on `axis`. `h` is left as it was."""
    s = along(step, axis, h)
    if not tracked(h, step):
        return torch.div(h, s).floor_().clamp_(-negative, levels).mul_(s)
    z = h / s
    level = z.floor() + (z - z.detach())  # adds an exact zero, and the gradient of the identity
    return level.clamp(-negative, levels) * s


def fire_(h: Float[Tensor, " *any"], step: Float[Tensor, " *c"], levels: int, negative: int, axis: Axis) -> Float[Tensor, " *any"]:
    """`fire` written over `h`; nothing here may need a gradient."""
    s = along(step, axis, h)
    return h.div_(s).floor_().clamp_(-negative, levels).mul_(s)


def passes(
    h: Float[Tensor, " *any"], v0: Parameter, step: Float[Tensor, " *c"], levels: int, negative: int, axis: Axis
) -> Float[Tensor, " *any"]:
    """What `fire` passes back of a gradient at T = 1: 1 where h + v[0] lies inside the range of its levels, 0 outside."""
    z = torch.add(h, along(v0, axis, h) if isinstance(v0, Tensor) else v0).div_(along(step, axis, h)).floor_()
    return z.ge(-negative).logical_and_(z.le(levels)).to(h.dtype)


def init_uniform(x_t: Float[Tensor, " b *rest"], v0: Parameter, *, axis: Axis) -> Float[Tensor, " b *rest"]:
    """The membrane before the first step, v[0] for every neuron of the input x_t [B, ...]."""
    return _broadcast(v0, axis, x_t).expand_as(x_t).clone()


class Gated(NamedTuple):
    """What a gated population remembers: its membrane, and how many levels it sent in all."""

    v: Float[Tensor, " *any"]
    sent: Float[Tensor, " *any"]


Membrane = Tensor | Gated
"""What a population remembers between steps. A bare membrane has sent nothing yet."""


def advance_uniform(
    x_t: Float[Tensor, " b *rest"],
    v: Membrane,
    step: Float[Tensor, " *c"],
    decay: Parameter,
    leak: Parameter,
    *,
    levels: int,
    negative: int,
    reset: Reset,
    axis: Axis,
) -> tuple[Float[Tensor, " b *rest"], Membrane]:
    """One step, equations (1)-(4): (input [B, ...], membrane that broadcasts to it) → (output, membrane). Writes into neither."""
    if reset == "gated" or isinstance(v, Gated):
        state = v if isinstance(v, Gated) else Gated(v, torch.zeros_like(x_t))
        return _advance_gated(x_t, state, step, decay, leak, levels, axis)
    h = _integrate(x_t, v, decay, leak, axis)
    o = fire(h, step, levels, negative, axis)
    if reset == "zero":
        return o, h.masked_fill(o != 0, 0.0)
    return o, h - o if tracked(h, o) else h.sub_(o)


def run_uniform(
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
) -> Float[Tensor, " tb *rest"]:
    """T steps from v[0]: inputs [T·B, ...], time-major, to outputs of the same shape.

    Decay and leak cost nothing where they are the Python numbers 1.0 and 0.0.
    """
    v = _broadcast(v0, axis, x)
    negative = 0 if reset == "gated" else negative
    if timesteps == 1:
        h = _integrate(x, v, decay, leak, axis)
        return (fire if tracked(h, step) else fire_)(h, step, levels, negative, axis)
    if _is(decay, 1.0) and _is(leak, 0.0) and reset == "subtract" and not tracked(x, v, step) and not torch.compiler.is_compiling():
        return _run_plain(x, along(step, axis, x), v, levels, negative, timesteps)
    return continue_uniform(x, v, step, decay, leak, levels=levels, negative=negative, reset=reset, axis=axis, timesteps=timesteps)[0]


def continue_uniform(
    x: Float[Tensor, " tb *rest"],
    v: Membrane,
    step: Float[Tensor, " *c"],
    decay: Parameter,
    leak: Parameter,
    *,
    levels: int,
    negative: int,
    reset: Reset,
    axis: Axis,
    timesteps: int,
) -> tuple[Float[Tensor, " tb *rest"], Membrane]:
    """T steps on from a membrane that broadcasts to [B, ...]: (inputs [T·B, ...], time-major, membrane) → (outputs, membrane)."""
    outputs: list[Tensor] = []
    for x_t in x.unflatten(0, (timesteps, -1)).unbind(0):
        o, v = advance_uniform(x_t, v, step, decay, leak, levels=levels, negative=negative, reset=reset, axis=axis)
        outputs.append(o)
    return torch.cat(outputs), v


def _advance_gated(
    x_t: Tensor, state: Gated, step: Tensor, decay: Parameter, leak: Parameter, levels: int, axis: Axis
) -> tuple[Tensor, Membrane]:
    """One step of (4). How much was sent is counted, and has no gradient."""
    h, s = _integrate(x_t, state.v, decay, leak, axis), along(step, axis, x_t)
    z = h / s
    whole = z.detach().floor()
    least = 0.0 - state.sent.clamp_max(levels)
    level = torch.maximum(whole + (z - z.detach()) if tracked(h, s) else whole, least).clamp_max(levels)
    o = level * s
    return o, Gated(h - o, state.sent + level.detach())


def _run_plain(x: Tensor, step: Tensor, v0: Tensor, levels: int, negative: int, timesteps: int) -> Tensor:
    """`run_uniform` of neurons that keep all of their membrane, without gradients: the same numbers in two buffers."""
    outputs = torch.empty_like(x)
    inputs, sent = (value.unflatten(0, (timesteps, -1)).unbind(0) for value in (x, outputs))
    v = v0 + inputs[0]
    for t, o in enumerate(sent):
        if t > 0:
            v.add_(inputs[t])
        torch.div(v, step, out=o).floor_().clamp_(-negative, levels).mul_(step)
        v.sub_(o)
    return outputs


def _integrate(x: Tensor, v: Tensor, decay: Parameter, leak: Parameter, axis: Axis) -> Float[Tensor, " *any"]:
    """Equation (1), in a buffer of its own."""
    kept = v if _is(decay, 1.0) else _broadcast(decay, axis, x) * v
    h = kept + x
    if _is(leak, 0.0):
        return h
    lost = _broadcast(leak, axis, x)
    return h - lost if tracked(h, lost) else h.sub_(lost)


def _broadcast(parameter: Parameter, axis: Axis, like: Float[Tensor, " *any"]) -> Tensor:
    if isinstance(parameter, Tensor):
        return along(parameter, axis, like)
    return torch.full((), parameter, dtype=like.dtype, device=like.device)


def _is(parameter: Parameter, number: float) -> bool:
    """Whether `parameter` is this very Python number; a tensor's value is not looked at (that would break a compiled graph)."""
    return not isinstance(parameter, Tensor) and parameter == number
