"""
The front: the candidates that no other beats in divergence, energy and latency at once, and the choice of one of them.

    a dominates b   where a is nowhere worse and somewhere better                                                         (1)

Sources: non-dominated sorting and crowding distance, Deb et al. 2002 (NSGA-II), IEEE Trans. Evol. Comput. 6(2).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from jaxtyping import Float

from spikeloom.errors import ConfigError

BUDGETS = ("accuracy", "energy", "latency")
ROUNDING = 1e-9


@final
@dataclass(frozen=True)
class Point:
    """One network of a front: its genes, its divergence from the ANN, its accuracy (`objective.Outcome`), energy per inference in pJ, and
    time steps."""

    genes: tuple[float, ...]
    divergence: float
    accuracy: float
    energy_pj: float
    timesteps: int

    @property
    def costs(self) -> tuple[float, float, float]:
        """What is wanted small."""
        return self.divergence, self.energy_pj, float(self.timesteps)

    def to_json(self) -> dict[str, Any]:
        """The point as JSON."""
        return {**asdict(self), "genes": list(self.genes)}

    @staticmethod
    def of_json(told: Mapping[str, Any]) -> "Point":
        """The point that `to_json` made this of."""
        numbers = (told["divergence"], told["accuracy"], told["energy_pj"], told["timesteps"])
        return Point(tuple(told["genes"]), *numbers)


def dominates(a: Point, b: Point) -> bool:
    """(1)."""
    return a.costs != b.costs and all(x <= y for x, y in zip(a.costs, b.costs, strict=True))


def merged(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that none of the others dominates, cheapest first; of equal ones the first."""
    kept = list[Point]()
    for point in points:
        if any(dominates(other, point) or other.costs == point.costs for other in kept):
            continue
        kept = [other for other in kept if not dominates(point, other)] + [point]
    return tuple(sorted(kept, key=lambda point: (point.energy_pj, point.divergence)))


def pick(front: Sequence[Point], budget: str) -> Point:
    """The point of a front that a budget asks for: `accuracy=0.5` the least energy with at most 0.5 points less accuracy than the most
    accurate; `energy=1e6` (pJ) and `latency=4` (time steps) the least divergence with at most that.

    Raises ConfigError for a budget that is none, or that no point keeps.
    """
    name, limit = budget_of(budget)
    if name == "accuracy":
        least = max((point.accuracy for point in front), default=0.0) - limit / 100
        kept = [point for point in front if point.accuracy >= least - ROUNDING]
        best = min(kept, key=lambda point: (point.energy_pj, point.divergence), default=None)
    else:
        kept = [point for point in front if (point.energy_pj if name == "energy" else point.timesteps) <= limit]
        best = min(kept, key=lambda point: (point.divergence, point.energy_pj), default=None)
    if best is None:
        raise ConfigError(f"no network of the front keeps {budget}", found=_reached(front, name), todo="ask for less, or search longer")
    return best


def budget_of(text: str) -> tuple[str, float]:
    """What a budget bounds, and at what. Raises ConfigError for a text that is none."""
    name, equals, told = text.partition("=")
    limit = _number(told)
    if name not in BUDGETS or not equals or limit is None:
        raise ConfigError("unknown budget", found=text, allowed=", ".join(f"{each}=NUMBER" for each in BUDGETS))
    if limit < 0:
        raise ConfigError("a budget is out of range", found=text, allowed="0 or more")
    return name, limit


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _reached(front: Sequence[Point], name: str) -> str:
    if not front:
        return "an empty front"
    values = [point.energy_pj if name == "energy" else float(point.timesteps) for point in front]
    return f"{name} from {min(values):.6g} to {max(values):.6g}"


def sorted_ranks(costs: Float[np.ndarray, "n m"]) -> list[tuple[int, float]]:
    """For each row of costs the number of its front (0: not dominated) and minus its crowding distance: they sort as NSGA-II does."""
    left, rank, found = list(range(len(costs))), 0, [(0, 0.0)] * len(costs)
    while left:
        layer = [i for i in left if not any(_beats(costs[j], costs[i]) for j in left)]
        for i, distance in zip(layer, _crowding(costs[layer]), strict=True):
            found[i] = (rank, -distance)
        left, rank = [i for i in left if i not in layer], rank + 1
    return found


def _beats(a: Float[np.ndarray, " m"], b: Float[np.ndarray, " m"]) -> bool:
    return bool((a <= b).all() and (a < b).any())


def _crowding(costs: Float[np.ndarray, "n m"]) -> list[float]:
    distances = np.zeros(len(costs))
    for column in costs.T:
        order = np.argsort(column, kind="stable")
        width = max(float(column[order[-1]] - column[order[0]]), 1e-30)
        distances[order[[0, -1]]] = np.inf
        distances[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / width
    return distances.tolist()
