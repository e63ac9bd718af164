"""
Logic-gated networks: weights -1, 0, 1 and spikes 0, 1, so that inference counts and compares and never multiplies.

    layers    `TernaryLinear`, `TernaryConv2d`, `Gate`, `Readout`, `Bits`, `OrPool2d`, `Residual`: trained as they run
    build     small networks by their shape
    freeze    a trained network as a spiking program
    turn      an ANN's form in these layers
    twin      the floating network it is judged against
"""

from spikeloom.logic.build import convolutional, fully_connected
from spikeloom.logic.freeze import freeze
from spikeloom.logic.layers import Bits, Gate, OrPool2d, Readout, Residual, TernaryConv2d, TernaryLinear
from spikeloom.logic.ternary import ternary
from spikeloom.logic.turn import turned
from spikeloom.logic.twin import floating_twin

__all__ = [
    "Bits",
    "Gate",
    "OrPool2d",
    "Readout",
    "Residual",
    "TernaryConv2d",
    "TernaryLinear",
    "convolutional",
    "floating_twin",
    "freeze",
    "fully_connected",
    "ternary",
    "turned",
]
