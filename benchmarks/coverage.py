"""
Coverage: which image classifiers of transformers, torchvision and timm, and which language models and other transformers, convert to an
SNN equal to the ANN, and what stops the others.

    python benchmarks/coverage.py [--resume] [--only ADDRESS ...] [--list] [--threads 2] [--limit 900]

Writes benchmarks/results/coverage.json and docs/coverage.md. torchvision and timm live in an environment of their own,
.venv-coverage, which is made where it is missing. Findings are kept under artifacts/benchmarks as they come: --resume goes on
with a run that was stopped, --only measures some again and leaves the others; where none were kept, from the published results.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from covered import environment

STORE = environment.ROOT / "artifacts" / "benchmarks" / "coverage.json"


def main() -> int:
    """Everything, or what the command line names; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ADDRESS", default=[], help="these architectures, as --list names them")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--list", action="store_true", help="name the architectures and measure nothing")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--limit", type=float, default=900, metavar="SECONDS", help="what one architecture may take; more on a busy machine"
    )
    options = parser.parse_args()
    if not environment.is_complete():
        environment.enter(sys.argv)
    return measured(options)


def measured(options: argparse.Namespace) -> int:
    """Measure, write, and say whether the targets are met; needs the environment."""
    from spikeloom.capture.shim import shim_torchvision

    shim_torchvision()
    from covered.architectures import architectures
    from covered.measurement import Finding
    from covered.page import finding_of, rows, write_page
    from covered.worker import Worker
    from harness.rows import read, write

    known = {one.address: one for one in architectures()}
    if unknown := [name for name in options.only if name not in known]:
        print(f"no such architecture: {', '.join(unknown)}; --list names them all")
        return 2
    if options.list:
        print("\n".join(known))
        return 0
    kept: dict[str, Any] = {}
    if options.resume or options.only:
        kept = (
            json.loads(STORE.read_text())
            if STORE.is_file()
            else {row["name"]: asdict(found) for row in read("coverage") if (found := finding_of(row))}
        )
    wanted = options.only or [name for name in known if name not in kept]
    worker = Worker(options.threads, options.limit)
    for place, name in enumerate(wanted, start=1):
        found = worker.measure(known[name])
        kept[name] = asdict(found)
        store(kept)
        error = "" if found.error_1023 is None else f" {found.error_1023:.2%} ({found.error_255:.2%})"
        print(f"{place}/{len(wanted)} {name}: {found.status}{error} {found.detail} [{found.seconds:.0f} s]", flush=True)
    worker.stop()
    findings = [Finding(**kept[name]) for name in known if name in kept]
    write_page(findings, known)
    made = rows(findings, known)
    print(write("coverage", made))
    return 0 if all(row.holds is not False for row in made) else 1


def store(kept: dict[str, object]) -> None:
    """Write what is known so far whole."""
    STORE.parent.mkdir(parents=True, exist_ok=True)
    STORE.with_suffix(".tmp").write_text(json.dumps(kept, indent=1) + "\n")
    STORE.with_suffix(".tmp").replace(STORE)


if __name__ == "__main__":
    sys.exit(main())
