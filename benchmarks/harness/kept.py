"""
Runs that are kept: a benchmark that was stopped takes up what was run already, by what was run and the code it ran.

    artifacts/benchmarks/<name>/runs/<digest of what and code>.json
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def code_of(files: Iterable[Path]) -> str:
    """A digest of the code that runs depend on."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()[:16]


@dataclass(frozen=True)
class Runs:
    """Where runs are kept, and the digest of their code."""

    folder: Path
    code: str

    def kept(self, what: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `run` gives, or gave."""
        path = self.folder / f"{hashlib.sha256(f'{what} {self.code}'.encode()).hexdigest()[:16]}.json"
        if path.exists():
            return json.loads(path.read_text())["found"]
        found = run()
        self.folder.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".tmp").write_text(json.dumps({"what": what, "code": self.code, "found": found}))
        path.with_suffix(".tmp").replace(path)
        return found
