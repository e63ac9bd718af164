"""
Learning rates as pure functions of the step, s of S, with peak rate η.

    one_cycle   η_s = η/25 → η over the first 30 % of the steps, then → η/25·10⁻⁴, both along half a cosine     (1)
    cosine      η_s = η·(1 + cos(π s/S))/2                                                                      (2)

Source: (1) Smith & Topin, Super-Convergence (2018), with PyTorch's numbers; (2) Loshchilov & Hutter, SGDR (2017), without restarts.
"""

import math
from typing import Literal

Schedule = Literal["one_cycle", "cosine"]

RISE, START, END = 0.3, 1 / 25, 1e-4 / 25
"""Of the one-cycle schedule: the part of the steps that rises, and the first and last rate as parts of the peak."""


def half_cosine(start: float, end: float, part: float) -> float:
    """From `start` at part 0 to `end` at part 1 along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def learning_rate(step: int, steps: int, peak: float, schedule: Schedule) -> float:
    """The learning rate of step `step` (from 0) of `steps`."""
    if schedule == "cosine":
        return half_cosine(peak, 0.0, step / steps)  # (2)
    rise = max(1.0, RISE * steps)
    if step < rise:
        return half_cosine(peak * START, peak, step / rise)  # (1)
    return half_cosine(peak, peak * END, (step - rise) / max(1.0, steps - 1 - rise))
