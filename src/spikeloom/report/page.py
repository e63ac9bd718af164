"""
The page: one HTML file that needs nothing else. Its policy forbids every request and every script but its own, so that no
name from a model can run anything or phone anywhere, whatever it is called.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from spikeloom.ir import write_bytes
from spikeloom.report import charts, logic_charts, measure, numerals, populations, refined, search, sweep, verdict
from spikeloom.report.data import STATUSES, Row, Story

SIGNS = {"exact": "=", "approximate": "≈", "floating": "~", "unsupported": "✕"}
ABSENT = {
    "metrics": "nothing was evaluated in this run.",
    "curve": "accuracy was not measured at several numbers of steps.",
    "sweep": "other numbers of levels and steps were not measured; `spikeloom convert` does it with --sweep.",
    "noise": "inputs were not disturbed in this run; `spikeloom convert --method logic_gated --noise` does it.",
    "search": "nothing was searched, trained or chosen from; `spikeloom tune` and `finetune` do, and `convert --levels auto`.",
    "refined": "the network is as it was converted; `spikeloom compress`, `calibrate`, `tune` and `finetune` change that.",
    "fidelity": "the layers were not compared with the ANN in this run.",
    "thresholds": "no activation histograms were kept in this run.",
    "raster": "no spikes were recorded in this run.",
    "energy": "no energy was estimated in this run.",
    "assumptions": "no assumptions were handed to the report.",
    "plan": "no plan was handed to the report.",
    "records": "no pass left a record.",
    "settings": "no settings were handed to the report.",
}
INLINE = re.compile(
    r"""`(?P<code>[^`]+)`
    |(?P<url>https?://[^\s<>"')\]]+[^\s<>"')\].,;:])
    |arXiv[:\ ](?P<arxiv>\d{4}\.\d{4,5})
    |doi:(?P<doi>10\.\d{4,9}/[^\s<>"',;]*[^\s<>"',;.)])""",
    re.VERBOSE,
)


def prose(text: str) -> Markup:
    """A text with its web addresses, arXiv numbers and DOIs as links and its `code` as code; all else escaped."""
    parts: list[Markup] = []
    end = 0
    for match in INLINE.finditer(text):
        parts += [escape(text[end : match.start()]), _inline(match)]
        end = match.end()
    return Markup("").join([*parts, escape(text[end:])])


def _inline(match: re.Match[str]) -> Markup:
    if match["code"]:
        return Markup("<code>{}</code>").format(match["code"])
    address = match["url"] or (f"https://arxiv.org/abs/{match['arxiv']}" if match["arxiv"] else f"https://doi.org/{match['doi']}")
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(address, match[0])


def why(story: Story, part: str) -> str:
    """Why a part is not on the page."""
    return story.reasons.get(part) or ABSENT[part]


def breakable(name: str) -> Markup:
    """A name that may wrap after dots, underscores and slashes."""
    return Markup("<wbr>").join(re.split(r"(?<=[._/])", name))


def shares(plan: Sequence[Row]) -> list[tuple[str, float]]:
    """The share of the operations that has each status; statuses that do not occur are left out."""
    found = [row["status"] for row in plan]
    return [(status, found.count(status) / len(found)) for status in STATUSES if status in found]


def same_name(name: str, other: str) -> bool:
    """Whether two names differ in punctuation only: layer1.0.relu and layer1_0_relu."""
    return re.sub(r"\W|_", "", name) == re.sub(r"\W|_", "", other)


def references(records: Sequence[Row]) -> list[str]:
    """Every paper of the records once, in order of first use."""
    return list(dict.fromkeys(paper for record in records for paper in record.get("papers") or ()))


def tiles(story: Story) -> list[tuple[str, str, str]]:
    """The key numbers: (name, number, remark), those that are known."""
    metrics, spent = story.metrics or {}, verdict.totals(story)
    seconds: Mapping[str, Any] = metrics.get("seconds") or {}
    judge = measure.measure_of(story.metrics)
    snn, agreement, spikes, operations = (
        spent.get("snn"),
        *(metrics.get(k) for k in ("agreement", "spikes_per_inference", "synaptic_operations")),
    )
    against = [(numerals.times(snn, spent.get(key)), name) for key, name in (("ann_int8", "the int8 ANN"), ("ann_fp32", "fp32"))]
    slower = numerals.times(seconds.get("snn"), seconds.get("ann"))
    rows = [
        ("Agreement", agreement, numerals.percent(agreement, verdict.places(story)), f"same {judge.same} as the ANN"),
        *beside(metrics),
        (
            "Energy, estimated",
            snn,
            numerals.joules(snn),
            ", ".join(f"{ratio} {name}" for ratio, name in against if ratio != numerals.MISSING),
        ),
        ("Spikes", spikes, numerals.count(spikes), "per inference"),
        ("Synaptic operations", operations, numerals.count(operations), "per inference"),
        ("Spike-driven", story.spike_share, numerals.percent(story.spike_share), "of the ANN's operations (MACs)"),
        ("Run time", seconds.get("snn"), numerals.duration(seconds.get("snn")), _beside(slower, seconds.get("ann"))),
        ("Conversion", seconds.get("conversion"), numerals.duration(seconds.get("conversion")), "with calibration"),
    ]
    return [(name, number, remark) for name, value, number, remark in rows if numerals.finite(value)]


def beside(metrics: Row) -> list[tuple[str, Any, str, str]]:
    """Key numbers that only some tasks have."""
    divergence, bits, ranks = metrics.get("kl_nats"), metrics.get("bits_per_token") or {}, metrics.get("rank_agreement") or {}
    ann = f"the ANN {numerals.decimal(bits.get('ann'), 3)}" if numerals.finite(bits.get("ann")) else "of the SNN"
    return [
        ("Divergence", divergence, numerals.decimal(divergence, 4), "nats a token, from the ANN"),
        ("Bits per token", bits.get("snn"), numerals.decimal(bits.get("snn"), 3), ann),
        ("Rank agreement", ranks.get("snn"), numerals.decimal(ranks.get("snn"), 4), "of all pairs, with the ANN"),
    ]


def _beside(slower: str, ann_seconds: object) -> str:
    return "of the SNN" if slower == numerals.MISSING else f"{slower} the ANN ({numerals.duration(ann_seconds)})"


def lines() -> dict[str, charts.Line]:
    """The networks by key, for legends."""
    return {line.key: line for line in (charts.ANN, charts.SNN, charts.CONTROL, charts.AGREEMENT)}


def worst_row(story: Story) -> Row | None:
    """The layer that hurts most: the named one, else the lowest signal-to-error ratio."""
    known = [row for row in story.fidelity if numerals.finite(row.get("sqnr_db"))]
    named = [row for row in story.fidelity if row["node"] == story.worst]
    return named[0] if named else min(known, key=lambda row: row["sqnr_db"], default=None)


def environment() -> Environment:
    """Jinja with autoescape on, strict about names, and the page's vocabulary."""
    loader = PackageLoader("spikeloom.report", "template")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    modules: dict[str, Any] = {"charts": charts, "populations": populations, "numerals": numerals, "sweep": sweep, "verdict": verdict}
    modules |= {"refined": refined, "search": search, "noise": logic_charts}
    functions: dict[str, Any] = {"signs": SIGNS, "why": why, "shares": shares, "same_name": same_name}
    made.globals.update(modules | functions)
    made.filters.update({"prose": prose, "breakable": breakable})
    made.tests.update({"finite": numerals.finite, "exact": numerals.exact})
    return made


def policy(script: str) -> str:
    """The page's content security policy: no request at all, and this one script only."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def render(story: Story) -> str:
    """The whole page as HTML: no request, no outside file; every text of the story escaped."""
    template = files("spikeloom.report") / "template"
    style, script = ((template / name).read_text("utf-8") for name in ("style.css", "script.js"))
    worst = worst_row(story)
    return (
        environment()
        .get_template("page.html")
        .render(
            story=story,
            metrics=story.metrics or {},
            measure=measure.measure_of(story.metrics),
            judged=verdict.judged(story),
            lines=lines(),
            figures=tiles(story),
            worst=worst,
            worst_node=worst["node"] if worst else None,
            references=references(story.records),
            energy=verdict.energy_rows(story),
            style=Markup(style),
            script=Markup(script),
            policy=policy(script),
        )
    )


def write(story: Story, path: Path) -> None:
    """Write the page whole or not at all. Raises ResourceError when the disk refuses."""
    write_bytes(path, render(story).encode())
