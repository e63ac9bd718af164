"""
Rows: one number each, with what it is compared to, what it should be, and the command that makes it again.

    benchmarks/results/<name>.json   {"benchmark", "rows": [{name, value, unit, control, peer, target, holds, command, commit, machine}]}
"""

import json
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
SHARED = ROOT.parent / "shared" / "data"


@dataclass(frozen=True)
class Row:
    """One number. `control` or `peer` is what it stands beside in the same run; `target` in words; `holds` None: no target."""

    name: str
    value: float | str | None
    unit: str
    command: str
    control: Any = None
    peer: Any = None
    target: str | None = None
    holds: bool | None = None


def commit() -> str:
    """The commit the numbers were made at, with a + where the tree had changes."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    dirty = subprocess.run(["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return f"{head or 'unknown'}{'+' if dirty else ''}"


def machine() -> str:
    """The machine in one line."""
    return f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def write(name: str, rows: Iterable[Row], *, part: bool = False) -> Path:
    """Write the rows of one benchmark whole; with `part` they take the place of the earlier rows of their names, the others stay."""
    facts = {"commit": commit(), "machine": machine()}
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {row.name: asdict(row) | facts for row in rows}
    earlier = {row["name"]: row for row in read(name)} if part else {}
    body = {"benchmark": name, "rows": list((earlier | made).values())}
    path.with_suffix(".tmp").write_text(json.dumps(body, indent=1) + "\n")
    path.with_suffix(".tmp").replace(path)
    return path


def read(name: str) -> list[dict[str, Any]]:
    """The rows written last; none where the benchmark never ran."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else []
