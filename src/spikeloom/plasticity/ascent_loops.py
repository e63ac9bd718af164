"""
What numba compiles for `ascent`: a step of every synapse in one pass over memory.
"""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(nogil=True, error_model="numpy")
@no_type_check
def _ascend(weights, mean, square, asked, share, rate, kept, epsilon, old, new, older, newer):
    """(1) to (3) of `step_size` for one tensor. Only over whole arrays does LLVM make SIMD of it."""
    for i in range(weights.shape[0]):
        a = asked[i] / share
        m = old * mean[i] + new * a
        v = older * square[i] + newer * a * a
        mean[i], square[i] = m, v
        weights[i] += rate * m / (np.sqrt(v / kept) + epsilon)


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def ascend(weights, mean, square, asked, share, ends, numbers):
    """Changes `weights`, `mean` and `square` for `asked`/`share`; up to each of `ends` by a row of `numbers`: η/(1 − β₁ⁿ), 1 − β₂ⁿ, ε, β₁,
    1 − β₁, β₂, 1 − β₂."""
    first = 0
    for part in range(ends.shape[0]):
        last, n = ends[part], numbers[part]
        parts = weights[first:last], mean[first:last], square[first:last], asked[first:last]
        _ascend(*parts, share, n[0], n[1], n[2], n[3], n[4], n[5], n[6])
        first = last
