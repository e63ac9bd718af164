"""
The charts and pictures of a logic-gated network, each a pure function. What cannot be drawn leaves a gap, never a wrong mark.
"""

import base64
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

from spikeloom.report.charts import ANN, CONTROL, SNN, Line, wilson
from spikeloom.report.data import Row
from spikeloom.report.measure import ACCURACY, share_ticks
from spikeloom.report.numerals import Number, finite, percent
from spikeloom.report.svg import Point, Scale, chart, dot, element, path, stretched

NETWORK = Line("snn", "Logic-gated network", "circle")
BAYES = Line("agreement", "Bayes limit", "circle")
TWIN_NOISE = Line("ann", "Floating twin, trained with noise", "diamond")
TWIN_CLEAN = Line("control", "Floating twin, trained without", "square")
DRAWN: dict[str, Line] = {"bayes": BAYES, "twin_noise": TWIN_NOISE, "twin_clean": TWIN_CLEAN, "network": NETWORK}
"""By key in the rows of the curve; the network is drawn last, over the others, and has the band."""
CONVERTED: dict[str, Line] = {"control": CONTROL, "ann": ANN, "snn": SNN}
"""The same of a network that was converted."""

POSITIVE, NEGATIVE = (11, 99, 165), (168, 84, 0)
SHADES = 6


def lines_of(curve: Sequence[Row], lines: Mapping[str, Line] = DRAWN) -> list[tuple[str, Line]]:
    """The lines for which anything was measured."""
    return [(key, line) for key, line in lines.items() if any(finite(row.get(key)) for row in curve)]


def noise_chart(curve: Sequence[Row], samples: object, height: Number = 280.0, lines: Mapping[str, Line] = DRAWN) -> Markup:
    """Accuracy over noise, with the last line's 95 % band; empty where fewer than two levels were measured."""
    rows = sorted((row for row in curve if finite(row["noise"])), key=lambda row: row["noise"])
    drawn = lines_of(rows, lines)
    values = [row[key] for key, _ in drawn for row in rows if finite(row.get(key))]
    if len({row["noise"] for row in rows}) < 2 or not values:
        return Markup("")
    marks = share_ticks([0.0, *values])
    x, y = Scale(rows[0]["noise"], rows[-1]["noise"]), Scale(marks[0], marks[-1], height, flip=True)
    shapes = [_band(rows, list(lines)[-1], samples, x, y, height)]
    for key, line in drawn:
        shapes += _series(rows, key, line, x, y, height)
    said = "; ".join(
        f"noise {percent(row['noise'], 0)}: " + ", ".join(f"{line.name} {percent(row.get(key), 2)}" for key, line in drawn) for row in rows
    )
    return chart(
        said,
        height,
        *shapes,
        y_ticks=[(y(tick), ACCURACY.tick(tick)) for tick in marks],
        x_ticks=[(x(tenth / 10), f"{10 * tenth}") for tenth in range(6) if rows[0]["noise"] <= tenth / 10 <= rows[-1]["noise"]],
    )


def _band(rows: Sequence[Row], key: str, samples: object, x: Scale, y: Scale, height: Number) -> Markup:
    if not finite(samples) or samples <= 0:
        return Markup("")
    ends = [(row["noise"], *wilson(row[key], samples)) for row in rows if finite(row.get(key))]
    outline: list[Point] = [(x(at), y(high)) for at, _, high in ends] + [(x(at), y(low)) for at, low, _ in reversed(ends)]
    return stretched(height, element("path", d=f"{path(outline)}Z", class_="band")) if ends else Markup("")


def _series(rows: Sequence[Row], key: str, line: Line, x: Scale, y: Scale, height: Number) -> Iterator[Markup]:
    runs = itertools.groupby(rows, key=lambda row: finite(row.get(key)))
    data = "".join(path((x(row["noise"]), y(row[key])) for row in run) for drawn, run in runs if drawn)
    yield stretched(height, element("path", d=data, class_=f"line {line.key}"))
    for row in rows:
        if finite(row.get(key)):
            title = f"{line.name} at {percent(row['noise'], 0)} noise: {percent(row[key], 2)}"
            yield dot(x(row["noise"]), y(row[key]), f"mark {line.key}", title, line.shape)


def picture(rows: Sequence[Sequence[Number]], most: Number) -> str:
    """Numbers from -most to most as an address that holds a PNG: blue above 0, orange below, the stronger the less transparent."""
    values = np.clip(np.asarray(rows, dtype=np.float64) / (most or 1), -1, 1)
    pixels = np.zeros((*values.shape, 4), dtype=np.uint8)
    pixels[values > 0, :3], pixels[values < 0, :3] = POSITIVE, NEGATIVE
    pixels[..., 3] = np.rint(np.abs(values) * 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def confusion_picture(table: Sequence[Sequence[int]]) -> str:
    """A confusion matrix as a picture: each row's shares of its samples."""
    counts = np.asarray(table, dtype=np.float64)
    return picture((counts / np.maximum(counts.sum(1, keepdims=True), 1)).tolist(), 1)


def shade(count: Number, total: Number) -> str:
    """The class of a cell that holds so many of its row's samples: heat0 for none up to heat5 for all."""
    return f"heat{min(SHADES - 1, int(SHADES * count / total))}" if total and count else ""
