"""Compression: weights on integer grids, connections taken away, what is lost made good to second order (floor 4)."""

from spikeloom.compress.quantise import Quantise, bits_kept, layer_rows, quantised_layers
from spikeloom.compress.rounding import settled
from spikeloom.compress.second_order import Allowed, settle
from spikeloom.compress.sensitivity import sensitivities

__all__ = ["Allowed", "Quantise", "bits_kept", "layer_rows", "quantised_layers", "sensitivities", "settle", "settled"]
