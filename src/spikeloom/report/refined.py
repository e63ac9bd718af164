"""
Before and after on the page: what a refinement did to every layer, each as a stem from what it was to what it is.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from spikeloom.report.charts import count_ticks
from spikeloom.report.data import Row
from spikeloom.report.measure import measure_of
from spikeloom.report.numerals import Number, count, decibel, finite, joules, percent
from spikeloom.report.svg import Scale, chart, dot, element, path, stretched, ticks

SHOWN: tuple[tuple[str, str, str], ...] = (
    ("sqnr_db", "Signal-to-error ratio", "in dB against the ANN; higher is better"),
    ("firing_rate", "Firing rate", "% of neurons × steps that spike; lower costs less"),
)
"""What is drawn of a layer: its key, its name, and what its numbers are."""


def pairs(before: Sequence[Row], after: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Each layer as it was and as it is, in execution order; layers that are only there once are left out."""
    was = {row["node"]: row for row in before}
    return [(was[row["node"]], row) for row in after if row["node"] in was]


def written(key: str, value: object) -> str:
    """A number of a layer."""
    return decibel(value) if key == "sqnr_db" else percent(value, 2)


def layers_chart(both: Sequence[tuple[Row, Row]], key: str, height: Number = 200.0) -> Markup:
    """One stem per layer, hollow where it was and filled where it is; empty where nothing can be drawn."""
    drawn = [(place, was[key], now) for place, (was, now) in enumerate(both) if finite(was.get(key)) and finite(now.get(key))]
    if not drawn:
        return Markup("")
    factor = 1.0 if key == "sqnr_db" else 100.0
    values = [factor * value for _, was, now in drawn for value in (was, now[key])]
    marks = ticks(min(0.0, *values), max(values))
    y, size, total = Scale(marks[0], marks[-1], height, flip=True), 4.0 if len(both) <= 40 else 2.0, len(both)
    shapes, said = list[Markup](), list[str]()
    for place, was, now in drawn:
        x = 100 * (place + 0.5) / total
        ends = [y(factor * was), y(factor * now[key])]
        shapes.append(stretched(height, element("path", d=path([(x, end) for end in ends]), class_="stem")))
        told = f"{now['node']}: {written(key, was)}, now {written(key, now[key])}"
        shapes += [dot(x, ends[0], "mark hollow", told, size=size), dot(x, ends[1], "mark snn", told, size=size)]
        said.append(told)
    return chart("; ".join(said), height, *shapes, y_ticks=[(y(tick), f"{tick:g}") for tick in marks], x_ticks=count_ticks(total))


def mean(values: Sequence[Any] | None) -> Number | None:
    """The mean of numbers; None where one is not known, or there are none."""
    return sum(values) / len(values) if values and all(map(finite, values)) else None


def compared(metrics: Row) -> list[tuple[str, str, str]]:
    """What the network was judged by and what it costs: (name, before, after), those that are known of both."""
    before: Mapping[str, Any] = metrics.get("before") or {}
    measure, chips = measure_of(metrics), metrics.get("chips") or {}
    unseen = [mean(chips.get(key)) for key in ("before", "after")]
    rows: list[tuple[str, Any, Any, Callable[[Any], str]]] = [
        (measure.name, measure.of(before).get("snn"), measure.of(metrics).get("snn"), lambda value: measure.written(value, 2)),
        ("Agreement with the ANN", before.get("agreement"), metrics.get("agreement"), lambda value: percent(value, 2)),
        ("Accuracy on unseen chips, mean", unseen[0], unseen[1], lambda value: percent(value, 2)),
        ("Synaptic operations", before.get("synaptic_operations"), metrics.get("synaptic_operations"), count),
        ("Energy, estimated", (before.get("energy_pj") or {}).get("snn"), (metrics.get("energy_pj") or {}).get("snn"), joules),
    ]
    return [(name, say(was), say(now)) for name, was, now, say in rows if finite(was) and finite(now)]
