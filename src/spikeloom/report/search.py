"""
Searches on the page: how the objective fell, generation by generation or epoch by epoch, and the networks that were there to choose from.

What a search with several weights of energy minimises differs from generation to generation: its objective is shown as a share of what
the start had under the same weight.
"""

import itertools
from collections.abc import Sequence

from markupsafe import Markup

from spikeloom.report.charts import Line
from spikeloom.report.data import Row
from spikeloom.report.measure import ACCURACY, COSINE, PERPLEXITY, Measure
from spikeloom.report.numerals import JOULE_SCALE, Number, finite, joules, significant
from spikeloom.report.svg import Point, Scale, chart, dot, element, label, path, stretched, ticks

GENERATIONS = (Line("snn", "The best so far", "circle"), Line("control", "Mean of the generation", "square"))
EPOCHS = (Line("snn", "Held out", "circle"), Line("control", "Trained on", "square"))
KEYS = ("best", "mean")
AGREEMENT = Measure("agreement", "Agreement", "Same answers as the ANN", True, "answer", ())
DIVERGENCE = Measure("divergence", "Divergence", "Divergence from the ANN (less is better)", False, "answer", ())
SHOWN = (ACCURACY, PERPLEXITY, COSINE, AGREEMENT, DIVERGENCE)
ROOM = 4.0
"""Percent of the width that stay free at both sides of a scatter."""


def runs(history: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows of every search and training, in the order they were done."""
    return [(name, list(rows)) for name, rows in itertools.groupby(history, key=lambda row: str(row["run"]))]


def lines(rows: Sequence[Row]) -> tuple[Line, ...]:
    """The lines of a run: generations say whether they are `relative`, epochs do not."""
    both = GENERATIONS if is_search(rows) else EPOCHS
    return tuple(line for line, key in zip(both, KEYS, strict=True) if any(finite(row.get(key)) for row in rows))


def is_search(rows: Sequence[Row]) -> bool:
    """Whether a run is one of generations."""
    return any(row.get("relative") is not None for row in rows)


def caption(rows: Sequence[Row]) -> str:
    """What a run's numbers are."""
    if not is_search(rows):
        return "Loss (less is better), by epoch"
    relative = any(row.get("relative") for row in rows)
    return f"Objective (less is better){', as a share of the start, each under its weight of energy' if relative else ''}, by generation"


def history_chart(rows: Sequence[Row], height: Number = 220.0) -> Markup:
    """The best and the mean over a run's steps; empty where fewer than two steps can be drawn."""
    drawn = [row for row in rows if any(finite(row.get(key)) for key in KEYS) and finite(row["step"])]
    values = [row[key] for row in drawn for key in KEYS if finite(row.get(key))]
    if len({row["step"] for row in drawn}) < 2:
        return Markup("")
    steps = [row["step"] for row in drawn]
    marks = ticks(min(0.0, *values) if min(values) < 0.5 * max(values) else min(values), max(values))
    x, y = Scale(min(steps), max(steps)), Scale(marks[0], marks[-1], height, flip=True)
    shapes, both, said = list[Markup](), GENERATIONS if is_search(rows) else EPOCHS, list[str]()
    for key, line in zip(KEYS, both, strict=True):
        found = [(row["step"], row[key]) for row in drawn if finite(row.get(key))]
        points: list[Point] = [(x(step), y(value)) for step, value in found]
        if points:
            shapes.append(stretched(height, element("path", d=path(points), class_=f"line {line.key}")))
        shapes += [
            dot(x(step), y(value), f"mark {line.key}", f"{line.name}, {step:g}: {significant(value, 4)}", line.shape)
            for step, value in found
        ]
        said.append(f"{line.name}: " + ", ".join(f"{step:g} {significant(value, 4)}" for step, value in found))
    below = [tick for tick in ticks(min(steps), max(steps), 6) if tick == int(tick) and min(steps) <= tick <= max(steps)]
    return chart(
        "; ".join(said),
        height,
        *shapes,
        y_ticks=[(y(tick), f"{tick:g}") for tick in marks],
        x_ticks=[(x(tick), f"{tick:g}") for tick in below],
    )


def choices(front: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The networks there were to choose from, by what made them."""
    return [(name, list(rows)) for name, rows in itertools.groupby(front, key=lambda row: str(row["of"]))]


def measures(rows: Sequence[Row]) -> list[Measure]:
    """What these networks were judged by: accuracy (or what the task has), and how far they are from the ANN."""
    return [measure for measure in SHOWN if sum(finite(row.get(measure.key)) for row in rows) > 0]


def beaten(row: Row, rows: Sequence[Row], measure: Measure) -> bool:
    """Whether another network is better by the measure and needs no more energy, or as good and needs less."""
    own, less = row[measure.key], measure in (PERPLEXITY, DIVERGENCE)
    for other in rows:
        if not (finite(other.get(measure.key)) and finite(other["energy_pj"])):
            continue
        gain = own - other[measure.key] if less else other[measure.key] - own
        saved = row["energy_pj"] - other["energy_pj"]
        if gain >= 0 and saved >= 0 and (gain > 0 or saved > 0):
            return True
    return False


def named(row: Row) -> str:
    """What a network is called: its levels and steps, where it has its own."""
    parts = [f"{sign}={row[key]:g}" for sign, key in (("N", "levels"), ("T", "timesteps")) if finite(row.get(key))]
    return ", ".join(parts) or "a network"


def energy_unit(rows: Sequence[Row]) -> tuple[Number, str]:
    """The unit that fits the greatest energy, in pJ, and its name."""
    most = max((row["energy_pj"] for row in rows if finite(row["energy_pj"])), default=1.0)
    return next((pair for pair in JOULE_SCALE if most >= pair[0]), JOULE_SCALE[-1])


def front_chart(rows: Sequence[Row], measure: Measure, height: Number = 240.0) -> Markup:
    """Each network by its energy and what it is judged by: those that none beats filled and joined, the picked one ringed."""
    drawn = [row for row in rows if finite(row.get(measure.key)) and finite(row["energy_pj"])]
    if not drawn:
        return Markup("")
    unit, _ = energy_unit(drawn)
    across, up = ticks(*_ends([row["energy_pj"] / unit for row in drawn]), 4), measure.ticks([row[measure.key] for row in drawn])
    wide, y = Scale(across[0], across[-1], 100 - 2 * ROOM), Scale(up[0], up[-1], height, flip=True)
    places = [(ROOM + wide(row["energy_pj"] / unit), y(row[measure.key])) for row in drawn]
    front = sorted(place for place, row in zip(places, drawn, strict=True) if not beaten(row, drawn, measure))
    shapes = [stretched(height, element("path", d=path(front), class_="line snn shade1"))]
    for (left, top), row in zip(places, drawn, strict=True):
        said = f"{named(row)}: {measure.written(row[measure.key], 2)} at {joules(row['energy_pj'])}"
        shapes.append(dot(left, top, "mark hollow" if beaten(row, drawn, measure) else "mark snn", said))
        if row.get("picked"):
            side = "start" if left < 25 else "end" if left > 75 else "middle"
            shapes += [
                dot(left, top, "ring chosen", f"picked: {said}", size=8.0),
                label(left, top + 22, "picked", side, class_="tick chosen"),
            ]
    told = "; ".join(f"{named(row)} {measure.written(row[measure.key], 2)} at {joules(row['energy_pj'])}" for row in drawn)
    return chart(
        told,
        height,
        *shapes,
        y_ticks=[(y(tick), measure.tick(tick)) for tick in up],
        x_ticks=[(ROOM + wide(tick), f"{tick:g}") for tick in across],
    )


def _ends(values: Sequence[Number]) -> tuple[Number, Number]:
    """The least and the greatest, apart."""
    low, high = min(values), max(values)
    return (low, high) if high > low else (0.9 * low, 1.1 * high or 1.0)


def told(chosen: Row) -> str:
    """Which levels and steps a conversion chose for itself, and why, in words."""
    setting = ", ".join(f"{sign} = {chosen[key]}" for sign, key in (("N", "levels"), ("T", "timesteps")) if key in chosen)
    where = f"on {chosen['samples']:,} training samples that calibration had not seen"
    return f"{setting} is the best of {chosen['tried']} settings that keeps {chosen['budget']}: {chosen['lost']} {where}."
