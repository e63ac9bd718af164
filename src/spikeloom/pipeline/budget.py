"""
Budgets: what a network may lose, use and take, and which of several networks serves it best.

    accuracy=0.5     at most so much behind the ANN (`lost`): of those that are not, the one that needs least energy
    energy=1e6       at most so many pJ an inference,
    latency=2        at most so many time steps: of those that keep it, the one that loses least

Several, with commas between them, hold together; with accuracy among them the cheapest is taken. Of equal ones: less energy, fewer steps,
fewer levels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from spikeloom.errors import ConfigError

DEFAULT = "accuracy=0.5"
FORM = "accuracy=0.5, energy=1e6 (pJ), latency=2 (steps), or several with commas between them"
ROUNDING = 1e-9

Row = Mapping[str, Any]
"""A network that was measured: levels, timesteps, energy_pj, and what the task judges by (as in `pipeline.sweep`)."""


@final
@dataclass(frozen=True)
class Budget:
    """At most so much behind the ANN, so many pJ, so many steps; None: no matter."""

    accuracy: float | None = None
    energy: float | None = None
    latency: float | None = None


def budget_of(text: str) -> Budget:
    """What a text says. Raises ConfigError for one that says nothing, something out of range, or two different things."""
    found = dict[str, float]()
    for part in text.split(","):
        name, _, told = (each.strip() for each in part.partition("="))
        value, least = _number(told), {"accuracy": 0.0, "energy": math.ulp(0.0), "latency": 1.0}.get(name)
        if least is None or value is None:
            raise ConfigError("unknown budget", found=text, allowed=FORM)
        if value < least:
            allowed = {"accuracy": "0 or more", "energy": "above 0", "latency": "1 or more"}[name]
            raise ConfigError(f"the budget {name} is out of range", found=told, allowed=allowed)
        if found.setdefault(name, value) != value:
            raise ConfigError(f"the budget says two different things of {name}", found=text, allowed=f"one {name}=…")
    return Budget(**found)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def lost(row: Row) -> tuple[float, str]:
    """How far a network is behind the ANN, and in what: points of accuracy; percent of the ANN's perplexity; hundredths of cosine; without
    labels, percent of the answers that are not the ANN's. Infinite where nothing of this is a number."""
    if row.get("accuracy") is not None and row.get("ann") is not None:
        return 100 * (row["ann"] - row["accuracy"]), "points under the ANN"
    told = row.get("perplexity") or {}
    if told.get("snn") is not None and told.get("ann"):
        return 100 * (told["snn"] / told["ann"] - 1), "% above the ANN's perplexity"
    alike = (row.get("cosine") or {}).get("snn")
    if alike is not None:
        return 100 * (1 - alike), "hundredths of cosine from the ANN"
    if row.get("agreement") is not None and "perplexity" not in row and "cosine" not in row:
        return 100 * (1 - row["agreement"]), "% of the answers not the ANN's"
    return math.inf, "not to be measured"


def said(row: Row) -> str:
    """A network's loss in words."""
    amount, what = lost(row)
    return f"{amount:.2f} {what}"


def named(row: Row) -> str:
    """A network's levels and steps."""
    return f"N={row['levels']}, T={row['timesteps']}"


def keeps(row: Row, budget: Budget) -> bool:
    """Whether a network keeps a budget."""
    limits = ((lost(row)[0], budget.accuracy), (row["energy_pj"], budget.energy), (row["timesteps"], budget.latency))
    return math.isfinite(lost(row)[0]) and all(limit is None or value <= limit + ROUNDING * max(1.0, limit) for value, limit in limits)


def pick(rows: Sequence[Row], budget: Budget, text: str) -> Row:
    """The network that serves a budget best. Raises ConfigError, saying what was best, where none keeps it."""
    if not rows:
        todo = "give more time steps or levels: --sweep-timesteps, --sweep-levels"
        raise ConfigError("there is no network to choose", found="in every one some neurons never fire", todo=todo)
    kept = [row for row in rows if keeps(row, budget)]
    if not kept:
        todo = "ask for less, or measure other ones: --sweep-levels, --sweep-timesteps"
        raise ConfigError(f"none of {len(rows)} settings of levels and steps keeps the budget {text}", found=_best(rows), todo=todo)
    if budget.accuracy is not None:
        return min(kept, key=lambda row: (row["energy_pj"], row["timesteps"], row["levels"]))
    return min(kept, key=lambda row: (lost(row)[0], row["energy_pj"], row["timesteps"], row["levels"]))


def _best(rows: Sequence[Row]) -> str:
    """What each part of a budget could have been, at best."""
    nearest, cheapest = min(rows, key=lambda row: lost(row)[0]), min(rows, key=lambda row: row["energy_pj"])
    first = f"at best {said(nearest)} ({named(nearest)}, {nearest['energy_pj']:.4g} pJ)"
    return (
        f"{first}; at least {cheapest['energy_pj']:.4g} pJ ({named(cheapest)}, {said(cheapest)}), {min(r['timesteps'] for r in rows)} steps"
    )
