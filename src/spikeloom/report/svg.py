"""
SVG that bends with the page and keeps its text: x in percent of the width, y in pixels, so that 10-point labels stay 10 points on a phone.

Shapes that SVG wants in numbers (paths) go into an inner picture 100 units wide that is stretched, with strokes that are not.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import final

from markupsafe import Markup

from spikeloom.report.numerals import Number

Point = tuple[Number, Number]
NO_MARKUP = Markup("")


def short(value: Number) -> str:
    """A coordinate to a hundredth."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def element(name: str, *children: str, **attributes: object) -> Markup:
    """One element; everything that is not Markup is escaped. A trailing underscore goes (class_), others become hyphens."""
    written = NO_MARKUP.join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), short(value) if isinstance(value, float) else value)
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, NO_MARKUP.join(children))


@final
@dataclass(frozen=True)
class Scale:
    """Maps `low`…`high` to 0…`size`, reversed if `flip`, logarithmic if `log`; what lies outside is held at the edge."""

    low: Number
    high: Number
    size: Number = 100.0
    flip: bool = False
    log: bool = False

    def __call__(self, value: Number) -> Number:
        low, high, at = (math.log(item) for item in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        share = (at - low) / (high - low) if high > low else 0.5
        share = min(1.0, max(0.0, share))
        return self.size * (1 - share if self.flip else share)


def ticks(low: Number, high: Number, wanted: int = 5) -> list[Number]:
    """About `wanted` round numbers that enclose low…high: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    span = next((size for size in (high - low, abs(high)) if size > 1e-200), 1.0)
    rough = span / max(1, wanted - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(first, max(last, first + 1) + 1)]


def path(points: Iterable[Point]) -> str:
    """Straight lines through the points, as a path's data."""
    return "".join(f"{'L' if index else 'M'}{short(x)} {short(y)}" for index, (x, y) in enumerate(points))


def stretched(height: Number, *shapes: Markup, width: Number = 100) -> Markup:
    """An inner picture, `width` units wide, that fills the chart's width."""
    box = {"viewBox": f"0 0 {short(width)} {short(height)}", "preserveAspectRatio": "none"}
    return element("svg", *shapes, width="100%", height=height, class_="stretched", **box)


def dot(x: Number, y: Number, class_: str, title: str, shape: str = "circle", size: Number = 4) -> Markup:
    """A marker at x percent, y pixels: circle, square or diamond, so that colour is never alone; its title is the tooltip."""
    tip = element("title", title)
    if shape == "circle":
        return element("circle", tip, cx=f"{short(x)}%", cy=y, r=size, class_=class_)
    turn = "rotate(45)" if shape == "diamond" else None
    square = element("rect", tip, x=-size, y=-size, width=2 * size, height=2 * size, class_=class_, transform=turn)
    return element("svg", square, x=f"{short(x)}%", y=y, overflow="visible", width=1, height=1)


def label(x: Number, y: Number, text: str, anchor: str = "middle", dx: Number = 0, class_: str = "tick") -> Markup:
    """A text at x percent, y pixels."""
    return element("text", text, x=f"{short(x)}%", y=y, dx=dx, text_anchor=anchor, class_=class_)


def chart(
    description: str,
    height: Number,
    *marks: Markup,
    y_ticks: Sequence[tuple[Number, str]] = (),
    x_ticks: Sequence[tuple[Number, str]] = (),
    class_: str = "",
) -> Markup:
    """A chart with its grid: ticks are (place, label), places in pixels for y and percent for x; `description` is read aloud."""
    grid = [element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid") for y, _ in y_ticks]
    left = [label(0, y + 4, text, "end", -8) for y, text in y_ticks]
    below = [label(x, height + 18, text) for x, text in x_ticks]
    shapes = (*grid, *left, *below, *marks)
    return element("svg", *shapes, role="img", aria_label=description, width="100%", height=height, class_=f"plot {class_}".strip())
