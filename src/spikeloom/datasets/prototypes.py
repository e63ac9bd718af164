"""
The seed task: K random patterns of D bits, the prototypes. A sample is a prototype, its label the prototype's number.

    prototypes                784 bits, 10 prototypes, those drawn from seed 0
    prototypes:784x10         so many bits and prototypes
    prototypes:784x10/3       those drawn from seed 3

Noise is not in the data: whoever trains or measures adds it. What is known of this task is how well anybody can do. Bits that turn over
independently, all with one probability below 1/2, are answered best (Bayes) by the matched filter, which knows the prototypes p:

    k(x) = argmin_k Σ_i |x_i - p_ki|        the nearest prototype by Hamming distance                (1)

Source: (1) is the maximum-likelihood decoder of the binary symmetric channel (Cover & Thomas, Elements of Information Theory, §7).
"""

import re
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.datasets.source import Labels, Splits
from spikeloom.errors import DataError

BITS, PROTOTYPES = 784, 10
SAMPLES = {"train": 20_000, "test": 50_000}
"""Samples of each split: of 50,000 answers near the limit at 45 % noise the share of right ones is known to 0.15 points (one deviation)."""
MOST_BITS, MOST_PROTOTYPES, MOST_SEED = 65_536, 1_000, 2**32 - 1

_PLACE = re.compile(r"^(\d+)x(\d+)(?:/(\d+))?$")
_ALLOWED = f"prototypes:<bits>x<prototypes>[/<seed>], 1 to {MOST_BITS} bits, 2 to {MOST_PROTOTYPES} prototypes, such as prototypes:784x10"


@final
@dataclass(frozen=True, eq=False)
class Prototypes:
    """A source of samples that are prototypes: sample i is `patterns[labels[i]]`, float32 [D] of 0 and 1."""

    patterns: NDArray[np.float32]
    labels: Labels

    @property
    def classes(self) -> tuple[str, ...]:
        """The prototypes' numbers."""
        return tuple(str(number) for number in range(len(self.patterns)))

    def picture(self, row: int) -> NDArray[np.float32]:
        """The bits at a row."""
        return self.patterns[self.labels[row]]


def drawn(bits: int, count: int, seed: int) -> NDArray[np.float32]:
    """So many different patterns of so many bits, each bit 0 or 1 as likely; [count, bits]. DataError where there are not so many."""
    if bits < 32 and count > 2**bits:
        raise DataError("there are not so many different prototypes", found=f"{count} of {bits} bits", allowed=f"{2**bits} at most")
    generator, found = np.random.default_rng(seed), dict[bytes, NDArray[np.float32]]()
    while len(found) < count:
        pattern = generator.integers(0, 2, bits).astype(np.float32)
        found.setdefault(pattern.tobytes(), pattern)
    return np.stack(list(found.values()))


def open_prototypes(place: str = f"{BITS}x{PROTOTYPES}") -> Splits:
    """The splits train and test, of the same prototypes: each class as often as any other, in an order of its own.

    DataError where the place does not say bits and prototypes in range.
    """
    match = _PLACE.match(place)
    bits, count, seed = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if not (1 <= bits <= MOST_BITS and 2 <= count <= MOST_PROTOTYPES and seed <= MOST_SEED):
        raise DataError("the prototypes cannot be drawn", found=f"prototypes:{place}", allowed=_ALLOWED)
    return {split: partial(_open, bits, count, seed, samples) for split, samples in SAMPLES.items()}


def _open(bits: int, count: int, seed: int, samples: int) -> Prototypes:
    order = np.random.default_rng([seed, samples]).permutation(samples)
    return Prototypes(drawn(bits, count, seed), order.astype(np.int64) % count)


def matched_filter(patterns: Float[Tensor, "k d"], x: Float[Tensor, "b d"]) -> Int64[Tensor, " b"]:
    """(1), for x of 0 and 1; of prototypes equally near the first."""
    distance = x.sum(1, keepdim=True) + patterns.sum(1) - 2 * torch.nn.functional.linear(x, patterns)
    return distance.argmin(1)
