"""Conversion: activations become spiking neuron populations (floor 4)."""

from spikeloom.convert.spike import METHODS, Spike

__all__ = ["METHODS", "Spike"]
