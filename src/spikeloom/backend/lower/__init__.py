"""Lowering: spiking programs to netlists of whole numbers."""

from spikeloom.backend.lower.lowering import InputRange, lower, refuse
from spikeloom.backend.lower.obstacles import obstacles

__all__ = ["InputRange", "lower", "obstacles", "refuse"]
