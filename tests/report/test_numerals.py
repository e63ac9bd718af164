"""Numbers as text."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from spikeloom.report import numerals

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("write", "value", "expected"),
    [
        (numerals.percent, 0.9, "90.0 %"),
        (numerals.percent, None, "–"),
        (numerals.percent, NAN, "undefined"),
        (numerals.count, 71_530, "71,530"),
        (numerals.count, 999_999, "999,999"),
        (numerals.count, 12_311_204, "12.3 M"),
        (numerals.count, 4.1e9, "4.10 G"),
        (numerals.count, 15, "15"),
        (numerals.count, 2.25, "2.25"),
        (numerals.count, 0, "0"),
        (numerals.count, INF, "∞"),
        (numerals.joules, 0.9, "0.900 pJ"),
        (numerals.joules, 9.87e6, "9.87 µJ"),
        (numerals.joules, 1.89e8, "189 µJ"),
        (numerals.joules, 0, "0 pJ"),
        (numerals.joules, NAN, "undefined"),
        (numerals.duration, 0.04, "40.0 ms"),
        (numerals.duration, 1.93, "1.93 s"),
        (numerals.duration, 134, "2 min 14 s"),
        (numerals.duration, None, "–"),
        (numerals.decibel, 12.04, "12.0 dB"),
        (numerals.decibel, INF, "exact"),
        (numerals.decibel, NAN, "undefined"),
        (numerals.probability, 0.0312, "p = 0.031"),
        (numerals.probability, 1e-9, "p < 0.001"),
        (numerals.probability, 1, "p = 1.0"),
        (numerals.probability, NAN, "p undefined"),
        (numerals.anything, True, "yes"),
        (numerals.anything, None, "none"),
        (numerals.anything, 12_345, "12,345"),
        (numerals.anything, 1.2e-7, "1.20e-07"),
        (numerals.anything, [1, 0.5, "a"], "1, 0.500, a"),
        (numerals.anything, {"a": {"b": INF}}, "a: b: ∞"),
        (numerals.anything, 10**400, "a whole number of 401 digits"),
    ],
)
def test_wording(write: Callable[[Any], str], value: object, expected: str) -> None:
    assert write(value).replace(numerals.NBSP, " ") == expected


def test_one_unit_for_a_column() -> None:
    assert numerals.joules(0.9e6, like=9.87e6) == f"0.900{numerals.NBSP}µJ"
    assert numerals.joules(0.9e6, like=math.nan) == f"900{numerals.NBSP}nJ"


def test_times_says_nothing_where_there_is_nothing_to_say() -> None:
    assert numerals.times(9.87, 13.1) == f"0.75{numerals.TIMES}"
    assert {numerals.times(1, 0), numerals.times(None, 1), numerals.times(1, NAN)} == {numerals.MISSING}


def test_long_values_are_cut_and_say_so() -> None:
    cut = numerals.anything(list(range(1000)))
    assert cut.endswith("… (cut)")
    assert len(cut) < 175


@pytest.mark.parametrize("value", [NAN, INF, -INF, None, "1", True, 10**400])
def test_finite_refuses(value: object) -> None:
    assert not numerals.finite(value)
