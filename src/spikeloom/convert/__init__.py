"""Conversion: functions of several values taken apart, activations to neuron populations, one per call site (floor 4)."""

from spikeloom.convert.spike import METHODS, Spike
from spikeloom.convert.spiking_attention import SpikingAttention
from spikeloom.convert.unfold import Unfold

__all__ = ["METHODS", "Spike", "SpikingAttention", "Unfold"]
