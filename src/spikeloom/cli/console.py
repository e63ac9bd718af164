"""
What is printed, and where: results go to stdout, everything else to stderr.

Text is never taken for rich's markup, and never broken in the middle of a path.
"""

import json
import os
import sys
from typing import Any, final

from rich.console import Console
from rich.text import Text

WIDE = 180
"""Columns of a table that goes to a file or a pipe."""


@final
class _Console(Console):
    """rich's console, which leaves a broken pipe to the boundary."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  (rich calls this where it catches BrokenPipeError)


def output() -> Console:
    """stdout: as wide as the terminal, and wide where it is none."""
    free = sys.stdout.isatty() or "COLUMNS" in os.environ
    return _Console(highlight=False, width=None if free else WIDE)


def errors() -> Console:
    """stderr."""
    return _Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """A line on stdout."""
    output().print(Text(text), soft_wrap=True)


def complain(text: str) -> None:
    """An error on stderr: its first line in red."""
    headline, newline, rest = text.partition("\n")
    errors().print(Text.assemble((f"error: {headline}", "bold red"), newline + rest), soft_wrap=True)


def emit(value: Any) -> None:
    """A value as JSON on stdout, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")
