"""
The sweep on the page: what networks are judged by, and what they have in common with the ANN, over N levels × T steps.

A table has a row for every N and a column for every T, plain quantisation with as many levels and the ANN beside them; the better a
cell, the deeper its shade. A chart draws the same, a line for every T.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from spikeloom.report.charts import ANN, CONTROL, Line
from spikeloom.report.data import Row
from spikeloom.report.measure import PERPLEXITY, Measure
from spikeloom.report.numerals import Number, finite
from spikeloom.report.svg import Point, Scale, chart, dot, element, path, stretched

SHADES = 6
"""Shades of a cell, from the worst of its table to the best."""
FAINT = ("shade1", "shade2", "shade3")
RANKS = Measure("rank_agreement", "Rank agreement", "Rank agreement of all pairs with the ANN", False, "rank", ())


def levels(rows: Sequence[Row]) -> list[int]:
    """Every N once, rising."""
    return sorted({row["levels"] for row in rows})


def steps(rows: Sequence[Row]) -> list[int]:
    """Every T once, rising."""
    return sorted({row["timesteps"] for row in rows})


def views(rows: Sequence[Row], measure: Measure) -> list[tuple[Measure, Sequence[Row]]]:
    """What is shown of a sweep: its measure, and what SNN and ANN have in common, where that was measured; each row by network."""
    agreement = Measure("agreement", "Agreement", f"Same {measure.same} as the ANN", True, measure.same, ())
    given: list[tuple[Measure, list[Mapping[str, Any]]]] = [
        (measure, [measure.of(row) for row in rows]),
        (agreement, [{"snn": row.get("agreement"), "control": row.get("control_agreement")} for row in rows]),
        (RANKS, [row.get("rank_agreement") or {} for row in rows]),
    ]
    made: list[tuple[Measure, Sequence[Row]]] = [
        (shown, [{**row, **value} for row, value in zip(rows, values, strict=True)]) for shown, values in given
    ]
    return [(shown, found) for shown, found in made if any(finite(row.get("snn")) for row in found)]


def cell(rows: Sequence[Row], n: int, t: int, network: str = "snn") -> Any:
    """What a network has at N levels and T steps; None where that was not measured."""
    return next((row.get(network) for row in rows if (row["levels"], row["timesteps"]) == (n, t)), None)


def beside(rows: Sequence[Row], n: int, network: str) -> Any:
    """What a network that runs in no steps has at N levels."""
    return next((row[network] for row in rows if row["levels"] == n and finite(row.get(network))), None)


def shade(value: object, rows: Sequence[Row], measure: Measure) -> str:
    """The class of a cell: heat0 for the worst of the table up to heat5 for the best, "" for no number."""
    known = [row["snn"] for row in rows if finite(row.get("snn"))]
    if not finite(value) or not known:
        return ""
    worst, best = (max(known), min(known)) if measure is PERPLEXITY else (min(known), max(known))
    share = 1.0 if best == worst else (value - worst) / (best - worst)
    return f"heat{min(SHADES - 1, int(share * SHADES))}"


def lines(rows: Sequence[Row]) -> list[Line]:
    """The lines of the chart: the SNN's, one for every T, the longest darkest, and the others that were measured."""
    found = steps(rows)
    faint = [*[""] * (len(found) - 1 - len(FAINT)), *FAINT[max(0, len(FAINT) - len(found) + 1) :], ""][-len(found) :] if found else []
    own = [Line(f"snn {style}".strip(), f"SNN, T={t}", "circle") for style, t in zip(faint, found, strict=True)]
    return [*own, *(line for line in (ANN, CONTROL) if any(finite(row.get(line.key)) for row in rows))]


def sweep_chart(rows: Sequence[Row], measure: Measure, height: Number = 240.0) -> Markup:
    """The lines over N, evenly spaced; empty where there is but one N, or nothing finite."""
    places = {n: 4 + 92 * index / max(1, len(levels(rows)) - 1) for index, n in enumerate(levels(rows))}
    series = [(line, _points(rows, line, place)) for place, line in enumerate(lines(rows))]
    values = [value for _, points in series for _, value in points]
    if len(places) < 2 or not values:
        return Markup("")
    marks = measure.ticks(values)
    y, shapes = Scale(marks[0], marks[-1], height, flip=True), list[Markup]()
    for line, points in series:
        drawn: list[Point] = [(places[n], y(value)) for n, value in points]
        shapes.append(stretched(height, element("path", d=path(drawn), class_=f"line {line.key}")))
        shapes += [
            dot(places[n], y(value), f"mark {line.key}", f"{line.name}, N={n}: {measure.written(value, 2)}", line.shape)
            for n, value in points
        ]
    said = "; ".join(f"{line.name}: " + ", ".join(f"N={n} {measure.written(value, 2)}" for n, value in points) for line, points in series)
    return chart(
        said,
        height,
        *shapes,
        y_ticks=[(y(tick), measure.tick(tick)) for tick in marks],
        x_ticks=[(place, f"{n:g}") for n, place in places.items()],
    )


def _points(rows: Sequence[Row], line: Line, place: int) -> list[tuple[int, Number]]:
    """A line's finite values by N."""
    found = steps(rows)
    own = place < len(found)
    values = ((n, cell(rows, n, found[place]) if own else beside(rows, n, line.key)) for n in levels(rows))
    return [(n, value) for n, value in values if finite(value)]
