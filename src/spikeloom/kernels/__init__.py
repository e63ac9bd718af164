"""
Kernels: populations in one pass over memory, on a CPU by numba (floor 2, beside `neuron`, whose numbers they give bit for bit).

    populations  `run_uniform`, `look_up` on tensors, where `serves` says so
    bank         the tables of many populations in one stretch of memory
    layout       how a kernel walks a tensor's channels
    operators    the same as operators of torch, so that compiled graphs hold them whole
    loops        the loops that numba compiles; imported at the first call

`simulate.kernel` chooses between these and `neuron`. A kernel for another device serves the same calls.
"""

from spikeloom.kernels import operators
from spikeloom.kernels.bank import NOWHERE, Bank, Place, bank_of, joined
from spikeloom.kernels.populations import driven, look_up, run_uniform, serves

__all__ = ["NOWHERE", "Bank", "Place", "bank_of", "driven", "joined", "look_up", "operators", "run_uniform", "serves"]
