"""
The charts of an adaptation's page, each a pure function. What cannot be drawn leaves a gap, never a wrong mark.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, final

from markupsafe import Markup

from spikeloom.report.agent_data import AgentStory
from spikeloom.report.charts import Line
from spikeloom.report.data import Row
from spikeloom.report.numerals import Number, finite, percent, significant
from spikeloom.report.svg import Scale, chart, dot, element, path, short, stretched, ticks

BEST = Line("snn", "Best actions", "circle")
EXPLORED = Line("agreement", "Exploring", "circle")
USUAL = Line("ann", "In the usual world", "diamond")
FROZEN = Line("control", "Frozen", "square")
EVENTS = {
    "drift noticed": ("bad", "diamond"),
    "body changed": ("ann", "diamond"),
    "led back": ("control", "square"),
    "calmed": ("snn", "circle"),
}
"""Of each event that is drawn, the colour and the marker."""
BINS = 24


@final
class Bin(NamedTuple):
    """Episodes that lie side by side: the middle of their numbers, and over the seeds the mean, the least and the most of their means."""

    at: Number
    mean: Number
    low: Number
    high: Number


def binned(lives: Sequence[Row], explored: bool, last: Number) -> list[Bin]:
    """The episodes of all seeds in BINS parts of 1 to `last`; parts in which no episode ended are left out."""
    found = list[Bin]()
    width = max(last / BINS, 1.0)
    for place in range(BINS):
        low, high = place * width, (place + 1) * width
        each = [[value for n, value, kind in life["episodes"] if low < n <= high and bool(kind) == explored] for life in lives]
        means = [sum(values) / len(values) for values in each if values]
        if means:
            found.append(Bin((low + high) / 2, sum(means) / len(means), min(means), max(means)))
    return found


def last_of(lives: Sequence[Row]) -> int:
    """The number of the last episode."""
    return max((n for life in lives for n, _, _ in life["episodes"]), default=0)


def returns_chart(story: AgentStory, height: Number = 300.0) -> Markup:
    """Mean returns over episodes, of best and of exploring actions; the seeds as a band; usual and frozen as lines; events above. Empty
    where fewer than two episodes ended."""
    last, levels = last_of(story.lives), story.metrics.get("returns") or {}
    lines = [(line, binned(story.lives, line is EXPLORED, last)) for line in (EXPLORED, BEST)]
    rules = [(line, levels.get(key)) for line, key in ((USUAL, "usual"), (FROZEN, "frozen"))]
    known = [(line, value) for line, value in rules if finite(value)]
    values = [end for _, bins in lines for each in bins for end in (each.low, each.high)] + [value for _, value in known]
    if last < 2 or not all(map(finite, values)):
        return Markup("")
    marks = ticks(min(values), max(values))
    x, y = Scale(0, last), Scale(marks[0], marks[-1], height, flip=True)
    shapes = [_level(line, y(value)) for line, value in known]
    for line, bins in lines:
        shapes += _series(line, bins, len(story.lives) > 1, x, y, height)
    shapes += _events(story.lives, x, height)
    shapes += [
        dot(100, y(life["returned"]), "ring kept", f"Kept weights, seed {life['seed']}: {significant(life['returned'])}", size=6)
        for life in story.lives
        if finite(life["returned"])
    ]
    said = "Mean returns over episodes. " + "; ".join(f"{line.name}: {significant(value)}" for line, value in known)
    said += "".join(
        f"; {line.name}: {significant(bins[0].mean)} at first, {significant(bins[-1].mean)} at last" for line, bins in lines if bins
    )
    across = [tick for tick in ticks(0, last, 6) if tick <= last]
    return chart(
        said,
        height,
        *shapes,
        y_ticks=[(y(tick), f"{tick:g}") for tick in marks],
        x_ticks=[(x(tick), f"{tick:g}") for tick in across],
    )


def _level(line: Line, y: Number) -> Markup:
    return element("line", element("title", line.name), x1="0", x2="100%", y1=y, y2=y, class_=f"line {line.key} level")


def _series(line: Line, bins: Sequence[Bin], several: bool, x: Scale, y: Scale, height: Number) -> Iterator[Markup]:
    if not bins:
        return
    if several:
        outline = [(x(each.at), y(each.high)) for each in bins] + [(x(each.at), y(each.low)) for each in reversed(bins)]
        yield stretched(height, element("path", d=f"{path(outline)}Z", class_=f"band {line.key}"))
    yield stretched(height, element("path", d=path((x(each.at), y(each.mean)) for each in bins), class_=f"line {line.key}"))
    for each in bins:
        yield dot(
            x(each.at), y(each.mean), f"mark {line.key}", f"{line.name}, about episode {each.at:.0f}: {significant(each.mean)}", size=3
        )


def _events(lives: Sequence[Row], x: Scale, height: Number) -> Iterator[Markup]:
    """A mark above the chart where something was done; a line through it where a drift was noticed."""
    for seed, (number, what) in ((life["seed"], event) for life in lives for event in life["events"]):
        if what not in EVENTS:
            continue
        colour, shape = EVENTS[what]
        if what == "drift noticed":
            at = f"{short(x(number))}%"
            yield element("line", x1=at, x2=at, y1=-6, y2=height, class_="leader")
        yield dot(x(number), -10, f"mark {colour}", f"{what} at episode {number} (seed {seed})", shape)


def happened(lives: Sequence[Row]) -> list[tuple[str, Line]]:
    """The kinds of events that are drawn, each with its marker."""
    seen = {what for life in lives for _, what in life["events"]}
    return [(what, Line(colour, what, shape)) for what, (colour, shape) in EVENTS.items() if what in seen]


def event_marker(line: Line) -> Markup:
    """The marker of an event, for a legend."""
    return element("svg", dot(50, 6, f"mark {line.key}", line.name, line.shape), width=14, height=12, class_="swatch", aria_hidden="true")


def by_layer(changes: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The changes of each layer, its seeds together, in the layers' order."""
    order = list(dict.fromkeys(row["layer"] for row in changes))
    return [(layer, [row for row in changes if row["layer"] == layer]) for layer in order]


def change_bar(row: Row, most: Number) -> Markup:
    """One layer's change as a bar, as a share of the largest."""
    width = 100 * row["relative"] / most if most > 0 else 0.0
    tip = element("title", f"{row['layer']}, seed {row['seed']}: {percent(row['relative'], 2)}")
    return element(
        "svg",
        element("rect", x="0", y=0, width="100%", height=8, class_="rail"),
        element("rect", tip, x="0", y=0, width=f"{short(width)}%", height=8, class_="bar"),
        width="100%",
        height=8,
        role="img",
        aria_label=f"seed {row['seed']}: {percent(row['relative'], 2)}",
    )


def largest(changes: Sequence[Row]) -> Number:
    """The largest relative change."""
    return max((row["relative"] for row in changes if finite(row["relative"])), default=0.0)


def runs(text: str) -> list[tuple[str, str]]:
    """Lines of a difference in runs: ("added" | "removed" | "moved" | "", text), by their first character."""
    kinds = {"+": "added", "-": "removed", "\N{MINUS SIGN}": "removed", "~": "moved"}
    grouped = itertools.groupby(text.splitlines(), key=lambda line: kinds.get(line.lstrip()[:1], ""))
    return [(kind, "\n".join(lines)) for kind, lines in grouped]
