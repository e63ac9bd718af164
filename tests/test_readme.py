"""The README's numbers are those of benchmarks/results, in both languages, and its commands are the Makefile's."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_tables_are_in_step_with_the_results() -> None:
    done = subprocess.run([sys.executable, "benchmarks/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_twins_show_the_same_commands() -> None:
    english, japanese = ((ROOT / name).read_text() for name in ("README.md", "README.ja.md"))

    def commands(text: str) -> list[str]:
        return [line.split("#")[0].strip() for line in text.splitlines() if line.startswith(("spikeloom ", "make ", "python "))]

    assert commands(english) == commands(japanese)
    assert {"make demo", "make test"} <= set(commands(english))
