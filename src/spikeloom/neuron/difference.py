"""
Any function over time: it reads running means and emits differences (DESIGN.md §4).

    x̄[t] = (x[1] + … + x[t]) / t                              (1)
    y[t] = t·f(x̄[t]) - (t-1)·f(x̄[t-1])                        (2)

so that the mean of y over T steps is f of the mean input, exactly but for rounding. At T=1 this is f itself. Softmax, normalisation,
products of two spike trains, max-pooling and function staircases run like this. A function may give several tensors, as a tuple. Known
as expectation compensation (ECMT, Huang et al., ACM MM 2024).
"""

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Running(NamedTuple):
    """What a function over time remembers: steps done (0-dim), the sums of its inputs, and the sum of what it emitted, t·f(x̄[t]), a tuple
    where f gives one."""

    steps: Float[Tensor, ""]
    totals: tuple[Tensor, ...]
    emitted: Any


def difference_over_time(f: Callable[..., Any], *xs: Float[Tensor, " tb ..."], timesteps: int) -> Any:
    """Equation (2) for inputs [T·B, ...], time-major. `f` sees all steps at once as a larger batch and must treat dimension 0 as batch."""
    if timesteps == 1:
        return f(*xs)
    return _each(partial(_differences, timesteps), f(*(running_mean(x, timesteps) for x in xs)))


def _differences(timesteps: int, y: Tensor) -> Tensor:
    """(2) of f(x̄) at every step. No function within another, here and below: in tests torch.compile could not trace it."""
    scaled = y.unflatten(0, (timesteps, -1))
    scaled = scaled * _counts(scaled)
    return torch.cat([scaled[:1], scaled[1:] - scaled[:-1]]).flatten(0, 1)


def running_mean(x: Float[Tensor, " tb *rest"], timesteps: int) -> Float[Tensor, " tb *rest"]:
    """Equation (1) for every step at once."""
    totals = torch.stack(list(accumulate(x.unflatten(0, (timesteps, -1)).unbind(0), torch.add)))
    return (totals / _counts(totals)).flatten(0, 1)


def init_difference(f: Callable[..., Any], *xs_t: Float[Tensor, " b ..."]) -> Running:
    """The memory before the first step, for inputs shaped like xs_t [B, ...]; `f` is called once, for the shape of its output."""
    totals = tuple(torch.zeros_like(x) for x in xs_t)
    return Running(torch.zeros((), dtype=xs_t[0].dtype, device=xs_t[0].device), totals, _each(torch.zeros_like, f(*totals)))


def advance_difference(f: Callable[..., Any], state: Running, *xs_t: Float[Tensor, " b ..."]) -> tuple[Any, Running]:
    """One step of equation (2): (memory, inputs [B, ...]) → (output, memory)."""
    steps = state.steps + 1
    totals = tuple(total + x for total, x in zip(state.totals, xs_t, strict=True))
    emitted = _each(lambda y: y * steps, f(*(total / steps for total in totals)))
    return _each(torch.sub, emitted, state.emitted), Running(steps, totals, emitted)


def continue_difference(f: Callable[..., Any], state: Running | None, *xs: Float[Tensor, " tb ..."], timesteps: int) -> tuple[Any, Running]:
    """T steps of equation (2) on from a memory (None: rest): (inputs [T·B, ...], time-major) → (outputs, memory)."""
    parts = [x.unflatten(0, (timesteps, -1)).unbind(0) for x in xs]
    before = [None] * len(xs) if state is None else state.totals
    totals = [list(accumulate(part if total is None else (total + part[0], *part[1:]))) for part, total in zip(parts, before, strict=True)]
    counts = torch.arange(1, timesteps + 1, dtype=xs[0].dtype, device=xs[0].device) + (0 if state is None else state.steps)
    means = [(stacked / _along(counts, stacked)).flatten(0, 1) for stacked in map(torch.stack, totals)]
    scaled = _each(partial(_scaled, counts), f(*means))
    outputs = _each(_onwards, scaled, *(() if state is None else (state.emitted,)))
    return outputs, Running(counts[-1], tuple(total[-1] for total in totals), _each(lambda every: every[-1], scaled))


def _scaled(counts: Tensor, y: Tensor) -> Tensor:
    """t·f(x̄[t]) of f(x̄) at every step."""
    scaled = y.unflatten(0, (len(counts), -1))
    return scaled * _along(counts.to(scaled.dtype), scaled)


def _onwards(scaled: Tensor, *emitted: Tensor) -> Tensor:
    """(2) of t·f(x̄[t]), after what was emitted before."""
    first = scaled[:1] - emitted[0] if emitted else scaled[:1]
    return torch.cat([first, scaled[1:] - scaled[:-1]]).flatten(0, 1)


def step_by_step(f: Callable[..., Any], timesteps: int) -> Callable[..., Any]:
    """f of [T·B, …] inputs as f of each step's batch [B, …] alone, for an f that computes across the samples of a batch."""

    def function(*xs: Tensor) -> Any:
        steps = [f(*parts) for parts in zip(*(x.unflatten(0, (timesteps, -1)).unbind(0) for x in xs), strict=True)]
        return _each(lambda *ys: torch.cat(ys), *steps)

    return f if timesteps == 1 else function


def _each(of: Callable[..., Tensor], *values: Any) -> Any:
    """What `of` gives of values that are tensors, or of those in the same place of values that are tuples; whole numbers in tuples
    (which one the maximum was) stay as they are."""
    if isinstance(values[0], tuple):
        return tuple(of(*parts) if parts[0].is_floating_point() else parts[0] for parts in zip(*values, strict=True))
    return of(*values)


def _along(counts: Float[Tensor, " t"], like: Float[Tensor, " t *any"]) -> Tensor:
    return counts.view(-1, *[1] * (like.ndim - 1))


def _counts(like: Float[Tensor, " t *any"]) -> Tensor:
    """1 … T along dimension 0 of `like`."""
    return _along(torch.arange(1, like.shape[0] + 1, dtype=like.dtype, device=like.device), like)
