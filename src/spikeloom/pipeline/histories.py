"""
Histories: what the records of searches and trainings say of their way, as the rows that the report draws.

    a search       of each generation the objective of the best so far and the mean of its candidates, feasible ones only
    a training     of each epoch the loss on what is held out and on what was trained on

Where a search had several weights of energy that take turns, each generation's objective is a share of the start's under its weight.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spikeloom.ir import Record

Rows = list[dict[str, Any]]


def history_of(records: Iterable[Record]) -> Rows:
    """The rows of `report.Story.history`: every search and training in the records, in turn."""
    rows: Rows = []
    for place, record in enumerate(records, start=1):
        steps: Sequence[Mapping[str, Any]] = record.numbers.get("history") or ()
        if record.name == "Evolve":
            rows += _searched(f"Search, step {place}", steps, record.numbers["start"])
        elif record.name == "FineTune":
            rows += _trained(f"Fine-tuning, step {place}", steps, record.numbers["start"])
    return rows


def _searched(run: str, steps: Sequence[Mapping[str, Any]], start: Mapping[str, Any]) -> Rows:
    weights = {step["weight"] for step in steps}
    relative = len(weights) > 1 and start["divergence"] > 0
    own = start["divergence"] + (max(weights, default=0.0) if len(weights) == 1 else 0.0)
    rows: Rows = [{"run": run, "step": 0, "best": 1.0 if relative else own, "relative": relative}]
    for step in steps:
        unit = start["divergence"] + step["weight"] if relative else 1.0
        told = {key: None if step.get(key) is None else step[key] / unit for key in ("best", "mean")}
        rows.append({"run": run, "step": step["generation"] + 1, **told, "relative": relative})
    return rows


def _trained(run: str, steps: Sequence[Mapping[str, Any]], start: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    for epoch, step in enumerate((start, *steps)):
        row = {"best": step.get("held_out_loss"), "mean": step.get("loss"), "accuracy": step.get("held_out_accuracy")}
        rows.append({"run": run, "step": epoch, **{key: value for key, value in row.items() if value is not None and math.isfinite(value)}})
    return rows


def front_of(records: Iterable[Record]) -> Rows:
    """The rows of `report.Story.front`: the networks that the last search with a front had to choose from."""
    fronts = [record.numbers["front"] for record in records if record.name == "Evolve" and record.numbers.get("front")]
    rows: Rows = []
    for point in fronts[-1] if fronts else ():
        known = {key: point[key] for key in ("energy_pj", "divergence", "timesteps") if math.isfinite(point[key])}
        if "energy_pj" in known:
            rows.append(
                {"of": "the search's front", **known, "agreement": min(max(point["accuracy"], 0.0), 1.0), "picked": point["picked"]}
            )
    return rows
