"""Lowering: spiking programs to netlists of whole numbers."""

from spikeloom.backend.lower.lowering import InputRange, encodes, grounded, lower, refuse
from spikeloom.backend.lower.obstacles import obstacles

__all__ = ["InputRange", "encodes", "grounded", "lower", "obstacles", "refuse"]
