"""
Trial: whether what homeostasis made of a context pays there, by the labels that come. With the readout as it began, each tells

    d = log p(label | knobs of the context) - log p(label | knobs at rest),   within ±3                                  (1)

and the context does without its knobs while Σ d < -√(Σ d²), that is while the mean is more than a standard error of it below zero. What
matched statistics cannot mend, as a picture that was turned or inverted, they may spoil: this tells.

Source: the log of a Bayes factor, of two networks on the same labels: Kass & Raftery 1995, doi:10.1080/01621459.1995.10476572.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

MOST = 3.0
"""Of (1): no single label decides."""
LEAST = 6
"""Labels before anything is decided."""


class Evidence(NamedTuple):
    """Σ d, Σ d², and of how many labels."""

    total: float = 0.0
    square: float = 0.0
    labels: int = 0


NOTHING = Evidence()


def weighed(evidence: Evidence, adapted: Float[Tensor, "n c"], at_rest: Float[Tensor, "n c"], labels: Int64[Tensor, " n"]) -> Evidence:
    """(1) of outputs with the knobs of the context, and at rest, for labels that the readout knew when it began."""
    rows = torch.arange(len(labels))
    told = (adapted.log_softmax(1)[rows, labels] - at_rest.log_softmax(1)[rows, labels]).clamp(-MOST, MOST).double()
    return Evidence(evidence.total + float(told.sum()), evidence.square + float(told.square().sum()), evidence.labels + len(labels))


def pays(evidence: Evidence) -> bool:
    """Whether the knobs of a context are used: they are until labels speak against them."""
    return evidence.labels < LEAST or evidence.total >= -math.sqrt(evidence.square)
