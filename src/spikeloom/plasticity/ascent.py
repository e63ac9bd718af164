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
        self.how, self.steps = tuple(how), [state.steps for state in states]
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
        self.steps = [steps + 1 for steps in self.steps]
        rows = [
            (how.rate / (1 - how.beta_mean**n), 1 - how.beta_square**n, how.epsilon, *_kept(how.beta_mean), *_kept(how.beta_square))
            for how, n in zip(self.how, self.steps, strict=True)
        ]
        _loops().ascend(*self._arrays, np.float32(share), self._ends, np.array(rows, np.float32))

    def reached(self) -> tuple[tuple[Tensor, ...], tuple[StepSizeState, ...]]:
        """Weights and states as they are now; later steps leave them as they are."""
        found = zip(self._means, self._squares, self.steps, strict=True)
        states = tuple(StepSizeState(mean.clone(), square.clone(), steps) for mean, square, steps in found)
        return tuple(weight.clone() for weight in self.weights), states


def _kept(beta: float) -> tuple[float, float]:
    return beta, 1 - beta


@cache
def _loops() -> Any:
    """The compiled loop; importing it takes a second the first time, so nothing does before something is learnt."""
    from spikeloom.plasticity import ascent_loops

    return ascent_loops
