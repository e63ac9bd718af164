"""
What numba compiles for `step_size`: a step of every synapse in one pass over memory, the same arithmetic in the same order as torch's.
"""

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def ascend(weights, mean, square, rate, kept, epsilon):
    """Changes `weights`: (3) of `step_size`, `rate` being η/(1 − β₁ⁿ) and `kept` 1 − β₂ⁿ."""
    for i in range(weights.shape[0]):
        weights[i] += rate * mean[i] / (np.sqrt(square[i] / kept) + epsilon)
