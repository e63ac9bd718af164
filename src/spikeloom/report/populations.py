"""
What single populations look like: where a threshold lies in the activations it cuts, and which neurons spoke when.
"""

import itertools
import math
from collections.abc import Sequence

from markupsafe import Markup

from spikeloom.report.charts import count_ticks, step_labels
from spikeloom.report.data import Row
from spikeloom.report.numerals import Number, finite, percent, significant
from spikeloom.report.svg import Scale, chart, element, label, short, stretched, ticks

EVENTS_DRAWN = 5000
LEVEL_LINES = 63


def ceiling(row: Row) -> Number | None:
    """The value of the highest level, above which a population is saturated."""
    step, levels = row.get("step"), row.get("levels")
    return step * levels if finite(step) and finite(levels) and step * levels > 0 else None


def clipped(row: Row) -> Number | None:
    """The share of the histogram above the highest level, by whole bins; None where unknown."""
    top, bins = ceiling(row), [(left, count) for left, count in zip(row["edges"], row["counts"], strict=False) if finite(count)]
    total = sum(count for _, count in bins)
    if top is None or total <= 0:
        return None
    return sum(count for left, count in bins if left >= top * (1 - 1e-9)) / total


def histogram(row: Row) -> Markup:
    """Activations of one population on a logarithmic count axis, with its levels, its threshold and what is cut off.

    Empty markup where the edges are not finite and rising, or nothing was counted.
    """
    edges, counts = row["edges"], [count if finite(count) and count > 0 else 0 for count in row["counts"]]
    if not counts or not all(finite(edge) for edge in edges) or any(b <= a for a, b in itertools.pairwise(edges)) or max(counts) == 0:
        return Markup("")
    height, top = 96.0, ceiling(row)
    x = Scale(edges[0], max(edges[-1], top or edges[-1]))
    y = Scale(0.0, math.log1p(max(counts)), height, flip=True)
    threshold = row.get("threshold")
    parts: dict[str, list[str]] = {}
    for (a, b), n in zip(itertools.pairwise(edges), counts, strict=True):
        if n:
            bar = f"M{short(x(a))} {short(height)}V{short(y(math.log1p(n)))}H{short(x(b))}V{short(height)}Z"
            parts.setdefault(_region((a + b) / 2, threshold, top), []).append(bar)
    bars = [element("path", d="".join(data), class_=f"histogram {region}") for region, data in parts.items()]
    shapes = [stretched(height, *bars), *_levels(row, x, height)]
    if top is not None:
        shapes.append(element("rect", x=f"{short(x(top))}%", width=f"{short(100 - x(top))}%", y=0, height=height, class_="cut"))
    if finite(threshold) and x.low <= threshold <= x.high:
        at = f"{short(x(threshold))}%"
        tip = element("title", f"threshold {significant(threshold)}")
        shapes.append(element("line", tip, x1=at, x2=at, y1=-4, y2=height, class_="threshold"))
        shapes.append(label(x(threshold), -8, "θ", class_="tick theta"))
    shapes.append(element("line", x1="0", x2="100%", y1=height, y2=height, class_="axis"))
    lost = clipped(row)
    said = f"Activations of {row['node']}: {sum(counts):,.0f} values"
    said += f", {percent(lost, 2)} above the highest level" if lost is not None else ""
    known = [(x(value), significant(value)) for value in (0.0, top) if value is not None and x.low <= value <= x.high]
    return chart(said, height, *shapes, x_ticks=known if top is not None else step_labels(x.low, x.high), class_="small")


def _region(value: Number, threshold: object, top: Number | None) -> str:
    if top is not None and value > top:
        return "above"
    return "silent" if finite(threshold) and value < threshold else "spiking"


def _levels(row: Row, x: Scale, height: Number) -> list[Markup]:
    step, levels = row.get("step"), row.get("levels")
    if not (finite(step) and finite(levels) and 0 < levels <= LEVEL_LINES and step > 0):
        return []
    places = [short(x(step * level)) for level in range(1, int(levels) + 1)]
    return [stretched(height, element("path", d="".join(f"M{place} 0V{short(height)}" for place in places), class_="levels"))]


def stride(population: Row) -> int:
    """One in how many events is drawn, so that a page stays small."""
    return max(1, math.ceil(len(population["events"]) / EVENTS_DRAWN))


def raster(population: Row) -> Markup:
    """Who spoke when: one mark an event, stronger for a higher level. At T=1, where time is one column: level by neuron, as bars."""
    events = [event for event in population["events"][:: stride(population)] if all(finite(part) for part in event) and event[2] != 0]
    if not events:
        return Markup("")
    most = max(abs(level) for _, _, level in events)
    said = f"{len(events):,} events of {population['neurons']:,} neurons over {population['timesteps']:,} steps at {population['node']}"
    return (_level_bars if population["timesteps"] == 1 else _dashes)(population, events, most, said)


def _level_bars(population: Row, events: Sequence[Sequence[Number]], most: Number, said: str) -> Markup:
    height, neurons = 110.0, population["neurons"]
    low = min(0.0, *(level for _, _, level in events))
    y, gap = Scale(low, max(most, 1.0), height, flip=True), 0.15 if neurons <= 200 else 0.0
    inside = [(neuron, level) for _, neuron, level in events if 0 <= neuron < neurons]
    data = "".join(f"M{short(n + gap)} {short(y(0))}V{short(y(level))}H{short(n + 1 - gap)}V{short(y(0))}Z" for n, level in inside)
    marks = [tick for tick in ticks(low, most, 4) if tick <= y.high]
    return chart(
        said,
        height,
        stretched(height, element("path", d=data, class_="spikes"), width=neurons),
        y_ticks=[(y(tick), f"{tick:g}") for tick in marks],
        x_ticks=count_ticks(neurons, 0),
    )


def _dashes(population: Row, events: Sequence[Sequence[Number]], most: Number, said: str) -> Markup:
    steps, neurons = population["timesteps"], population["neurons"]
    height = float(min(260, max(110, 3 * neurons)))
    unit = height / neurons
    shades: dict[int, list[str]] = {}
    for step, neuron, level in events:
        if 0 <= step < steps and 0 <= neuron < neurons:
            shade = math.ceil(4 * abs(level) / most)
            shades.setdefault(shade, []).append(f"M{short(step + 0.06)} {short((neuron + 0.08) * unit)}h.88v{short(0.84 * unit)}h-.88z")
    marks = [element("path", d="".join(data), class_=f"spikes shade{shade}") for shade, data in sorted(shades.items())]
    y_ticks = [((index + 0.5) * unit, f"{index}") for index in (0, neurons - 1)]
    return chart(said, height, stretched(height, *marks, width=steps), y_ticks=y_ticks, x_ticks=count_ticks(steps), class_="raster")
