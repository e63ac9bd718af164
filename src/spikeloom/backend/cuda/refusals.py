"""
What stands against a netlist: numbers wider than 32 bits, windows that no thread can remember.
"""

from collections.abc import Iterator

from spikeloom.backend.cuda.elementwise import decay_bound, integrate_bound, requantise_bound, sum_bound, taken_bound
from spikeloom.backend.cuda.numbers import I32
from spikeloom.backend.cuda.options import CudaOptions
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Requantise, Wire, membrane_wires

WIDEST, WINDOW, MOST = 1 << 63, 256, 1 << 31
WIDE_TODO = "take fewer weight or input bits, or a smaller layer"


def refusals(netlist: Netlist, options: CudaOptions) -> list[Refusal]:
    """Everything that stands against a netlist."""
    found = [refusal for name, wire in netlist.wires.items() for refusal in _wire(name, wire)]
    widths = membrane_wires(netlist)
    for name, pair in widths.items():
        found += [
            Refusal(name, f"a membrane of {wire.low} to {wire.high}", "32 bits", WIDE_TODO)
            for wire in pair
            if not I32.holds(wire.low, wire.high + 1)
        ]
    return found + [refusal for operation in netlist for refusal in _operation(operation, netlist, widths)]


def _wire(name: str, wire: Wire) -> Iterator[Refusal]:
    if not I32.holds(wire.low, wire.high + 1):
        yield Refusal(name, f"numbers of {wire.low} to {wire.high}", "32 bits", WIDE_TODO)
    if wire.size >= MOST // 8:
        yield Refusal(name, f"{wire.size} numbers", f"fewer than {MOST // 8}", "split the network")


def _operation(operation: Operation, netlist: Netlist, widths: dict[str, tuple[Wire, Wire]]) -> Iterator[Refusal]:
    match operation:
        case Affine() | Convolution():
            if not I32.holds(int(operation.weight.min()), int(operation.weight.max())):
                yield Refusal(operation.name, "weights wider than 32 bits", "32 bits", WIDE_TODO)
        case Add():
            yield from _bounded(operation.name, sum_bound(operation, netlist))
        case Requantise():
            if operation.shift > 62:
                yield Refusal(operation.name, f"a shift of {operation.shift}", "at most 62", "requantise with smaller multipliers")
            yield from _bounded(operation.name, requantise_bound(operation, netlist))
        case Pool():
            window = operation.kernel[0] * operation.kernel[1]
            if operation.what == "max" and netlist.timesteps > 1 and window > WINDOW:
                yield Refusal(
                    operation.name, f"a maximum over time of {window} places", f"at most {WINDOW}", "use smaller windows or T = 1"
                )
        case _:
            if operation.name in widths and (membrane := getattr(operation, "membrane", None)) is not None:
                h, v = widths[operation.name]
                bounds = (
                    decay_bound(membrane, v),
                    integrate_bound(membrane, v, netlist.wires[operation.reads[0]]),
                    taken_bound(membrane, h),
                )
                yield from _bounded(operation.name, max(bounds))


def _bounded(name: str, bound: int) -> Iterator[Refusal]:
    if bound >= WIDEST:
        yield Refusal(name, f"numbers up to {bound} on the way", "64 bits", WIDE_TODO)
