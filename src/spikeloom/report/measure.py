"""
What networks are judged by, as one value: where it lies in the metrics and in the rows over T, what it is called, how it is written.

    accuracy     of classifiers: the share of right answers, more is better
    perplexity   of models that write texts, less is better
    cosine       of models that embed sentences, or give other numbers: how near these are to the ANN's, more is better
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from spikeloom.report.data import Row
from spikeloom.report.numerals import MISSING, Number, decimal, finite, percent, significant
from spikeloom.report.svg import ticks

Cell = Callable[[Row, int], str]
"""What a row of the curve says in a column, percentages with that many decimals."""


@final
@dataclass(frozen=True)
class Measure:
    """
    key: its name in the metrics and in the rows of the curve. name: what it is called. caption: what its numbers are, above a chart.
    share: whether it is a share of the samples, written in percent and with an interval of its own.
    same: what the SNN and the ANN have in common where they agree. columns: what stands beside it in the table over T.
    """

    key: str
    name: str
    caption: str
    share: bool
    same: str
    columns: Sequence[tuple[str, Cell]]

    def of(self, row: Row) -> dict[str, Any]:
        """Its values by network in the metrics, or in a row of the curve: {ann, snn, control}, null where one was not measured."""
        found = row.get(self.key)
        given: Row = found if isinstance(found, Mapping) else {"snn": found, "ann": row.get("ann"), "control": row.get("control")}
        return {name: given.get(name) for name in ("ann", "snn", "control")}

    def written(self, value: object, digits: int = 1) -> str:
        """A value of it; a share with that many decimals in percent."""
        if self.share:
            return percent(value, digits)
        return significant(value, 4) if finite(value) else decimal(value, 4)

    def tick(self, value: Number, last: bool = False) -> str:
        """A value on an axis."""
        return f"{100 * value:g}{' %' if last else ''}" if self.share else f"{value:g}"

    def ticks(self, values: Sequence[Number], wanted: int = 5) -> list[Number]:
        """Round values that enclose these: of a share from 0 to 1, and at least two points apart."""
        if self.share:
            return share_ticks(values, wanted)
        room = 0.0 if max(values) > min(values) else 0.01 * abs(max(values)) or 0.01
        return ticks(min(values) - room, max(values) + room, wanted)


def share_ticks(values: Sequence[Number], wanted: int = 5) -> list[Number]:
    """Round shares from 0 to 1 around the values, at least two points apart."""
    low, high = min(values), max(values)
    room = max(0.0, 0.01 - (high - low) / 2)
    return [tick for tick in ticks(max(0.0, low - room), min(1.0, high + room), wanted) if 0 <= tick <= 1]


def _agreement(row: Row, digits: int) -> str:
    return percent(row.get("agreement"), digits)


def _nats(row: Row, digits: int) -> str:
    value = row.get("kl_nats")
    return significant(value, 3) if finite(value) else MISSING


def _ranks(row: Row, digits: int) -> str:
    return decimal((row.get("rank_agreement") or {}).get("snn"), 4)


ACCURACY = Measure("accuracy", "Accuracy", "Right answers", True, "answer", (("Same as ANN", _agreement),))
PERPLEXITY = Measure(
    "perplexity",
    "Perplexity",
    "Perplexity (less is better)",
    False,
    "next token",
    (("Same as ANN", _agreement), ("KL, nats a token", _nats)),
)
COSINE = Measure(
    "cosine",
    "Cosine",
    "Mean cosine to what the ANN gives",
    False,
    "largest channel at a place",
    (("Rank agreement", _ranks), ("Same as ANN", _agreement)),
)


def measure_of(metrics: Row | None) -> Measure:
    """What these metrics judge networks by."""
    return next((measure for measure in (PERPLEXITY, COSINE) if (metrics or {}).get(measure.key) is not None), ACCURACY)
