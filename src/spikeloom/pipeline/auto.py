"""
Choosing levels and steps: each N × T is made and measured, and the one that serves the budget best is taken (`budget`).

What is measured are training samples behind those that calibration sees, as many again, and never the test set. An ANN knows the samples
it was trained on: what an SNN loses against it there is what it loses on new ones only as far as both generalise alike.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from spikeloom.errors import ConfigError
from spikeloom.ir import Progress
from spikeloom.pipeline.budget import DEFAULT, budget_of, pick, said
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.sweep import Convert, Row, check_grid, sweep


@final
@dataclass(frozen=True)
class Afforded:
    """The settings with the levels and steps that were chosen, and all rows there were to choose from."""

    settings: Settings
    rows: Sequence[Row]
    best: Mapping[str, Any]

    @property
    def told(self) -> dict[str, Any]:
        """What metrics.json says of the choice."""
        picked = {key: self.best[key] for key in ("levels", "timesteps", "energy_pj", "samples")}
        return {"budget": self.settings.budget or DEFAULT, **picked, "lost": said(self.best), "tried": len(self.rows)}

    @property
    def front(self) -> list[dict[str, Any]]:
        """The rows of `report.Story.front`."""
        return [_shown(row, row is self.best) for row in self.rows]


def _shown(row: Row, picked: bool) -> dict[str, Any]:
    of_networks = {key: (row.get(key) or {}).get("snn") for key in ("perplexity", "cosine")}
    measured = {"accuracy": row.get("accuracy"), "agreement": row.get("agreement"), **of_networks}
    kept = {key: value for key, value in measured.items() if value is not None}
    place = {key: row[key] for key in ("levels", "timesteps", "energy_pj")}
    return {"of": "levels and steps", **place, **kept, "picked": picked}


def check_auto(settings: Settings) -> None:
    """Raises ConfigError, before any work, for a choice that cannot be made, and a budget that contradicts itself or what is given."""
    if not settings.auto:
        if settings.budget is not None:
            todo = "give --levels auto, --timesteps auto or both, or leave out --budget"
            raise ConfigError("a budget chooses levels and steps, and both are given", found=settings.budget, todo=todo)
        return
    if settings.method == "logic_gated":
        raise ConfigError(
            "a gate has one level and one step", found=f"logic_gated, {', '.join(settings.auto)} auto", allowed="--timesteps 1"
        )
    if "levels" in settings.auto and settings.method != "scale_and_fire":
        todo = "leave out --levels auto; --timesteps auto chooses T"
        raise ConfigError("a neuron of this method has one level", found=f"{settings.method}, levels auto", todo=todo)
    check_grid(settings)
    latency, fewest = budget_of(settings.budget or DEFAULT).latency, min(steps_of(settings))
    if latency is not None and latency < fewest:
        todo = "allow more, or measure fewer: --timesteps, --sweep-timesteps"
        raise ConfigError("the budget allows fewer steps than are measured", found=f"latency={latency:g}, T from {fewest}", todo=todo)


def levels_of(settings: Settings) -> tuple[int, ...]:
    """The N there are to choose from."""
    return tuple(settings.sweep_levels) if "levels" in settings.auto else (settings.levels,)


def steps_of(settings: Settings) -> tuple[int, ...]:
    """The T there are to choose from."""
    return tuple(settings.sweep_timesteps) if "timesteps" in settings.auto else (settings.timesteps,)


def afforded(settings: Settings, ann: Path, place: Path, convert: Convert, progress: Progress) -> Afforded:
    """The levels and steps that serve the budget best, for the ANN saved in `ann`; what was measured is kept in `place`. Raises ConfigError
    where none keeps it."""
    text = settings.budget or DEFAULT
    grid = dataclasses.replace(settings, auto=(), budget=None, sweep_levels=levels_of(settings), sweep_timesteps=steps_of(settings))
    rows = sweep(grid, ann, place, convert, progress, held_out=True)
    best = pick(rows, budget_of(text), text)
    return Afforded(dataclasses.replace(settings, levels=best["levels"], timesteps=best["timesteps"]), rows, best)
