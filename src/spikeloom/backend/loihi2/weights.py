"""
Weights as mantissas of 8 bits with an exponent: w = Σ_j m_j·2^(e_j), one term where that is exact, else two (a synapse each).

    one    m in -128…127 of both signs, 0…255, or -255…0, e in 0…7
    two    m_0 in -64…63 with e = 0, m_1 in -128…127 with e = 7, which holds every whole number from -16,448 to 16,319
"""

from typing import NamedTuple

from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.loihi2.limits import LIMITS

MOST = (-128 * 128 - 64, 127 * 128 + 63)
"""The least and the greatest weight that two terms hold."""


class Term(NamedTuple):
    """mantissa·2^exponent."""

    mantissa: Int[ndarray, "..."]
    exponent: int


def fits(mantissa: Int[ndarray, "..."]) -> bool:
    """Whether one synapse of 8 bits holds each of them, with one sign for all or a sign of their own."""
    low, high = int(mantissa.min(initial=0)), int(mantissa.max(initial=0))
    return (low >= -128 and high <= 127) or (low >= 0 and high <= 255) or (high <= 0 and low >= -255)


def terms(weight: Int[ndarray, "..."]) -> tuple[Term, ...]:
    """The terms of weights; none where two do not hold them."""
    for exponent in range(LIMITS["weight_exponent"].value + 1):
        mantissa = weight >> exponent
        if bool((mantissa << exponent == weight).all()) and fits(mantissa):
            return (Term(mantissa, exponent),)
    if int(weight.min()) < MOST[0] or int(weight.max()) > MOST[1]:
        return ()
    low = ((weight + 64) & 127) - 64
    return (Term(low, 0), Term((weight - low) >> 7, 7))
