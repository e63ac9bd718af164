"""A staircase's line counts thresholds exactly, and is found where thresholds are rounded from equally spaced ones."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spikeloom.backend.c.staircase import Line, line_of, way_of


def counted(line: Line, place: int, h: np.ndarray) -> np.ndarray:
    """Equation (1), in the width that the emitted code has."""
    inside = h.clip(line.low[place], line.high[place]) - line.low[place]
    product = inside * int(line.slope[place]) + int(line.start[place])
    assert product.min() >= 0
    assert product.max() < 1 << (32 if line.bits == 32 else 63)
    return product >> line.shift


@given(st.floats(0.6, 60.0), st.floats(-200.0, 200.0), st.integers(1, 40), st.integers(-500, 0), st.integers(1, 3000))
@settings(max_examples=300, deadline=None)
def test_every_number_is_counted_right(step: float, start: float, levels: int, least: int, most: int) -> None:
    rows = np.ceil(start + step * np.arange(levels))[None].astype(np.int64)
    h = np.arange(least, most + 1)
    for bits in (32, 64):
        line = line_of(rows, least, most, bits)
        if line is not None:
            assert (counted(line, 0, h) == np.searchsorted(rows[0], h, side="right")).all()


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=12), st.integers(-150, 0), st.integers(0, 150))
@settings(max_examples=300, deadline=None)
def test_any_thresholds_are_counted_right_or_not_at_all(thresholds: list[int], least: int, most: int) -> None:
    rows, h = np.sort(np.array([thresholds]), 1), np.arange(least, most + 1)
    line = line_of(rows, least, most, 32)
    assume(line is not None)
    assert line is not None
    assert (counted(line, 0, h) == np.searchsorted(rows[0], h, side="right")).all()


def test_equal_steps_have_a_line() -> None:
    rows = np.ceil(np.outer([101.3, 977.7, 2345.6], np.arange(1, 16)) - 55.5).astype(np.int64)
    way = way_of(rows, -40_000, 40_000)
    assert isinstance(way, Line)
    assert way.bits == 32
    wide = way_of(np.arange(1, 16)[None] * 50_000_017 - 3, -(1 << 30), 1 << 30)
    assert isinstance(wide, Line)
    assert wide.bits == 64


def test_what_has_no_line_is_compared_or_searched() -> None:
    squares = np.square(np.arange(1, 12))[None]
    assert way_of(squares, -10, 1000) == "compare"
    assert way_of(np.square(np.arange(1, 99))[None], -10, 100_000) == "search"
