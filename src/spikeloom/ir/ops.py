"""
The operations a spiking program adds to ATen's: declared here by name and shape, given their meaning by `simulate`.

In the graph a population is symbolic: it has no number of time steps and holds no state. The simulator binds it to the
neuron law for the T it runs, as a batch of T steps or as a stream. Called directly, each returns an empty tensor of
the shape it would give, which is all that shape checking needs.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def population(
    x: Tensor,
    step: Tensor,
    v0: Tensor,
    decay: Tensor,
    leak: Tensor,
    *,
    levels: int,
    negative: int = 0,
    reset: str = "subtract",
    axis: int | tuple[int, ...] = 1,
    function: str = "relu",
    encoding: str = "graded",
) -> Tensor:
    """A population of identity staircases, o = step · clip(⌊h/step⌋, −negative, levels); DESIGN.md §4 (1)–(3). With reset "gated" it also
    takes back what it sent too early (`neuron.uniform` (4)): `negative` is what its mean can be below 0.

    `x` is the input current of any shape; `step`, `v0`, `decay`, `leak` are scalars or vectors along `axis` (several axes
    together are H·D channels: heads and their features);
    `function` names the ANN activation the population stands for. Returns the shape of `x`.
    """
    return torch.empty_like(x)


def staircase(
    x: Tensor,
    thresholds: Tensor,
    values: Tensor,
    gain: Tensor | None = None,
    *,
    axis: int | tuple[int, ...] = 1,
    function: str = "gelu",
    encoding: str = "graded",
) -> Tensor:
    """A population of function staircases, o = values[#{k: x ≥ gain·thresholds_k}]; DESIGN.md §4 (2) with free heights.

    `thresholds` is [K] or [C, K] (C along `axis`), sorted; `values` is [K+1] or [C, K+1]; `gain`, where there is one, is what
    another population sends, positive, and broadcasts over `x`. Returns the shape of `x`.
    """
    return torch.empty_like(x)


OPERATIONS: Mapping[str, Callable[..., Any]] = {"spikeloom.population": population, "spikeloom.staircase": staircase}
