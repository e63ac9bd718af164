"""
Weights as mantissas of 8 bits with an exponent: w = Σ_j m_j·2^(e_j), one synapse where that is exact, else several side by side.

    one        m in -128…127 of both signs, 0…255, or -255…0, e in 0…7
    several    m_0 in -64…63 with e = 0, and up to seven m_j in -128…127 with e = 7, as few as hold the largest
"""

from typing import NamedTuple

from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.loihi2.limits import LIMITS

SYNAPSES = 8
"""How many synapses one weight may take; ours."""
MOST = (-128 * 128 * (SYNAPSES - 1) - 64, 127 * 128 * (SYNAPSES - 1) + 63)
"""The least and the greatest weight that they hold."""


class Term(NamedTuple):
    """mantissa·2^exponent."""

    mantissa: Int[ndarray, "..."]
    exponent: int


def fits(mantissa: Int[ndarray, "..."]) -> bool:
    """Whether one synapse of 8 bits holds each of them, with one sign for all or a sign of their own."""
    low, high = int(mantissa.min(initial=0)), int(mantissa.max(initial=0))
    return (low >= -128 and high <= 127) or (low >= 0 and high <= 255) or (high <= 0 and low >= -255)


def terms(weight: Int[ndarray, "..."]) -> tuple[Term, ...]:
    """The terms of weights; none where `SYNAPSES` do not hold them."""
    for exponent in range(LIMITS["weight_exponent"].value + 1):
        mantissa = weight >> exponent
        if bool((mantissa << exponent == weight).all()) and fits(mantissa):
            return (Term(mantissa, exponent),)
    if int(weight.min()) < MOST[0] or int(weight.max()) > MOST[1]:
        return ()
    low = ((weight + 64) & 127) - 64
    high = (weight - low) >> 7
    count = max(-(-int(high.max()) // 127), -(int(high.min()) // 128), 1)
    return (Term(low, 0), *(Term((high + place) // count, 7) for place in range(count)))  # Hermite: the parts add up to the whole
