"""
Logic-gated networks: weights -1, 0, 1 and spikes 0, 1, so that inference counts and compares and never multiplies.

    layers    `TernaryLinear`, `TernaryConv2d`, `Gate`, `Readout`, `Bits`, `OrPool2d`, `Residual`: trained as they run
    build     small networks by their shape
    freeze    a trained network as a spiking program
    netlist   what such a program does, step by step in whole numbers
    packed    `PackedNetwork`: run on words of 64 spikes and two planes of weights
    gates     `GateList`: unrolled to threshold gates (`unroll.written`), their text form (`notation`)
    equations `Equations`: the same as minimised Boolean equations
    prove     `compared`: gates or equations against the network, exhaustively or by SAT (`clauses`)
    local     learning without backpropagation, in whole numbers
    turn      an ANN's form in these layers
    twin      the floating network it is judged against
"""

from spikeloom.logic.build import convolutional, fully_connected
from spikeloom.logic.equations import Equation, Equations, equations_of, minimised, table
from spikeloom.logic.freeze import freeze
from spikeloom.logic.gates import ClassCount, GateList, InputBit, ThresholdGate
from spikeloom.logic.layers import Bits, Gate, OrPool2d, Readout, Residual, TernaryConv2d, TernaryLinear, check_weights, rate_bits
from spikeloom.logic.local import LocalRule, LocalState, as_network
from spikeloom.logic.netlist import Netlist, netlist
from spikeloom.logic.notation import as_data, as_text, parsed
from spikeloom.logic.packed import PackedNetwork
from spikeloom.logic.prove import Verdict, compared
from spikeloom.logic.ternary import ternary
from spikeloom.logic.turn import turned
from spikeloom.logic.twin import floating_twin
from spikeloom.logic.unroll import written

__all__ = [
    "Bits",
    "ClassCount",
    "Equation",
    "Equations",
    "Gate",
    "GateList",
    "InputBit",
    "LocalRule",
    "LocalState",
    "Netlist",
    "OrPool2d",
    "PackedNetwork",
    "Readout",
    "Residual",
    "TernaryConv2d",
    "TernaryLinear",
    "ThresholdGate",
    "Verdict",
    "as_data",
    "as_network",
    "as_text",
    "check_weights",
    "compared",
    "convolutional",
    "equations_of",
    "floating_twin",
    "freeze",
    "fully_connected",
    "minimised",
    "netlist",
    "parsed",
    "rate_bits",
    "table",
    "ternary",
    "turned",
    "written",
]
