"""C: a netlist as self-contained C11 in whole numbers, dense or event-driven, with golden vectors and a program that compares."""

from spikeloom.backend.c.options import COptions
from spikeloom.backend.c.target import TARGET

__all__ = ["TARGET", "COptions"]
