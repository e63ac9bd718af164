"""
Many steps in a row of all the weights of a network (`step_size`), in memory that is asked for once.

Weights, means, squares and what is asked for lie in four stretches of memory; a step is one pass over them. The numbers are those of
`StepSize.step`, to the last bits of a square root.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from spikeloom.plasticity.step_size import StepSize, StepSizeState

LINE = 16
"""Every tensor begins at a multiple of so many numbers: one begins as it would by itself, at a line of the cache."""


@final
class Ascent:
    """Copies of weights and their states (float32, on a CPU), which `step_` changes. `asked` are tensors of the weights' shapes for the
    caller to fill."""

    def __init__(self, how: Sequence[StepSize], weights: Sequence[Tensor], states: Sequence[StepSizeState]) -> None:
        self.steps = np.array([state.steps for state in states])
        self._rates = np.array([each.rate for each in how])
        self._betas = np.array([[each.beta_mean for each in how], [each.beta_square for each in how]])
        told = [(0.0, 0.0, each.epsilon, *_kept(each.beta_mean), *_kept(each.beta_square)) for each in how]
        self._numbers = np.array(told, np.float32)
        sizes = [-(-weight.numel() // LINE) * LINE for weight in weights]
        self._ends = np.cumsum(sizes)
        self._weights, self._mean, self._square, self._asked = (torch.zeros(int(self._ends[-1])) for _ in range(4))
        parts = [[each.narrow(0, int(end) - size, size) for end, size in zip(self._ends, sizes, strict=True)] for each in self._memory]
        views = [[part[: weight.numel()].view(weight.shape) for part, weight in zip(each, weights, strict=True)] for each in parts]
        self.weights, self._means, self._squares, self.asked = (tuple(each) for each in views)
        for weight, state, *own in zip(weights, states, self.weights, self._means, self._squares, strict=True):
            for mine, given in zip(own, (weight, state.mean, state.square), strict=True):
                mine.copy_(given)
        self._arrays = [each.numpy() for each in self._memory]

    @property
    def _memory(self) -> tuple[Tensor, ...]:
        return self._weights, self._mean, self._square, self._asked

    def step_(self, share: int = 1) -> None:
        """The weights have gone up by what was `asked`, which was summed over `share` samples: in the mean over them."""
        self.steps = self.steps + 1
        self._numbers[:, 0], self._numbers[:, 1] = self._rates / (1 - self._betas[0] ** self.steps), 1 - self._betas[1] ** self.steps
        _ascend()(*self._arrays, np.float32(share), self._ends, self._numbers)

    def reached(self) -> tuple[tuple[Tensor, ...], tuple[StepSizeState, ...]]:
        """Weights and states as they are now; later steps leave them as they are."""
        found = zip(self._means, self._squares, self.steps, strict=True)
        states = tuple(StepSizeState(mean.clone(), square.clone(), int(steps)) for mean, square, steps in found)
        return tuple(weight.clone() for weight in self.weights), states


def _kept(beta: float) -> tuple[float, float]:
    return beta, 1 - beta


@cache
def _ascend() -> Any:
    """The compiled loop; importing it takes a second the first time, so nothing does before something is learnt."""
    from spikeloom.plasticity.ascent_loops import ascend

    return ascend
