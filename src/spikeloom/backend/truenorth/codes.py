"""
Weights by axon types: a neuron has one weight for each of four types, so that an input reaches it by as many axons as its weight needs.

    w = Σ_k n_k·b_k      0 ≤ n_k ≤ copies of type k;  b_1 = 1, b_k = b_(k-1)·(copies_(k-1) + 1), the last of them -least

Ternary weights are two types, 1 and -1, one axon each (Esser et al., PNAS 113(41), 2016). A row whose weights have a common divisor
has it in its own four weights.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.truenorth.limits import WEIGHT


@final
@dataclass(frozen=True)
class Code:
    """What the types stand for, and how many axons of each an input has."""

    bases: tuple[int, ...]
    copies: tuple[int, ...]

    @property
    def axons(self) -> int:
        """Axons of an input that needs all."""
        return sum(self.copies)

    def counts(self, values: Int[ndarray, " n"]) -> Int[ndarray, "n k"]:
        """How many axons of each type make each value."""
        found, left = np.zeros((len(values), len(self.bases)), np.int64), values.copy()
        positive = len(self.bases)
        if self.bases[-1] < 0 < self.bases[0]:
            positive -= 1
            found[:, positive] = left < 0
            left = left - found[:, positive] * self.bases[-1]
        for place in reversed(range(positive)):
            found[:, place] = (left // self.bases[place]).clip(0, self.copies[place])
            left = left - found[:, place] * self.bases[place]
        return found


@cache
def code_for(low: int, high: int, types: int) -> Code | None:
    """The code with the fewest axons that holds all of low … high in so many types; None where none does."""
    if high <= 0 and low < 0:
        found = code_for(0, -low, types)
        return None if found is None else Code(tuple(-base for base in found.bases), found.copies)
    positive, least = types - (low < 0), max(high, -low - 1)
    ways = (copies for count in range(1, positive + 1) for copies in combinations_with_replacement(range(1, 17), count))
    best = min((copies for copies in ways if math.prod(each + 1 for each in copies) > least), key=sum, default=None)
    if best is None:
        return None
    bases = [1]
    for copies in best[:-1]:
        bases.append(bases[-1] * (copies + 1))
    if low < 0:
        return _held(Code((*bases, low), (*best, 1)))
    return _held(Code(tuple(bases), best))


def _held(code: Code) -> Code | None:
    return code if max(abs(base) for base in code.bases) <= WEIGHT else None


def divisors(rows: Sequence[ndarray]) -> Int[ndarray, " r"]:
    """The common divisor of each row's weights; 1 for a row of zeros."""
    return np.array([max(int(np.gcd.reduce(row)) if len(row) else 1, 1) for row in rows], np.int64)
