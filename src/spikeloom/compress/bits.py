"""
Bits by layer: the kinds of weights that cost the network least, within a budget of bits for all weights together.

    min Σ_l cost_l(kind_l)     with  Σ_l parameters_l · bits(kind_l) ≤ budget · Σ_l parameters_l                              (1)

Every layer starts at the fewest bits; the step up that saves most for the bits it takes is taken, as long as there are bits. Steps are
those of the lower convex hull of a layer's costs, for which this is optimal but for what the last layers leave over.

Source: greedy for the multiple-choice knapsack's relaxation, Sinha & Zoltners 1979, doi:10.1287/opre.27.3.503.
"""

from collections.abc import Mapping
from typing import NamedTuple, final

from spikeloom.errors import ConfigError
from spikeloom.ir import WEIGHTS, grid_named

KINDS = tuple(sorted(WEIGHTS, key=lambda name: grid_named(name).width))
"""The kinds of weights, the fewest bits first."""


@final
class _Step(NamedTuple):
    gain: float
    layer: str
    kind: int
    bits: int


def chosen(costs: Mapping[str, Mapping[str, float]], parameters: Mapping[str, int], budget: float) -> dict[str, str]:
    """The kind of every layer, by (1). `budget` is in bits a weight as they are kept (2, 4, 8).

    Raises ConfigError for a budget below the fewest bits there are.
    """
    widths = [grid_named(kind).width for kind in KINDS]
    if budget < widths[0]:
        raise ConfigError("compression.bits is too few for any weights", found=budget, allowed=f"at least {widths[0]}")
    left = (budget - widths[0]) * sum(parameters.values())
    kinds = dict.fromkeys(costs, 0)
    while steps := [
        step for layer, kind in kinds.items() for step in _steps(layer, kind, costs[layer], parameters[layer]) if step.bits <= left
    ]:
        step = max(steps)
        kinds[step.layer] = step.kind
        left -= step.bits
    return {layer: KINDS[kind] for layer, kind in kinds.items()}


def _steps(layer: str, kind: int, costs: Mapping[str, float], parameters: int) -> list[_Step]:
    """The steps up from one kind, each with what it saves for a bit."""
    widths = [grid_named(each).width for each in KINDS]
    higher = [(place, (widths[place] - widths[kind]) * parameters) for place in range(kind + 1, len(KINDS))]
    return [_Step((costs[KINDS[kind]] - costs[KINDS[place]]) / bits, layer, place, bits) for place, bits in higher]
