"""
How far the weights of a tail moved from what was converted.
"""

from dataclasses import dataclass
from typing import final

import torch

from spikeloom.agent.tail import Tail, Weights


@final
@dataclass(frozen=True)
class Change:
    """How a layer's weights differ from what was converted: ‖ΔW‖/‖W‖, the largest |ΔW|, the share whose sign turned, how many there are."""

    layer: str
    relative: float
    largest: float
    turned: float
    weights: int


def changes_of(tail: Tail, weights: Weights) -> tuple[Change, ...]:
    """How each layer of a tail differs from what was converted, as the network holds it."""
    found, pairs = list[Change](), list(zip(tail.on_grid(tail.converted), tail.on_grid(weights), strict=True))
    for place, name in enumerate(tail.names):
        before, after = (torch.cat([part.flatten() for part in parts]) for parts in zip(*pairs[2 * place : 2 * place + 2], strict=True))
        moved, turned = after - before, (after * before < 0).float().mean()
        relative = float(moved.norm() / before.norm().clamp_min(torch.finfo(before.dtype).tiny))
        found.append(Change(name, relative, float(moved.abs().max()), float(turned), len(before)))
    return tuple(found)
