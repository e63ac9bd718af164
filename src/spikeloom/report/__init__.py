"""The page a person reads: one self-contained report.html from plain data (floor 5)."""

from spikeloom.report.data import Story
from spikeloom.report.page import render, write
from spikeloom.report.verdict import sentence, text

__all__ = ["Story", "render", "sentence", "text", "write"]
