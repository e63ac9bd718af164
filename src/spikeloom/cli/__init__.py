"""The command line: parses, prints, draws progress; the only place that prints (floor 7)."""

from spikeloom.cli.app import app, main

__all__ = ["app", "main"]
