"""
The page's charts, each a pure function from rows to one SVG. What cannot be drawn (NaN, null) leaves a gap, never a wrong mark.

The interval around an accuracy is Wilson's at 95 % (J. Am. Stat. Assoc. 22, 1927): centre (p + z²/2n)/(1 + z²/n),
half width z/(1 + z²/n)·√(p(1 - p)/n + z²/4n²), z = 1.96.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

from markupsafe import Markup

from spikeloom.report.data import Row
from spikeloom.report.measure import ACCURACY, Measure
from spikeloom.report.numerals import Number, decibel, finite, joules, percent, significant
from spikeloom.report.svg import Point, Scale, chart, dot, element, label, path, short, stretched, ticks


@final
@dataclass(frozen=True)
class Line:
    """How one network is drawn everywhere: its key in the rows, its name, its marker."""

    key: str
    name: str
    shape: str


ANN = Line("ann", "ANN", "diamond")
SNN = Line("snn", "SNN", "circle")
CONTROL = Line("control", "Plain quantisation", "square")
AGREEMENT = Line("agreement", "Same answer as the ANN", "circle")
OVER_TIME = (ANN, CONTROL, SNN)


def wilson(share: Number, samples: Number, z: Number = 1.96) -> tuple[Number, Number]:
    """The 95 % interval of a share seen in `samples` trials."""
    squared = z * z / samples
    half = z * math.sqrt(share * (1 - share) / samples + squared / (4 * samples)) / (1 + squared)
    centre = (share + squared / 2) / (1 + squared)
    return max(0.0, centre - half), min(1.0, centre + half)


def _interval(value: object, samples: object) -> tuple[Number, Number] | None:
    return wilson(value, samples) if finite(value) and finite(samples) and samples > 0 else None


def marker(line: Line) -> Markup:
    """The line and marker of a network, for a legend."""
    stroke = element("line", x1="0", x2="100%", y1=6, y2=6, class_=f"line {line.key}")
    mark = dot(50, 6, f"mark {line.key}", line.name, line.shape)
    return element("svg", stroke, mark, width=26, height=12, class_="swatch", aria_hidden="true")


def tracks(values: Row, samples: object, measure: Measure = ACCURACY) -> dict[str, Markup]:
    """One track per network that was measured, all on one scale: its value, and of a share the 95 % interval."""
    drawn = [line for line in (ANN, SNN, CONTROL) if finite(values.get(line.key))]
    spans = {line.key: _interval(values[line.key], samples) if measure.share else None for line in drawn}
    ends = [end for line in drawn for end in (spans[line.key] or (values[line.key],))]
    if not ends:
        return {}
    marks = measure.ticks(ends, 4)
    return {line.key: _track(line, values[line.key], spans[line.key], marks, measure, line is drawn[-1]) for line in drawn}


def _track(
    line: Line, value: Number, interval: tuple[Number, Number] | None, marks: Sequence[Number], measure: Measure, lowest: bool
) -> Markup:
    scale = Scale(marks[0], marks[-1])
    shapes = [element("line", x1="0", x2="100%", y1=10, y2=10, class_="grid")]
    shapes += [element("line", x1=f"{short(scale(tick))}%", x2=f"{short(scale(tick))}%", y1=6, y2=14, class_="grid") for tick in marks]
    if interval:
        low, high = (f"{short(scale(end))}%" for end in interval)
        shapes.append(element("line", x1=low, x2=high, y1=10, y2=10, class_=f"whisker {line.key}"))
    said = f"{line.name}: {measure.written(value)}"
    shapes.append(dot(scale(value), 10, f"mark {line.key}", said, line.shape, 5))
    if lowest:
        shapes += [label(scale(tick), 32, measure.tick(tick, tick == marks[-1])) for tick in marks]
    spread = f", 95 % interval {percent(interval[0])} to {percent(interval[1])}" if interval else ""
    return chart(f"{said}{spread}", 20, *shapes, class_="track")


def curve_chart(curve: Sequence[Row], lines: Sequence[Line], samples: object = None, measure: Measure = ACCURACY) -> Markup:
    """The lines over T, of a share with the SNN's 95 % band where `samples` are known; empty where there is but one T, or nothing
    finite."""
    rows: list[Row] = [{**row, **measure.of(row)} for row in curve if finite(row["timesteps"])]
    rows.sort(key=lambda row: row["timesteps"])
    steps = [row["timesteps"] for row in rows]
    banded = SNN in lines and measure.share
    bands = [(row["timesteps"], *interval) for row in rows if banded and (interval := _interval(row["snn"], samples))]
    values = [row[line.key] for line in lines for row in rows if finite(row.get(line.key))] + [end for band in bands for end in band[1:]]
    if len(set(steps)) < 2 or not values:
        return Markup("")
    marks = measure.ticks(values)
    height = 260.0
    x = Scale(steps[0], steps[-1], log=steps[0] > 0 and steps[-1] / steps[0] >= 8)
    y = Scale(marks[0], marks[-1], height, flip=True)
    shapes = [_band(bands, x, y, height)] + [shape for line in lines for shape in _series(line, rows, x, y, height, measure)]
    said = "; ".join(
        f"T={row['timesteps']:g}: " + ", ".join(f"{line.name} {measure.written(row.get(line.key))}" for line in lines) for row in rows
    )
    return chart(
        said,
        height,
        *shapes,
        y_ticks=[(y(tick), measure.tick(tick)) for tick in marks],
        x_ticks=[(x(step), f"{step:g}") for step in _thinned(steps)],
    )


def _thinned(steps: Sequence[Number], most: int = 8) -> Sequence[Number]:
    return steps if len(steps) <= most else [steps[round(index * (len(steps) - 1) / (most - 1))] for index in range(most)]


def _band(bands: Sequence[tuple[Number, Number, Number]], x: Scale, y: Scale, height: Number) -> Markup:
    outline: list[Point] = [(x(step), y(high)) for step, _, high in bands] + [(x(step), y(low)) for step, low, _ in reversed(bands)]
    return stretched(height, element("path", d=f"{path(outline)}Z", class_="band")) if bands else Markup("")


def _series(line: Line, rows: Sequence[Row], x: Scale, y: Scale, height: Number, measure: Measure) -> Iterator[Markup]:
    runs = itertools.groupby(rows, key=lambda row: finite(row.get(line.key)))
    data = "".join(path((x(row["timesteps"]), y(row[line.key])) for row in run) for drawn, run in runs if drawn)
    if data:
        yield stretched(height, element("path", d=data, class_=f"line {line.key}"))
    for row in rows:
        if finite(row.get(line.key)):
            title = f"{line.name} at T={row['timesteps']:g}: {measure.written(row[line.key])}"
            yield dot(x(row["timesteps"]), y(row[line.key]), f"mark {line.key}", title, line.shape)


def _place(index: int, total: int) -> Number:
    return 100 * (index + 0.5) / total


def count_ticks(total: int, first: int = 1) -> list[tuple[Number, str]]:
    """Labels for `total` columns numbered from `first`, in percent of the width: the first one and round numbers."""
    last = first + total - 1
    round_ones = {int(tick) for tick in ticks(first, last, 6) if tick == int(tick) and first < tick <= last}
    return [(_place(number - first, total), f"{number}") for number in sorted({first, *round_ones})]


def fidelity_chart(fidelity: Sequence[Row], worst: str | None) -> Markup:
    """Signal-to-error ratio of every layer in execution order; the worst one ringed and named."""
    total, height = len(fidelity), 220.0
    ratios = [row.get("sqnr_db") for row in fidelity]
    known = [ratio for ratio in ratios if finite(ratio)]
    marks = ticks(min([0.0, *known]), max([10.0, *known]))
    y = Scale(marks[0], marks[-1], height, flip=True)
    stems = [path([(_place(index, total), y(0)), (_place(index, total), y(ratio))]) for index, ratio in enumerate(ratios) if finite(ratio)]
    shapes = [stretched(height, element("path", d="".join(stems), class_="stem"))] if stems else []
    for index, row in enumerate(fidelity):
        shapes += _layer_mark(_place(index, total), row, row["node"] == worst, y, 4.0 if total <= 60 else 2.0)
    said = f"Signal-to-error ratio per layer; {len(known)} of {total} are finite"
    said += f", from {decibel(min(known))} to {decibel(max(known))}; worst: {worst}" if known else ""
    return chart(said, height, *shapes, y_ticks=[(y(tick), f"{tick:g}") for tick in marks], x_ticks=count_ticks(total))


def _layer_mark(x: Number, row: Row, is_worst: bool, y: Scale, size: Number) -> Iterator[Markup]:
    value = row.get("sqnr_db")
    title = f"{row['node']}: {decibel(value)}"
    if not finite(value):
        yield dot(x, y(y.high if value == math.inf else y.low), "mark hollow", title, "circle" if value == math.inf else "square", size)
        return
    yield dot(x, y(value), "mark bad" if is_worst else "mark snn", title, size=size)
    if is_worst:
        yield dot(x, y(value), "ring", title, size=8.0)
        yield element("line", x1=f"{short(x)}%", x2=f"{short(x)}%", y1=-4, y2=y(value) - 8, class_="leader")
        yield label(x, -9, f"worst, {decibel(value)}", "start" if x < 15 else "end" if x > 85 else "middle", class_="tick bad")


def rates_chart(fidelity: Sequence[Row], key: str, name: str, worst: str | None) -> Markup:
    """Bars of one share (firing rate, saturation, silent) per layer in execution order."""
    total, height = len(fidelity), 90.0
    known = [row[key] for row in fidelity if finite(row.get(key))]
    if not known:
        return Markup("")
    marks = ticks(0.0, max(0.01, *known), 3)
    y = Scale(0.0, marks[-1], height, flip=True)
    width = 0.72 * 100 / total
    bars = [
        element(
            "rect",
            element("title", f"{row['node']}: {percent(row[key], 2)}"),
            x=f"{short(_place(index, total) - width / 2)}%",
            width=f"{short(width)}%",
            y=y(row[key]),
            height=max(0.0, height - y(row[key])),
            class_="bar bad" if row["node"] == worst else "bar",
        )
        for index, row in enumerate(fidelity)
        if finite(row.get(key))
    ]
    said = f"{name} per layer, from {percent(min(known), 2)} to {percent(max(known), 2)}"
    return chart(said, height, *bars, y_ticks=[(y(tick), f"{100 * tick:g}") for tick in marks], x_ticks=count_ticks(total))


def energy_bar(row: Row, most: Number) -> Markup:
    """One network's energy as a bar, compute and memory apart, as a share of the largest network's."""
    parts = [(kind, row.get(f"{kind}_pj")) for kind in ("compute", "memory")]
    known: list[tuple[str, Any]] = [(kind, value) for kind, value in parts if finite(value)] or [("total", row["total_pj"])]
    shapes, start = [element("rect", x="0", y=0, width="100%", height=14, class_="rail")], 0.0
    for kind, value in known:
        share = 100 * max(0.0, value) / most if finite(value) and most > 0 else 0.0
        tip = element("title", f"{row['network']}, {kind}: {joules(value)}")
        width = f"{short(min(share, 100 - start))}%"
        shapes.append(element("rect", tip, x=f"{short(start)}%", y=0, width=width, height=14, class_=f"energy {kind}"))
        start = min(100.0, start + share)
    return chart(f"{row['network']}: {joules(row['total_pj'])}", 14, *shapes, class_="track")


def share_bar(shares: Sequence[tuple[str, Number]]) -> Markup:
    """Shares of a whole as one bar: (name, 0 to 1) in drawing order; the name chooses the colour."""
    shapes: list[Markup] = []
    start = 0.0
    for status, share in shares:
        tip, left, width = element("title", f"{status}: {percent(share)}"), f"{short(100 * start)}%", f"{short(100 * share)}%"
        shapes.append(element("rect", tip, x=left, y=0, width=width, height=14, class_=f"status {status}"))
        start += share
    return chart(", ".join(f"{status} {percent(share)}" for status, share in shares), 14, *shapes, class_="track")


def step_labels(low: Number, high: Number) -> list[tuple[Number, str]]:
    """Two or three labels for a narrow axis, in percent of its width."""
    scale = Scale(low, high)
    inside = [tick for tick in ticks(low, high, 3) if low <= tick <= high]
    return [(scale(tick), significant(tick) if tick else "0") for tick in inside if tick == 0 or abs(tick) < 1e6]
