"""Lowering: spiking programs to netlists of whole numbers, and onto their grids."""

from spikeloom.backend.lower.ground import grounded
from spikeloom.backend.lower.lowering import InputRange, lower
from spikeloom.backend.lower.obstacles import obstacles, refuse
from spikeloom.backend.lower.populations import encodes

__all__ = ["InputRange", "encodes", "grounded", "lower", "obstacles", "refuse"]
