"""
What numba compiles for `critic`: all replays of what is remembered, on levels of one byte each, which stay near the processor.
"""

from typing import no_type_check

import numpy as np
from numba import njit

ANY_ORDER = {"reassoc", "contract"}
"""Sums may be taken in any order: without it no sum becomes SIMD."""


@njit(nogil=True, error_model="numpy", fastmath=ANY_ORDER)
@no_type_check
def _read(levels, readout):
    """Σ_i k_i·w_i"""
    total = np.float32(0.0)
    for i in range(levels.shape[0]):
        total += np.float32(levels[i]) * readout[i]
    return total


@njit(nogil=True, error_model="numpy", fastmath=ANY_ORDER)
@no_type_check
def _add(readout, levels, factor):
    """w_i + factor·k_i"""
    for i in range(readout.shape[0]):
        readout[i] += factor * np.float32(levels[i])


@njit(nogil=True, error_model="numpy", fastmath=ANY_ORDER)
@no_type_check
def _take(levels, features, per_step):
    """The levels of a row of features, and the sum of their squares."""
    energy = np.float32(0.0)
    for i in range(levels.shape[0]):
        level = features[i] * per_step + np.float32(0.5)
        levels[i] = np.uint8(np.int32(level))
        energy += np.float32(np.int32(level)) * np.float32(np.int32(level))
    return energy


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def learn(readout, features, targets, order, step, rate, batch, replays):
    """Changes `readout` [n + 1]: (3) of `critic` for features [rows, n + 1], levels times `step` and a 1, in this order, `batch` rows after
    `batch` rows, all of it `replays` times."""
    rows, neurons = features.shape[0], features.shape[1] - 1
    levels, wanted, errors = np.empty((rows, neurons), np.uint8), np.empty(rows, np.float32), np.empty(batch, np.float32)
    rates = np.zeros((rows + batch - 1) // batch, np.float32)
    weights, square = readout[:neurons] * step, step * step  # by level, not by height
    for row in range(rows):
        wanted[row] = targets[order[row]]
        rates[row // batch] += square * _take(levels[row], features[order[row]], np.float32(1.0) / step) + np.float32(1.0)
    for _ in range(replays):
        for part in range(rates.shape[0]):
            first, last, size = part * batch, min((part + 1) * batch, rows), rate / rates[part]
            for row in range(first, last):
                errors[row - first] = wanted[row] - (_read(levels[row], weights) + readout[neurons])
            for row in range(first, last):
                _add(weights, levels[row], size * square * errors[row - first])
                readout[neurons] += size * errors[row - first]
    readout[:neurons] = weights / step
