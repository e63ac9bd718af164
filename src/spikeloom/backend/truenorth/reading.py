"""
What a layer of gates reads, row by row, and by how many axons.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.truenorth import limits
from spikeloom.backend.truenorth.codes import Code, code_for, divisors
from spikeloom.backend.truenorth.gates import Gates, Matrix

PULSE = 3
"""The axon type of pulses; weights have the other three where pulses are."""


class Row(NamedTuple):
    """What a neuron reads: [n, 2] of (source, element), and the weights [n]."""

    columns: ndarray
    values: ndarray


def stacked(gates: Gates) -> Matrix:
    """All that a layer reads side by side, its sources in order."""
    return Matrix(sp.hstack([gates.reads[source] for source in sorted(gates.reads)]))


def firsts_of(gates: Gates) -> dict[int, int]:
    """The first column of each source in `stacked`."""
    firsts, first = dict[int, int](), 0
    for source, size in gates.sizes.items():
        firsts[source] = first
        first += size
    return firsts


def flat(columns: Int[ndarray, "n 2"], firsts: dict[int, int]) -> Int[ndarray, " n"]:
    """(source, element) as columns of `stacked`."""
    return np.array([firsts[source] + element for source, element in columns.tolist()], np.int64)


def rows_of(gates: Gates) -> list[Row]:
    """For each neuron (source, element) of what it reads, and the weights."""
    matrix, columns = stacked(gates), list[ndarray]()
    for source, size in gates.sizes.items():
        columns.append(np.stack([np.full(size, source), np.arange(size)], 1))
    names, starts = np.concatenate(columns), np.asarray(matrix.indptr)
    return [Row(names[matrix.indices[a:b]], matrix.data[a:b].astype(np.int64)) for a, b in pairwise(starts.tolist())]


def shifts(rows: list[Row]) -> Int[ndarray, " r"]:
    """The sum of each row's negative weights, as a positive number."""
    return np.array([int(-values.clip(max=0).sum()) for _, values in rows], np.int64)


def ends(gates: Gates) -> tuple[int, int]:
    """The least and the greatest weight, and 0."""
    values = stacked(gates).data
    return int(values.min(initial=0)), int(values.max(initial=0))


def code_of(gates: Gates, types: int) -> Code | None:
    """The code of a layer's weights, each row divided by what its weights have in common."""
    rows = rows_of(gates)
    gcd = divisors([values for _, values in rows])
    low = min((int((values // each).min(initial=0)) for (_, values), each in zip(rows, gcd, strict=True)), default=0)
    high = max((int((values // each).max(initial=0)) for (_, values), each in zip(rows, gcd, strict=True)), default=0)
    code = code_for(low, high, types)
    if code is not None and int(gcd.max()) * max(map(abs, code.bases)) <= limits.WEIGHT:
        return code
    return code_for(*ends(gates), types)


def cheaper(gates: Gates) -> bool:
    """Whether partial sums are likely to take fewer cores: many inputs to many neurons, most of them to each."""
    code, matrix = code_of(gates, PULSE), stacked(gates)
    each = 0 if code is None else code.axons
    return np.unique(matrix.indices).size * each >= limits.AXONS and matrix.nnz * each > limits.AXONS * 4


def fan(gates: Gates, types: int = limits.TYPES) -> int:
    """The most axons that a neuron needs."""
    code = code_of(gates, types)
    if code is None:
        return 0
    rows = rows_of(gates)
    gcd = divisors([values for _, values in rows])
    whole = int(gcd.max()) * max(map(abs, code.bases)) > limits.WEIGHT
    return max(int(code.counts(values if whole else values // each).sum()) for (_, values), each in zip(rows, gcd, strict=True))
