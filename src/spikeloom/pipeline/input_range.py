"""
What a network's input can be: told by its own input population, else seen in calibration samples.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from spikeloom.backend.lower import InputRange, encodes
from spikeloom.errors import DataError
from spikeloom.ir import Program, calls

STEPS = (1.0, 1 / 15, 1 / 16, 1 / 255, 1 / 256)
"""Grids that inputs lie on: counts of spikes, and grey values as they are kept, over their largest or the number of them."""


def input_range(program: Program, batches: Iterable[tuple[Tensor, ...]]) -> InputRange:
    """The range of a program's input, and its grid where all samples lie on one. Raises DataError where there are no samples."""
    for node in calls(program.graph):
        if encodes(node):
            values = program.tensor(node.args[2]).double()
            return InputRange(float(values[0]), float(values[-1]), float(values[-1] - values[0]) / (values.numel() - 1))
    low, high, steps = torch.inf, -torch.inf, list(STEPS)
    for inputs in batches:
        x = inputs[0].double()
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        steps = [step for step in steps if _lies_on(x, step)]
    if low > high:
        raise DataError("the range of the input is unknown", found="no samples", todo="give calibration data")
    if low == high:
        low, high = min(low, 0.0), max(high, low + 1.0)
    return InputRange(min(low, 0.0), max(high, 0.0), steps[0] if steps else None)


def _lies_on(x: Tensor, step: float) -> bool:
    whole = x / step
    return bool(((whole - whole.round()).abs() <= 1e-4).all())
