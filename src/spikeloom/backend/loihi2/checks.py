"""
What of a netlist stands against the chip: each limit that is broken, by name, with its numbers.

Ranges are those that interval analysis proves, so that nothing here depends on data.
"""

from collections.abc import Iterator

from spikeloom.backend.loihi2.layers import Layer, Link, Lowered
from spikeloom.backend.loihi2.limits import LIMITS, allowed, signed
from spikeloom.backend.loihi2.placement import Placed
from spikeloom.backend.loihi2.weights import MOST, SYNAPSES
from spikeloom.backend.target import Refusal
from spikeloom.ir.hardware import Membrane, Netlist, Population, Requantise, Wire, membrane_wires

SMALLER = "use fewer weight bits or levels, or smaller layers"


def standing_against(netlist: Netlist, found: Lowered, placed: Placed, cores: int) -> list[Refusal]:
    """Everything that does."""
    against = [*found.refusals, *placed.refusals]
    inside = membrane_wires(netlist)
    for layer in found.layers:
        against += _sent(netlist, layer)
        if layer.links:
            against += _links(layer, found.layers)
            against += _sums(netlist, layer, inside.get(layer.name))
            against += _program(layer)
    if len(placed.cores) > cores:
        what = f"{len(placed.cores):,} cores ({_by_layer(found, placed)})"
        against.append(Refusal("the network", what, f"{cores:,} cores", "make it smaller, or give it more chips by the option cores"))
    return against


def _by_layer(found: Lowered, placed: Placed) -> str:
    counts = {layer.name: sum(core.layer == number for core in placed.cores) for number, layer in enumerate(found.layers)}
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def _sent(netlist: Netlist, layer: Layer) -> Iterator[Refusal]:
    if layer.program is None and layer.links:
        return
    wire = netlist.wires[netlist.source.name if not layer.links else layer.program.name if layer.program else layer.reads]
    if wire.bits > LIMITS["spike_bits"].value:
        yield Refusal(layer.name, f"spikes of {wire.bits} bits ({wire.low:,} to {wire.high:,})", allowed("spike_bits"), SMALLER)


def _links(layer: Layer, layers: tuple[Layer, ...]) -> Iterator[Refusal]:
    for link in layer.links:
        if not link.terms:
            what = f"weights from {int(link.weight.min()):,} to {int(link.weight.max()):,}"
            yield Refusal(layer.name, what, f"{MOST[0]:,} to {MOST[1]:,} in {SYNAPSES} synapses of 8 bits, exponents 0 and 7", SMALLER)
        wait = delay(link, layer, layers)
        if wait > LIMITS["axon_delay"].value:
            yield Refusal(layer.name, f"an edge over {wait + 1} layers", allowed("axon_delay"), "shorten the residual edge")


def delay(link: Link, layer: Layer, layers: tuple[Layer, ...]) -> int:
    """Ticks that spikes wait on the axon beyond the one that each layer takes, so that paths of unlike length meet."""
    return layer.depth - layers[link.source].depth - 1


def _sums(netlist: Netlist, layer: Layer, inside: tuple[Wire, Wire] | None) -> Iterator[Refusal]:
    wire = netlist.wires[layer.reads]
    ranges = [("sums of synapses", wire.low, wire.high, "accumulator_bits")]
    if inside is not None:
        ranges.append(("voltages", min(part.low for part in inside), max(part.high for part in inside), "state_bits"))
    if layer.program is None:
        ticks = netlist.timesteps
        ranges.append((f"sums over {ticks} ticks", min(wire.low, wire.low * ticks), max(wire.high, wire.high * ticks), "state_bits"))
    for what, low, high, name in ranges:
        if signed(low, high) > LIMITS[name].value:
            yield Refusal(layer.name, f"{what} of {signed(low, high)} bits ({low:,} to {high:,})", allowed(name), SMALLER)


def _program(layer: Layer) -> Iterator[Refusal]:
    numbers: list[tuple[str, int, int]] = []
    match layer.program:
        case Population(thresholds=thresholds, membrane=membrane):
            numbers.append(("thresholds", int(thresholds.min(initial=0)), int(thresholds.max(initial=0))))
            yield from _decay(layer, membrane)
        case Requantise(multiplier=multiplier):
            numbers.append(("multipliers", int(multiplier.min()), int(multiplier.max())))
        case _:
            pass
    for what, low, high in numbers:
        if signed(low, high) > LIMITS["state_bits"].value:
            yield Refusal(layer.name, f"{what} from {low:,} to {high:,}", allowed("state_bits"), SMALLER)


def _decay(layer: Layer, membrane: Membrane | None) -> Iterator[Refusal]:
    if membrane is None:
        return
    most = LIMITS["decay_bits"].value
    if membrane.decay_shift > most:
        yield Refusal(layer.name, f"a decay in steps of 2^-{membrane.decay_shift}", allowed("decay_bits"), "round the time constants")
