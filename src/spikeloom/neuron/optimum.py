"""
The least error that a function staircase can have, for comparison: exact, slow, and independent of how `builder` places thresholds.

    E(m, j) = min over i ≤ j of E(m - 1, i) + (error of one value for the bins i to j)            (1)

Source: Bruce 1965, "Optimum quantization" (MIT RLE report 429).
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from spikeloom.neuron.builder import Histogram


def least_staircase_error(f: Callable[[Tensor], Tensor], inputs: Histogram, stretches: int, every: int = 1) -> float:
    """The least E[(f(h) - s(h))²] over staircases of at most so many values, one for each stretch of h, whose thresholds lie on every
    `every`-th edge of the histogram; a bin's mass lies at its middle. Memory and time grow with the square of the edges that are tried."""
    edges, mass = inputs
    y = f((edges[1:] + edges[:-1]) / 2).numpy()
    w = (mass / mass.sum()).numpy()
    weight, value, square = (np.concatenate([[0.0], np.cumsum(w * y**k)])[::every] for k in range(3))
    span, total = weight[None] - weight[:, None], value[None] - value[:, None]
    error = np.where(span > 0, square[None] - square[:, None] - total**2 / np.where(span > 0, span, 1), np.inf)
    np.fill_diagonal(error, 0)
    best = error[0]
    for _ in range(stretches - 1):
        best = (best[:, None] + error).min(0)
    return float(best[-1])
