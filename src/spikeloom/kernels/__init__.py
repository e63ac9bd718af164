"""
Kernels, on a CPU by numba (floor 2, beside `neuron`): populations in one pass over memory, whose numbers are `neuron`'s bit for bit (on a
GPU by Triton), and layers of weights −1, 0, +1 on packed spikes, which multiply nothing.

    populations      `run_uniform`, `look_up` on tensors, where `serves` or `serves_population` says so
    slopes           populations with their surrogate derivative: `fire_with_slope`
    triton_populations   the same `run_uniform` on a GPU
    bank             the tables of many populations in one stretch of memory
    layout           how a kernel walks a tensor's channels
    operators        the same as operators of torch, so that compiled graphs hold them whole
    inductor         how torch.compile writes out small look-ups, and curves
    packed           spikes and ternary weights in words, and back; files' codes
    packed_rows      dense layers: AND and population count
    packed_events    layers driven by events: only inputs that spike
    packed_layers    a layer in the way that suits it
    packed_windows   convolutions and pooling
    scatter          layers of whole numbers driven by events: `simulate.event_layers`
    *loops           what numba compiles; imported at the first call (`compilation`, `lanes`: vectors inside kernels, `threads`)

`simulate.kernel` chooses between these and `neuron`. A kernel for another device serves the same calls. `triton_loops` is what Triton
compiles.
"""

from spikeloom.kernels import operators
from spikeloom.kernels.bank import NOWHERE, Along, Bank, Place, bank_of, joined
from spikeloom.kernels.populations import driven, look_up, run_uniform, serves, serves_population
from spikeloom.kernels.slopes import fire_with_slope

__all__ = [
    "NOWHERE",
    "Along",
    "Bank",
    "Place",
    "bank_of",
    "driven",
    "fire_with_slope",
    "joined",
    "look_up",
    "operators",
    "run_uniform",
    "serves",
    "serves_population",
]
