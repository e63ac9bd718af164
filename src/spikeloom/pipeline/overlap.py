"""
Samples that are learnt from and measured on: where an address names a split or rows, both may be the same.
"""

from typing import Any

import numpy as np

from spikeloom.datasets import Dataset
from spikeloom.errors import DataError
from spikeloom.pipeline.samples import Samples


def check_apart(train: Dataset, test: Dataset, todo: str) -> None:
    """Nothing where no sample is in both; else DataError, which says what to do."""
    both = _common((train.name, train.split, train.rows), (test.name, test.split, test.rows))
    if both:
        found = f"{both} rows of {train.name}, split {train.split!r}, to learn from and to measure on"
        raise DataError("a network cannot be measured on what it has learnt from", found=found, todo=todo)


def with_seen(found: dict[str, Any], count: int) -> dict[str, Any]:
    """What was `judged`, with how many of the samples were calibrated on, where there are any."""
    if not count:
        return found
    metrics, story = {**found["metrics"], "seen_in_calibration": count}, found["story"]
    said = f"Of {metrics['samples']} samples {count} were calibrated on: the address names them for both."
    shown = {**story["metrics"], "seen_in_calibration": count}
    return {"metrics": metrics, "story": {**story, "metrics": shown, "assumptions": [*story["assumptions"], said]}}


def seen(calibration: Samples, test: Samples) -> int:
    """How many of the samples that judge a network were calibrated on; 0 too where nobody knows which they are."""
    return 0 if calibration.rows is None or test.rows is None else _common(calibration.rows, test.rows)


def _common(one: tuple[str, str, np.ndarray], other: tuple[str, str, np.ndarray]) -> int:
    return len(np.intersect1d(one[2], other[2])) if one[:2] == other[:2] else 0
