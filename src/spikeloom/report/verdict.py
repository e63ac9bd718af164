"""
The verdict in words: what the numbers say, in sentences that a person can repeat, with nothing said that was not measured.

Two networks on the same samples are compared paired, accuracies by McNemar's test (Psychometrika 12, 1947), all else by the sign test:
p below 0.05 is called a difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from spikeloom.report.data import Row, Story
from spikeloom.report.measure import ACCURACY, COSINE, PERPLEXITY, measure_of
from spikeloom.report.numerals import MISSING, NBSP, Number, count, decimal, finite, joules, percent, probability, times

SIGNIFICANT = 0.05
CLOSE, FAR = 1.0, 3.0  # points below the ANN that are called good, and bad
CLOSE_PERPLEXITY, FAR_PERPLEXITY = 2.5, 10.0  # percent above the ANN's perplexity that are called good, and bad
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


def judged(story: Story) -> Mapping[str, Any]:
    """By network what the story's networks are judged by, null where one was not measured."""
    return measure_of(story.metrics).of(story.metrics or {})


def accuracies(story: Story) -> Mapping[str, Any]:
    """The accuracies by network, null where one was not measured."""
    return (story.metrics or {}).get("accuracy") or {}


def places(story: Story) -> int:
    """Decimals that a percentage of this many samples deserves."""
    metrics = story.metrics or {}
    samples = metrics.get("tokens") if finite(metrics.get("tokens")) else metrics.get("samples")
    return 2 if finite(samples) and samples >= 5000 else 1


def sentence(story: Story) -> tuple[Span, ...]:
    """The first thing on the page: how good the SNN is, beside the ANN and plain quantisation."""
    metrics = story.metrics
    if metrics is None:
        return (Span("The network was converted; it was not evaluated."),)
    samples = f"{count(metrics.get('samples'))} {story.unit}" if finite(metrics.get("samples")) else f"the {story.unit}"
    measure, opening = measure_of(metrics), _setting(metrics)
    if finite(judged(story).get("snn")):
        told = {PERPLEXITY: _of_language, COSINE: _of_embeddings}.get(measure, _of_classes)
        return Span(f"{opening} the SNN"), *told(story, samples)
    if finite(metrics.get("agreement")):
        rate = Span(percent(metrics["agreement"], places(story)), "agreement")
        return (
            Span(f"{opening} the SNN gives the ANN's {measure.same} on "),
            rate,
            Span(f" of {samples}; how good either is was not measured."),
        )
    return (Span(f"{opening} the SNN ran, but neither its {measure.name.lower()} nor its agreement with the ANN is known."),)


def _of_classes(story: Story, samples: str) -> tuple[Span, ...]:
    """How often the SNN is right."""
    own = Span(percent(judged(story)["snn"], places(story)), "snn")
    return Span(" is right on "), own, Span(f" of {samples}"), *_beside(story, "on "), Span(f"{_tested(story)}.")


def _of_language(story: Story, samples: str) -> tuple[Span, ...]:
    """What the SNN's perplexity is, and how often it would go on as the ANN would."""
    rate = (story.metrics or {}).get("next_token_agreement")
    own = Span(PERPLEXITY.written(judged(story)["snn"]), "snn")
    same = (Span(" It foresees the ANN's next token "), Span(percent(rate, places(story)), "agreement"), Span(" of the time."))
    said = (Span(" has a perplexity of "), own, Span(f" on {samples} of text"), *_beside(story, ""), Span(f"{_tested(story)}."))
    return (*said, *same) if finite(rate) else said


def _of_embeddings(story: Story, samples: str) -> tuple[Span, ...]:
    """How near the SNN's embeddings are to the ANN's, whether they rank samples alike, and where maps agree."""
    ranks = ((story.metrics or {}).get("rank_agreement") or {}).get("snn")
    places_alike = (story.metrics or {}).get("agreement")
    own = Span(COSINE.written(judged(story)["snn"]), "snn")
    same = (Span(f" All pairs of {story.unit} are ranked alike by "), Span(decimal(ranks, 4), "agreement"), Span(" (Spearman)."))
    said = (
        Span(" embeds " if story.unit == "sentences" else " gives outputs for "),
        Span(f"{samples} with a mean cosine of "),
        own,
        Span(" to the ANN"),
        *_beside(story, ""),
        Span(f"{_tested(story)}."),
    )
    where = (Span(" The largest channel is the ANN's at "), Span(percent(places_alike, places(story)), "agreement"), Span(" of places."))
    return (*said, *(same if finite(ranks) else ()), *(where if finite(places_alike) else ()))


def text(spans: tuple[Span, ...]) -> str:
    """The sentence without its roles."""
    return "".join(span.text for span in spans)


def _setting(metrics: Row) -> str:
    steps, levels = metrics.get("timesteps"), metrics.get("levels")
    if not finite(steps):
        return "As converted,"
    return f"At T={count(steps)}" + (f" with {count(levels)} {'level' if levels == 1 else 'levels'}" if finite(levels) else "")


def _beside(story: Story, before: str) -> tuple[Span, ...]:
    """The ANN and plain quantisation, after the SNN."""
    values, parts = judged(story), list[Span]()
    for key, name in (("ann", "the ANN"), ("control", CONTROL)):
        if finite(values.get(key)):
            own = Span(measure_of(story.metrics).written(values[key], places(story)), key)
            parts += [Span(f"{', ' if parts else '; '}{name} {before}".rstrip() + " "), own]
    return tuple(parts)


def tested(story: Story) -> Number | None:
    """p of the paired test of the SNN against plain quantisation: of accuracies McNemar's, of all else the sign test."""
    test = story.mcnemar if measure_of(story.metrics) is ACCURACY else (story.metrics or {}).get("sign_test")
    p = (test or {}).get("p")
    return p if finite(p) else None


def _tested(story: Story) -> str:
    p = tested(story)
    return f" ({probability(p)})" if p is not None and finite(judged(story).get("control")) else ""


def paired(story: Story) -> list[str]:
    """The paired tests of the SNN against plain quantisation in words."""
    said, metrics = list[str](), story.metrics or {}
    if story.mcnemar:
        only = [count(story.mcnemar.get(key)) for key in ("snn_only_right", "control_only_right")]
        what = "next tokens" if measure_of(metrics) is PERPLEXITY else story.unit
        p = probability(story.mcnemar.get("p"))
        said.append(f"The SNN alone is right on {only[0]}, plain quantisation alone on {only[1]} {what} (McNemar, {p}).")
    if test := metrics.get("sign_test"):
        better, worse = count(test.get("snn_better")), count(test.get("control_better"))
        p = probability(test.get("p"))
        said.append(f"The SNN is nearer to what it should be on {better}, plain quantisation on {worse} {story.unit} (sign test, {p}).")
    return said


def findings(story: Story) -> tuple[Finding, ...]:
    """Judgements that fit on one line each: against the ANN, against the control, what is left floating, energy."""
    found = (_against_ann(story), _against_control(story), _floating(story), _energy_in_short(story))
    return tuple(finding for finding in found if finding is not None)


def _against_ann(story: Story) -> Finding | None:
    snn, ann = judged(story).get("snn"), judged(story).get("ann")
    if not (finite(snn) and finite(ann)):
        return None
    if measure_of(story.metrics) is PERPLEXITY:
        return _above(100 * (snn / ann - 1)) if ann > 0 else None
    points = round(100 * (snn - ann), places(story))
    if points == 0:
        return Finding("As accurate as the ANN", "good")
    amount = f"{abs(points):.{places(story)}f} points {'above' if points > 0 else 'below'} the ANN"
    return Finding(amount, "good" if points >= -CLOSE else "bad" if points < -FAR else "plain")


def _above(amount: float) -> Finding:
    """How far the SNN's perplexity is above the ANN's, in percent of it."""
    said = f"Perplexity {abs(amount):.1f}{NBSP}% {'above' if amount > 0 else 'below'} the ANN's"
    return Finding(said, "good" if amount <= CLOSE_PERPLEXITY else "bad" if amount > FAR_PERPLEXITY else "plain")


def _against_control(story: Story) -> Finding | None:
    snn, control, measure = judged(story).get("snn"), judged(story).get("control"), measure_of(story.metrics)
    if not (finite(snn) and finite(control)):
        return None
    p, better = tested(story), snn < control if measure is PERPLEXITY else snn > control
    if p is None and measure is ACCURACY:
        points = 100 * (snn - control)
        return Finding(f"{abs(points):.{places(story)}f} points {'above' if points >= 0 else 'below'} {CONTROL}, difference not tested")
    if p is None:
        return Finding(f"{'Better' if better else 'Worse'} than {CONTROL}, difference not tested")
    if p >= SIGNIFICANT:
        return Finding(f"No clear difference from {CONTROL} ({probability(p)})")
    return Finding(f"{'Better' if better else 'Worse'} than {CONTROL} ({probability(p)})", "good" if better else "bad")


def _floating(story: Story) -> Finding | None:
    """Whether everything that is not linear is computed by neurons; None where that was not looked at."""
    floating = (story.metrics or {}).get("floating_operations")
    if floating is None:
        return None
    means = len((story.metrics or {}).get("running_means") or ())
    after = f", {means} on running means" if means else ""
    if not floating:
        return Finding(f"Every nonlinear operation is computed by neurons{after}", "good")
    one = len(floating) == 1
    return Finding(f"{len(floating)} operation{'' if one else 's'} stay{'s' if one else ''} floating point{after}")


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
