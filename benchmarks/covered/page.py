"""The findings as rows of benchmarks/results/coverage.json and as the page docs/coverage.md."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from covered.architectures import PICTURES, READERS, Architecture
from covered.measurement import COARSE, EQUAL_ERROR, FINE, Finding
from harness.rows import ROOT, Row

PAGE = ROOT / "docs" / "coverage.md"
EARLIER = "an earlier commit"  # not kept in the first runs
TARGET_EQUAL = 40  # image classifiers
TARGET_FAMILIES = 22
PEER = "SpikingJelly 2.0.0.dev1 converts 7 of 33 (torchvision, timm)"
COMMAND = "python benchmarks/coverage.py"
TITLES = {
    "equal": "Equal",
    "close": "Close",
    "floating": "Equal but for operations that stay floating",
    "unsupported": "Unsupported",
    "not captured": "Not captured",
    "not built": "Not built here",
    "not measured": "Not measured",
    "WRONG": "Wrong",
}
ABOUT = {
    PICTURES: f"{PEER}.",
    READERS: """A reader of tokens whose attention goes through transformers' interface is captured with positions and masks from outside
and a length that varies; errors are the worse of texts of two lengths. Texts have 11 and 7 tokens, sliding windows 4. After a dot:
the part of a model that is measured; a decoder attends to given encoder states. Of a mixture of experts all are evaluated, those that
the router does not choose with a share of 0; the router chooses by comparing neurons.""",
}


def rows(findings: Sequence[Finding], known: Mapping[str, Architecture]) -> list[Row]:
    """Counts first, then one row for each architecture; `known` are the architectures by their addresses."""
    counts = Counter(found.status for found in findings)
    wrong = counts["WRONG"]
    equal = sum(found.status == "equal" for found in findings if known[found.address].group == PICTURES)
    whole, apart = families(findings, known)
    target, control = f">= {TARGET_FAMILIES}", {"families": whole, "not equal": apart}
    out = [
        Row("architectures equal", equal, "architectures", COMMAND, peer=PEER, target=f">= {TARGET_EQUAL}", holds=equal >= TARGET_EQUAL),
        Row(
            "transformer families equal",
            len(whole),
            "families",
            COMMAND,
            control=control,
            target=target,
            holds=len(whole) >= TARGET_FAMILIES,
        ),
        Row("silent wrong answers", wrong, "architectures", COMMAND, target="0", holds=wrong == 0),
        *(
            Row(f"architectures {status}", counts[status], "architectures", COMMAND)
            for status in TITLES
            if status not in ("equal", "WRONG")
        ),
    ]
    return out + [_row(found) for found in findings]


def families(findings: Sequence[Finding], known: Mapping[str, Architecture]) -> tuple[list[str], list[str]]:
    """The families of transformers of which every row is equal, and the others."""
    named = {known[found.address].family for found in findings} - {""}
    apart = {known[found.address].family for found in findings if found.status != "equal"}
    return sorted(named - apart), sorted(named & apart)


def _row(found: Finding) -> Row:
    judged = found.error_1023 is not None
    return Row(
        name=found.address,
        value=found.error_1023 if judged else found.status,
        unit=f"relative error at T=1, N={FINE}" if judged else "status",
        command=f"{COMMAND} --only {found.address}",
        control={
            "measured at": found.commit or EARLIER,
            "status": found.status,
            "detail": found.detail,
            f"error at N={COARSE}": found.error_255,
            "error of differences": found.differences_1023,
            "populations": found.populations,
            "spiking": found.spike_share,
        },
    )


def finding_of(row: Mapping[str, Any]) -> Finding | None:
    """The finding that a row of the results tells of; None for a row that counts."""
    told: Any = row["control"]
    if not isinstance(told, dict) or "measured at" not in told:
        return None
    return Finding(
        row["name"],
        told["status"],
        told["detail"],
        told[f"error at N={COARSE}"],
        None if isinstance(row["value"], str) else row["value"],
        told["error of differences"],
        told["populations"],
        told["spiking"],
        commit="" if told["measured at"] == EARLIER else told["measured at"],
    )


def write_page(findings: Sequence[Finding], known: Mapping[str, Architecture], path: Path = PAGE) -> None:
    """Write docs/coverage.md whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(findings, known))


def page(findings: Sequence[Finding], known: Mapping[str, Architecture]) -> str:
    """The page: what was done, how many, and for each group of architectures one table for each status."""
    whole, apart = families(findings, known)
    head = f"""# Coverage: which models convert

Made by `{COMMAND}`; do not edit. Every image classifier of transformers, one or two of the smallest of each family of
torchvision and timm that is listed, and language models, encoders, decoders and towers of transformers, each built from its
configuration with small random weights, captured, checked, converted (Scale-and-Fire, T=1, thresholds by maximum), and compared with
the ANN on the calibration samples.

Error: ‖snn − ann‖ / ‖ann‖ of the logits, or of the last hidden states. *Equal*: no floating operation, error at most {EQUAL_ERROR:.0%} at
N={FINE} levels, and falling with N as a quantiser's must (N={COARSE} beside it; 4 times is ideal). *Of differences*: the same, the mean
over samples taken out. *Close*: errors add up over the layers of a random network to more than that, and fall with N as they should.
*Spiking*: the share of multiply-accumulates that become spike-driven.

{len(whole)} families of transformers equal: {", ".join(whole)}.{f" Not in every part: {', '.join(apart)}." if apart else ""}
"""
    old = sum(not found.commit for found in findings)
    head += f"\n{old} rows were measured at {EARLIER}, which was not kept; the others say theirs in the results.\n" if old else ""
    measured = {found.address for found in findings}
    waiting = [f"`{address}`" for address in known if address not in measured]
    head += f"\nListed since, and not measured yet: {', '.join(waiting)}.\n" if waiting else ""
    groups = {group: [found for found in findings if known[found.address].group == group] for group in ABOUT}
    return "\n".join([head, *(_group(group, members) for group, members in groups.items() if members)])


def _group(title: str, findings: Sequence[Finding]) -> str:
    counts = Counter(found.status for found in findings)
    said = ", ".join(f"{counts[status]} {name.lower()}" for status, name in TITLES.items() if counts[status])
    head = f"## {title}\n\n{len(findings)} architectures: {said}. {ABOUT[title]}\n"
    parts = [_section(name, [found for found in findings if found.status == status]) for status, name in TITLES.items() if counts[status]]
    return "\n".join([head, *parts])


def _section(title: str, findings: Sequence[Finding]) -> str:
    measured = any(found.error_1023 is not None for found in findings)
    detailed = any(found.detail for found in findings)
    heads = ["architecture"]
    heads += [f"error N={FINE}", f"N={COARSE}", "of differences", "populations", "spiking"] if measured else []
    heads += ["what"] if detailed else []
    lines = [f"### {title}: {len(findings)}", "", _line(heads), _line(["---"] + ["---:"] * (5 if measured else 0) + ["---"] * detailed)]
    return "\n".join([*lines, *(_line(_cells(found, measured, detailed)) for found in findings), ""])


def _cells(found: Finding, measured: bool, detailed: bool) -> list[str]:
    numbers = [_percent(found.error_1023), _percent(found.error_255), _percent(found.differences_1023), str(found.populations)]
    numbers += [f"{found.spike_share:.0%}" if found.spike_share is not None else ""]
    return [f"`{found.address}`", *(numbers if measured else []), *([found.detail.replace("|", "\\|")] if detailed else [])]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
