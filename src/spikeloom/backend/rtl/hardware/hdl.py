"""
Amaranth's names, as the rest of this folder uses them. A type checker sees classes of which nothing is known: the library has no types that
one could check by.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    class Module(Any):
        """A piece of hardware."""

    class Signal(Any):
        """A wire or a register."""

    class Const(Any):
        """A constant."""

    class Memory(Any):
        """A memory."""

    class SyncFIFOBuffered(Any):
        """A queue."""

    class Simulator(Any):
        """The simulator."""

    Array: Any
    Cat: Any
    Mux: Any
    signed: Any
    unsigned: Any
    rtlil: Any
else:
    from amaranth import Array, Cat, Const, Module, Mux, Signal, signed, unsigned
    from amaranth.back import rtlil
    from amaranth.lib.fifo import SyncFIFOBuffered
    from amaranth.lib.memory import Memory
    from amaranth.sim import Simulator

__all__ = [
    "Array",
    "Cat",
    "Const",
    "Memory",
    "Module",
    "Mux",
    "Signal",
    "Simulator",
    "SyncFIFOBuffered",
    "rtlil",
    "signed",
    "unsigned",
]
