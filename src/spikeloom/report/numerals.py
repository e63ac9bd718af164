"""
Numbers as a person reads them: short, with a unit, never wider than they are sure; a number and its unit never part at a line's end.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

Number = int | float
NBSP = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
MISSING, UNDEFINED = "\N{EN DASH}", "undefined"
INFINITE = ("∞", "\N{MINUS SIGN}∞")
SHORT_SCALE = ((1e12, "T"), (1e9, "G"), (1e6, "M"))
JOULE_SCALE = ((1e12, "J"), (1e9, "mJ"), (1e6, "µJ"), (1e3, "nJ"), (1.0, "pJ"))


def finite(value: object) -> TypeGuard[float]:
    """Whether the value is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def exact(value: object) -> bool:
    """Whether a signal-to-error ratio says that there was no error."""
    return isinstance(value, float) and value == math.inf


def _said(value: object) -> str | None:
    """Words for what is not a finite number, else None."""
    if value is None or not isinstance(value, int | float):
        return MISSING
    if isinstance(value, float) and math.isnan(value):
        return UNDEFINED
    return None if finite(value) else INFINITE[value < 0]


def significant(value: Number, digits: int = 3) -> str:
    """Three digits, without an exponent where that is readable: 0.0123, 1.20, 45.6, 12,300."""
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def percent(value: object, digits: int = 1) -> str:
    """A fraction as a percentage: 0.9 → '90.0 %'."""
    said = _said(value)
    if said or not isinstance(value, int | float):
        return said or MISSING
    return f"{100 * value:.{digits}f}{NBSP}%"


def count(value: object) -> str:
    """A count in full up to a million, then 12.3 M."""
    said = _said(value)
    if said or not isinstance(value, int | float):
        return said or MISSING
    for unit, sign in SHORT_SCALE:
        if abs(value) >= unit:
            return f"{significant(value / unit)}{NBSP}{sign}"
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else significant(value)


def joules(picojoules: object, like: object = None) -> str:
    """An energy given in pJ, in the unit that fits it (or fits `like`, for a column in one unit): 8.12 µJ."""
    said = _said(picojoules)
    if said or not isinstance(picojoules, int | float):
        return said or MISSING
    size = abs(like) if finite(like) and like != 0 else abs(picojoules)
    unit, sign = next((pair for pair in JOULE_SCALE if size >= pair[0]), JOULE_SCALE[-1])
    return f"{significant(picojoules / unit)}{NBSP}{sign}"


def duration(seconds: object) -> str:
    """A time given in seconds: 12.0 ms, 8.21 s, 2 min 14 s."""
    said = _said(seconds)
    if said or not isinstance(seconds, int | float):
        return said or MISSING
    if seconds >= 100:
        return f"{int(seconds) // 60}{NBSP}min {int(seconds) % 60}{NBSP}s"
    return f"{significant(seconds)}{NBSP}s" if seconds >= 1 or seconds == 0 else f"{significant(seconds * 1000)}{NBSP}ms"


def decibel(value: object) -> str:
    """A ratio in dB; infinite means that nothing was lost."""
    if exact(value):
        return "exact"
    return _said(value) or f"{value:.1f}{NBSP}dB"


def decimal(value: object, places: int) -> str:
    """A number with that many decimals."""
    return _said(value) or f"{value:,.{places}f}"


def times(value: object, other: object) -> str:
    """How many times the other one this is, with a cross: 0.45x; a dash where that says nothing."""
    return f"{significant(value / other, 2)}{TIMES}" if finite(value) and finite(other) and other > 0 else MISSING


def probability(p: object) -> str:
    """'p = 0.030' or 'p < 0.001'."""
    said = _said(p)
    if said or not isinstance(p, int | float):
        return f"p {said}"
    return f"p{NBSP}<{NBSP}0.001" if p < 0.001 else f"p{NBSP}={NBSP}{significant(p, 2)}"


def anything(value: object, limit: int = 160) -> str:
    """Any option or number of a record on one line; what is longer than `limit` characters is cut, and says so."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 10**15 else f"a whole number of {len(str(abs(value)))} digits"
    if isinstance(value, float):
        return _said(value) or significant(value)
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {anything(item)}" for key, item in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(anything(item) for item in value)
    else:
        text = str(value)
    return text if len(text) <= limit else f"{text[:limit].rstrip(', ')} … (cut)"
