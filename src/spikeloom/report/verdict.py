"""
The verdict in words: what the numbers say, in sentences that a person can repeat, with nothing said that was not measured.

Two accuracies on the same samples are compared paired, by McNemar's test (Psychometrika 12, 1947): p below 0.05 is called a difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from spikeloom.report.data import Row, Story
from spikeloom.report.numerals import MISSING, count, finite, joules, percent, probability, times

SIGNIFICANT = 0.05
CLOSE, FAR = 1.0, 3.0  # points below the ANN that are called good, and bad
CONTROL = "plain quantisation"


@final
@dataclass(frozen=True)
class Span:
    """A piece of a sentence; `role` names what it is a number of (snn, ann, control, agreement) or is empty."""

    text: str
    role: str = ""


@final
@dataclass(frozen=True)
class Finding:
    """One short judgement; `tone` is 'good', 'plain' or 'bad'."""

    text: str
    tone: str = "plain"


def accuracies(story: Story) -> Mapping[str, Any]:
    """The accuracies by network, null where one was not measured."""
    return (story.metrics or {}).get("accuracy") or {}


def places(story: Story) -> int:
    """Decimals that a percentage of this many samples deserves."""
    samples = (story.metrics or {}).get("samples")
    return 2 if finite(samples) and samples >= 5000 else 1


def sentence(story: Story) -> tuple[Span, ...]:
    """The first thing on the page: how often the SNN is right, beside the ANN and plain quantisation."""
    metrics = story.metrics
    if metrics is None:
        return (Span("The network was converted; it was not evaluated."),)
    digits, accuracy = places(story), accuracies(story)
    opening = Span(f"{_setting(metrics)} the SNN ")
    samples = f"{count(metrics.get('samples'))} {story.unit}" if finite(metrics.get("samples")) else f"the {story.unit}"
    if finite(accuracy.get("snn")):
        return (
            opening,
            Span("is right on "),
            Span(percent(accuracy["snn"], digits), "snn"),
            Span(f" of {samples}"),
            *_beside(accuracy, digits),
            Span(_tested(story)),
            Span("."),
        )
    if finite(metrics.get("agreement")):
        rate = Span(percent(metrics["agreement"], digits), "agreement")
        return opening, Span("gives the ANN's answer on "), rate, Span(f" of {samples}; how often either is right was not measured.")
    return opening, Span("ran, but neither its accuracy nor its agreement with the ANN is known.")


def text(spans: tuple[Span, ...]) -> str:
    """The sentence without its roles."""
    return "".join(span.text for span in spans)


def _setting(metrics: Row) -> str:
    steps, levels = metrics.get("timesteps"), metrics.get("levels")
    if not finite(steps):
        return "As converted,"
    return f"At T={count(steps)}" + (f" with {count(levels)} {'level' if levels == 1 else 'levels'}" if finite(levels) else "")


def _beside(accuracy: Row, digits: int) -> tuple[Span, ...]:
    parts: list[Span] = []
    for key, name in (("ann", "the ANN"), ("control", CONTROL)):
        if finite(accuracy.get(key)):
            parts += [Span(f"{', ' if parts else '; '}{name} on "), Span(percent(accuracy[key], digits), key)]
    return tuple(parts)


def _tested(story: Story) -> str:
    p = (story.mcnemar or {}).get("p")
    return f" ({probability(p)})" if finite(p) and finite(accuracies(story).get("control")) else ""


def findings(story: Story) -> tuple[Finding, ...]:
    """Judgements that fit on one line each: against the ANN, against the control, energy."""
    found = (_against_ann(story), _against_control(story), _energy_in_short(story))
    return tuple(finding for finding in found if finding is not None)


def _against_ann(story: Story) -> Finding | None:
    snn, ann = accuracies(story).get("snn"), accuracies(story).get("ann")
    if not (finite(snn) and finite(ann)):
        return None
    points = round(100 * (snn - ann), places(story))
    if points == 0:
        return Finding("As accurate as the ANN", "good")
    amount = f"{abs(points):.{places(story)}f} points {'above' if points > 0 else 'below'} the ANN"
    return Finding(amount, "good" if points >= -CLOSE else "bad" if points < -FAR else "plain")


def _against_control(story: Story) -> Finding | None:
    snn, control = accuracies(story).get("snn"), accuracies(story).get("control")
    if not (finite(snn) and finite(control)):
        return None
    p = (story.mcnemar or {}).get("p")
    if not finite(p):
        points = 100 * (snn - control)
        return Finding(f"{abs(points):.{places(story)}f} points {'above' if points >= 0 else 'below'} {CONTROL}, difference not tested")
    if p >= SIGNIFICANT:
        return Finding(f"No clear difference from {CONTROL} ({probability(p)})")
    better = snn > control
    return Finding(f"{'Better' if better else 'Worse'} than {CONTROL} ({probability(p)})", "good" if better else "bad")


def _energy_in_short(story: Story) -> Finding | None:
    spent = totals(story)
    ratio = times(spent.get("snn"), spent.get("ann_int8"))
    if ratio == MISSING:
        return None
    loses = spent["snn"] > spent["ann_int8"]
    return Finding(f"{ratio} the energy of the int8 ANN, estimated", "bad" if loses else "good")


def energy_rows(story: Story) -> tuple[Row, ...]:
    """The energy table; from the metrics' totals where no table was given."""
    if story.energy:
        return tuple(story.energy)
    given = (story.metrics or {}).get("energy_pj") or {}
    named = (("ANN fp32", "ann_fp32"), ("ANN int8", "ann_int8"), ("SNN", "snn"))
    return tuple({"network": name, "total_pj": given[key]} for name, key in named if given.get(key) is not None)


def totals(story: Story) -> dict[str, Any]:
    """Picojoules per inference by network, as in metrics.json, from the table where the metrics lack them."""
    given = dict((story.metrics or {}).get("energy_pj") or {})
    table = {str(row["network"]).lower().replace(" ", "_"): row["total_pj"] for row in story.energy}
    return {key: given.get(key) if given.get(key) is not None else table.get(key) for key in ("ann_fp32", "ann_int8", "snn")}


def energy_sentence(story: Story) -> Finding | None:
    """Whether the SNN wins or loses against the ANN in int8, and where its energy goes; None where either is unknown."""
    spent = totals(story)
    snn, int8, fp32 = (spent.get(key) for key in ("snn", "ann_int8", "ann_fp32"))
    if not (finite(snn) and finite(int8) and int8 > 0):
        return None
    against = f"{times(snn, int8)} the ANN in int8 ({joules(snn)} against {joules(int8)})"
    against += f" and {times(snn, fp32)} the ANN in fp32" if times(snn, fp32) != MISSING else ""
    if snn <= int8:
        return Finding(f"The SNN is estimated to need {against}.", "good")
    memory = next((row.get("memory_pj") for row in story.energy if row["network"] == "SNN"), None)
    where = f" Memory traffic is {percent(memory / snn, 0)} of it." if finite(memory) and snn > 0 else ""
    return Finding(f"The SNN loses here: it is estimated to need {against}.{where}", "bad")
