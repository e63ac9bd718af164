"""Conversion: functions of several values taken apart, activations to neuron populations, one per call site (floor 4)."""

from spikeloom.convert.spike import METHODS, PLACEMENTS, Spike
from spikeloom.convert.spiking_attention import SpikingAttention
from spikeloom.convert.unfold import Unfold

__all__ = ["METHODS", "PLACEMENTS", "Spike", "SpikingAttention", "Unfold"]
