"""
Populations of a spiking program, read: their parameters in float64, and what of them the layers behind need.
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, fx

from spikeloom.backend.lower.neurons import Neurons
from spikeloom.ir import Program, Quantised, kwargs_of, note, population, read, staircase, weighted, weights_of

UNIT = "unit"
"""A note of a grounded staircase: what one of its whole heights is worth, for each channel."""
ENCODES = "input"
"""What the staircase behind a grounded network's input stands for."""


def encodes(node: fx.Node) -> bool:
    """Whether a staircase only puts the input onto its grid (see `grounded`)."""
    return node.target is staircase and kwargs_of(node).get("function") == ENCODES


def noted_unit(node: fx.Node) -> Float[ndarray, " _"] | None:
    """The unit that grounding noted of a staircase's heights."""
    return np.asarray(note(node)[UNIT], dtype=np.float64) if UNIT in note(node) else None


def neurons_of(node: fx.Node, program: Program) -> Neurons:
    """The parameters of a population node, in float64."""
    axis = kwargs_of(node).get("axis", 1)
    constants = [read(program.tensor(operand)).detach().double().numpy() for operand in node.args[1:]]
    rank = len(node.meta["spec"][0]) - 1
    place = 0 if not isinstance(axis, int) else (axis - 1 if axis > 0 else rank + axis)
    if node.target is staircase:
        thresholds, values = (np.atleast_2d(part) for part in constants[:2])
        return _with_steps(Neurons(node.name, np.where(np.isnan(thresholds), np.inf, thresholds), values, place))
    step, start, decay, leak = (np.atleast_1d(part) for part in constants)
    options = kwargs_of(node)
    ladder = np.arange(-options.get("negative", 0), options["levels"] + 1, dtype=np.float64)
    levels = step[:, None] * ladder
    return Neurons(node.name, levels[:, 1:], levels, place, step, start, decay, leak, options.get("reset", "subtract"))


def _with_steps(neurons: Neurons) -> Neurons:
    """A staircase that is a shifted identity, told by its step and start; another as it is."""
    thresholds, heights = neurons.thresholds, neurons.heights
    step = heights[:, 1] - heights[:, 0]
    steady = (np.abs(np.diff(heights, axis=1) - step[:, None]) <= 1e-5 * np.abs(step)[:, None]).all() and (step > 0).all()
    if not steady or thresholds.shape[0] != heights.shape[0] or not np.isfinite(thresholds).all():
        return neurons
    if not (np.abs(np.diff(thresholds, axis=1) - step[:, None]) <= 1e-5 * step[:, None]).all():
        return neurons
    return dataclasses.replace(neurons, step=step, start=heights[:, 1] - thresholds[:, 0], thresholds=heights[:, 1:])


def shares_unit(node: fx.Node, program: Program) -> bool:
    """Whether all channels of a staircase must have one unit, because a layer behind it has codes that stay as they are only then."""
    codes = [weight for weight in _weights_after(node, program) if isinstance(weight, Quantised)]
    return node.target is staircase and any(weight.scale.shape[1] == 1 for weight in codes)


def _weights_after(node: fx.Node, program: Program) -> list[Tensor]:
    """The weights of the layers that read what a population sends, moved or pooled or not."""
    found, waiting = list[Tensor](), list(node.users)
    while waiting:
        user = waiting.pop()
        if user.target in (population, staircase) or user.op == "output":
            continue
        if weighted(user):
            found.append(weights_of(user, program.tensors)[0])
            continue
        waiting += [reader for reader in user.users if reader not in waiting]
    return found
