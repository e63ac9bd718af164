"""What no rule takes: parameters out of range. Every rule refuses when it is made, so that none fails halfway through a run."""

import math

from spikeloom.errors import ConfigError


def refuse_unless_positive(rule: str, **values: float | None) -> None:
    """Raises ConfigError for a value that is not above 0; infinity and None pass."""
    for name, value in values.items():
        if value is not None and not value > 0:
            raise ConfigError(f"{rule}: {name} must be positive", found=value)


def refuse_unless_within(rule: str, low: float, high: float, **values: float) -> None:
    """Raises ConfigError for a value outside low … high."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ConfigError(f"{rule}: {name} is out of range", found=value, allowed=f"{low:g} to {high:g}")


def refuse_unless_finite(rule: str, **values: float) -> None:
    """Raises ConfigError for a value that is no number or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ConfigError(f"{rule}: {name} must be a finite number", found=value)
