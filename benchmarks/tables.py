"""
The numbers of README.md and README.ja.md (`harness/headlines.py` says which, and all that is missed), of docs/numbers.md (every row with a
target), docs/gates.md and docs/staircases.md, and the picture docs/accuracy.svg, made from benchmarks/results/*.json.

    python benchmarks/tables.py [--check]

With --check nothing is written; the exit status says whether the README is in step with the results.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from harness.headlines import HEADLINES
from harness.rows import RESULTS, ROOT, read

BEGIN, END = "<!-- numbers: made by benchmarks/tables.py -->", "<!-- end of numbers -->"
HEADS = {"README.md": ("what", "value", "beside it", "target"), "README.ja.md": ("項目", "値", "比較対象", "目標")}
LABELS = {"README.ja.md": {"holds": "達成", "missed": "未達"}, "README.md": {"holds": "holds", "missed": "missed"}}
WORDS = {
    "README.md": (
        "{held} of {all} targets are held. Some of them, from every phase; all are in [docs/numbers.md](docs/numbers.md):",
        "What is missed, all of it:",
    ),
    "README.ja.md": (
        "目標 {all} 項目のうち {held} 項目を達成しています。各フェーズからの抜粋です (全項目は [docs/numbers.md](docs/numbers.md)):",
        "未達の項目 (すべて):",
    ),
}
SHOWN = 4
"""Of what a number stands beside, so many things are shown in a README."""
PEER = {"T": (16, 32, 64, 128), "accuracy": (29.4, 73.8, 87.0, 89.8)}
"""SpikingJelly 2.0.0.dev1, RateCoding 99.9 %, on the same network and lossless images (measured beside the control, ANCHORS.md A)."""


def beside(row: dict[str, Any], most: int | None = None) -> str:
    """What a number stands beside, in a few words; the first so many of them."""
    told: dict[str, Any] = {}
    for key in ("control", "peer"):
        value = row[key]
        told |= value if isinstance(value, dict) else {key: value}
    parts = [
        f"{key} {value:.3g}" if isinstance(value, float) and abs(value) < 1 else f"{key} {value}"
        for key, value in told.items()
        if value is not None
    ]
    return ", ".join([part for part in parts if len(part) < 60][:most])


def line(row: dict[str, Any], labels: dict[str, str], most: int | None = None) -> str:
    """A row of a table."""
    verdict = "" if row["holds"] is None else f" ({labels['holds' if row['holds'] else 'missed']})"
    name = row["name"].replace("|", "\\|")
    return f"| {name} | {row['value']} {row['unit']} | {beside(row, most)} | {row['target']}{verdict} |"


def with_targets() -> dict[str, list[dict[str, Any]]]:
    """The rows that have targets, by benchmark."""
    found = {path.stem: [row for row in read(path.stem) if row["target"] is not None] for path in sorted(RESULTS.glob("*.json"))}
    return {name: rows for name, rows in found.items() if rows}


def short_table(name: str) -> str:
    """How many targets are held, the headlines, and all that is missed."""
    rows, words, labels = [row for rows in with_targets().values() for row in rows], WORDS[name], LABELS[name]
    known = {row["name"]: row for row in rows}
    if gone := [each for each in HEADLINES if each not in known]:
        raise SystemExit(f"no such rows, or without targets; mend benchmarks/harness/headlines.py: {', '.join(gone)}")
    missed = [row for row in rows if row["holds"] is False]
    head = ["| " + " | ".join(HEADS[name]) + " |", "|---|---|---|---|"]
    shown = [line(known[each], labels, SHOWN) for each in HEADLINES]
    counted = words[0].format(held=sum(row["holds"] is True for row in rows), all=len(rows))
    return "\n".join([counted, "", *head, *shown, "", words[1], "", *head, *(line(row, labels, SHOWN) for row in missed)])


def long_table() -> str:
    """A table of every row with a target for each benchmark."""
    parts = list[str]()
    for name, rows in with_targets().items():
        held = sum(row["holds"] is True for row in rows)
        head = [f"## {name}: {held} of {len(rows)} hold", "", "| " + " | ".join(HEADS["README.md"]) + " |", "|---|---|---|---|"]
        parts.append("\n".join([*head, *(line(row, LABELS["README.md"]) for row in rows)]))
    return "\n\n".join(parts)


def noise_tables() -> str:
    """Right answers, %, of every network by the noise, a table for each row that holds such curves."""
    parts = list[str]()
    for row in read("logic_gated"):
        curves = {
            name: value for name, value in (row["control"] or {}).items() if isinstance(value, dict) and value.keys() & {"0", "clean"}
        }
        if not curves:
            continue
        levels = list(next(iter(curves.values())))
        names = [f"{float(level):.0%}" if level[0].isdigit() else level.replace("_", " ") for level in levels]
        lines = [f"### {row['name'].split(':')[0]}", "", "| | " + " | ".join(names) + " |", "|---|" + "---|" * len(levels)]
        lines += [f"| {name} | " + " | ".join(f"{curve[level]:.2f}" for level in levels) + " |" for name, curve in curves.items()]
        parts.append("\n".join([*lines, "", _conditions(row)]))
    return "\n\n".join(parts)


def _conditions(row: dict[str, Any]) -> str:
    """Under which conditions a row's networks were trained and judged, in a line."""
    told, sizes = row["control"], row["control"].get("weight_bytes")
    said = [f"{told['images']:,} pictures"]
    if sizes:
        said.append(f"weights {sizes['ternary']:,} bytes ternary, {sizes['fp32']:,} fp32")
    said += [f"{key}: {value}" for key, value in (told.get("training") or {}).items()]
    return "; ".join([*said, f"`{row['command']}`, {row['commit']}"]) + "."


def staircase_table() -> str:
    """The error, %, of every function at every number of levels, and beside it that of other ways."""
    rows = [row for row in read("staircases") if row["target"] is None]
    ways = [way for way in rows[0]["control"] if way != "input"]
    lines = ["| function, input | N | placed | " + " | ".join(ways) + " |", "|---|---|---|" + "---|" * len(ways)]
    for row in rows:
        name, levels = row["name"].split(":")[0].split(" N=")
        errors = [row["value"], *(row["control"][way] for way in ways)]
        cells = ["—" if error is None else f"{error:.2f}" for error in errors]
        lines.append(f"| {name}, {row['control']['input']} | {levels} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"`{rows[0]['command']}`, {rows[0]['commit']}."])


PAGES: dict[str, Callable[[], str]] = {
    **{name: partial(short_table, name) for name in HEADS},
    "docs/numbers.md": long_table,
    "docs/gates.md": noise_tables,
    "docs/staircases.md": staircase_table,
}
"""What stands between the marks of each page: numbers with targets, some or all; gates under noise, by level; staircases, by levels."""


def updated(name: str) -> str:
    """A page with its tables made anew."""
    text = (ROOT / name).read_text()
    head, rest = text.split(BEGIN)
    made = PAGES[name]()
    return f"{head}{BEGIN}\n{made}\n{END}{rest.split(END)[1]}"


def picture() -> bytes:
    """Accuracy against time steps: ours at T=1 by levels, plain IF, and the peer, on the lossless CIFAR-10 images."""
    import io

    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"], mpl.rcParams["svg.fonttype"] = "spikeloom", "none"
    rows = {row["name"]: row for row in read("cifar")}
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(PEER["T"], PEER["accuracy"], "o--", color="#8a8a8a", label="SpikingJelly 2.0 (RateCoding 99.9 %)")
    plain = [(t, rows[key]["value"]) for t in (32, 64) if (key := f"ResNet-20 IF T={t} accuracy, lossless") in rows]
    if plain:
        axes.plot(*zip(*plain, strict=True), "s-", color="#0072b2", label="Spikeloom, plain IF neurons")
    for levels, offset in ((7, -1.9), (15, -0.9), (31, 0.5)):
        key = f"ResNet-20 N={levels} density T=1 accuracy, lossless"
        if key in rows:
            axes.plot(
                [1], [rows[key]["value"]], "D", color="#d55e00", label="Spikeloom, Scale-and-Fire neurons, T=1" if levels == 7 else None
            )
            axes.annotate(
                f"N={levels}: {rows[key]['value']:.1f} %", (1, rows[key]["value"]), (1.15, rows[key]["value"] + offset), fontsize=8
            )
    axes.axhline(90.4, color="#009e73", lw=1)
    axes.text(128, 90.9, "the ANN: 90.4 %", color="#009e73", ha="right", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64, 128], ["1", "2", "4", "8", "16", "32", "64", "128"])
    axes.set(xlabel="time steps T", ylabel="accuracy, % of 1,000 images", ylim=(25, 95), title="CIFAR-10 ResNet-20, converted")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", fontsize=8, bbox_to_anchor=(0.02, 0.12))
    stream = io.BytesIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def main() -> None:
    """Write both READMEs and the picture, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = [name for name in PAGES if (ROOT / name).read_text() != updated(name)]
    if check:
        sys.exit(f"not in step with benchmarks/results: {', '.join(stale)}; run python benchmarks/tables.py" if stale else 0)
    for name in stale:
        (ROOT / name).write_text(updated(name))
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "accuracy.svg").write_bytes(picture())


if __name__ == "__main__":
    main()
