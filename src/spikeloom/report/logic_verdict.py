"""
The verdict on a logic-gated network in words: what the numbers say, with nothing said that was not measured.
"""

from collections.abc import Mapping
from typing import Any

from spikeloom.report.logic_data import LogicStory
from spikeloom.report.numerals import MISSING, count, duration, finite, joules, percent, times
from spikeloom.report.verdict import Finding, Span

CLOSE, FAR = 0.015, 0.03
"""Shares below what a network is judged against that are called good, and bad."""
WORDS = {
    "bit_flip": "of the bits turned over",
    "salt_and_pepper": "of the values replaced by 0 or 1",
    "gaussian": "Gaussian noise",
    "occlusion": "of the picture covered",
    "dropped": "of the sensors dropped",
    "jitter": "of the events moved",
}


def places(story: LogicStory) -> int:
    """Decimals that a percentage of this many samples deserves."""
    samples = story.metrics.get("samples")
    return 2 if finite(samples) and samples >= 5000 else 1


def noisy(story: LogicStory) -> str:
    """What a share of noise is a share of."""
    return WORDS.get(story.kinds[0], story.kinds[0]) if len(story.kinds) == 1 else "noise"


def sentence(story: LogicStory) -> tuple[Span, ...]:
    """The first thing on the page: how good the network is without noise and under the strongest from which something can be learnt."""
    known = [row for row in story.curve if finite(row.get("network"))]
    if not known:
        return (Span("The network was trained; it was not evaluated."),)
    rows: Mapping[float, Any] = {row["noise"]: row["network"] for row in known}
    near = min(rows, key=lambda level: abs(level - 0.4))
    clean = Span(percent(rows.get(0.0), places(story)), "snn")
    told = (Span("The network is right on "), clean, Span(f" of {count(story.metrics.get('samples'))} samples")) if 0.0 in rows else ()
    if near == 0.0:
        return (*told, Span("."))
    begin = " without noise, on " if told else "The network is right on "
    return (*told, Span(begin), Span(percent(rows[near], places(story)), "snn"), Span(f" with {percent(near, 0)} {noisy(story)}."))


def findings(story: LogicStory) -> tuple[Finding, ...]:
    """Judgements that fit on one line each."""
    found = (
        _against(story, "bayes", "the Bayes limit"),
        _against(story, "twin_noise", "the floating twin"),
        _clean(story),
        _products(story),
    )
    return tuple(finding for finding in found if finding is not None)


def _against(story: LogicStory, key: str, name: str) -> Finding | None:
    gaps = [(row[key] - row["network"], row["noise"]) for row in story.curve if finite(row.get(key)) and finite(row.get("network"))]
    if not gaps:
        return None
    gap, level = max(gaps)
    if gap <= 0:
        return Finding(f"At or above {name} at every level", "good")
    said = f"{100 * gap:.1f} points below {name} at most (at {percent(level, 0)})"
    return Finding(said, "good" if gap <= CLOSE else "bad" if gap > FAR else "plain")


def _clean(story: LogicStory) -> Finding | None:
    """What it is worth to have met noise in training."""
    gains = [
        (row["network"] - row["twin_clean"], row["noise"])
        for row in story.curve
        if finite(row.get("twin_clean")) and finite(row.get("network"))
    ]
    if not gains:
        return None
    gain, level = max(gains)
    if gain <= 0:
        return Finding("Nowhere above the floating twin that never met noise", "bad")
    return Finding(f"Up to {100 * gain:.1f} points above the twin that never met noise (at {percent(level, 0)})", "good")


def _products(story: LogicStory) -> Finding | None:
    products = story.metrics.get("multiplications")
    if not finite(products):
        return None
    return Finding("No multiplication", "good") if products == 0 else Finding(f"{count(products)} multiplications an inference", "bad")


def tiles(story: LogicStory) -> list[tuple[str, str, str]]:
    """The key numbers: (name, number, remark), those that are known."""
    metrics, energy = story.metrics, story.metrics.get("energy_pj") or {}
    smaller = times(metrics.get("float_weight_bytes"), metrics.get("weight_bytes"))
    training = (metrics.get("training") or {}).get("network") or {}
    against = times(energy.get("snn"), energy.get("ann_int8"))
    rows = [
        ("Gates", metrics.get("gates"), count(metrics.get("gates")), f"and {count(metrics.get('input_bits'))} input bits"),
        ("Weights", metrics.get("weights"), count(metrics.get("weights")), f"of -1, 0, 1; {percent(metrics.get('zero_weights'))} are 0"),
        ("Memory of weights", metrics.get("weight_bytes"), size(metrics.get("weight_bytes")), f"{smaller} smaller than in fp32"),
        ("Additions", metrics.get("additions"), count(metrics.get("additions")), "of whole numbers, per inference"),
        ("Multiplications", metrics.get("multiplications"), count(metrics.get("multiplications")), "per inference, counted"),
        ("Energy, estimated", energy.get("snn"), joules(energy.get("snn")), "" if against == MISSING else f"{against} the int8 twin"),
        ("Training", training.get("seconds"), duration(training.get("seconds")), f"{count(training.get('epochs'))} epochs"),
        ("Whole run", metrics.get("seconds"), duration(metrics.get("seconds")), "data to report"),
    ]
    return [(name, number, remark) for name, value, number, remark in rows if finite(value)]


def size(value: object) -> str:
    """Bytes as a person reads them."""
    if not finite(value):
        return MISSING
    for unit, sign in ((2**20, "MiB"), (2**10, "KiB")):
        if value >= unit:
            return f"{value / unit:.1f} {sign}"
    return f"{value:.0f} bytes"
