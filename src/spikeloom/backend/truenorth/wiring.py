"""
Spikes between cores: the tick at which every layer hears its inputs, targets, splitters, and the neurons that make pulses.
"""

from dataclasses import dataclass, field
from typing import final

from spikeloom.backend.target import Refusal
from spikeloom.backend.truenorth import limits
from spikeloom.backend.truenorth.cores import HOST, LINEAR, Core, Neuron
from spikeloom.backend.truenorth.gates import Gates, Layers

Target = tuple[int, int]
End = tuple[int, int, int]
"""(core, axon, delay) or, before delays are known, (core, axon, number of the layer)."""


@final
@dataclass(eq=False)
class Mapped:
    """The chip: cores, where each input element goes, when it must arrive, and what the host reads."""

    cores: list[Core] = field(default_factory=list[Core])
    inputs: list[list[tuple[int, int, int]]] = field(default_factory=list[list[tuple[int, int, int]]])
    """(core, axon, ticks after `arrival`) of each element."""
    arrival: int = 1
    period: int = 1
    outputs: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(core, neuron) of each neuron that answers, in the order of its layer's elements."""
    output_of: dict[int, range] = field(default_factory=dict[int, range])
    ticks: dict[int, int] = field(default_factory=dict[int, int])
    parts: dict[str, int] = field(default_factory=dict[str, int])
    codes: dict[str, str] = field(default_factory=dict[str, str])
    refusals: list[Refusal] = field(default_factory=list[Refusal])
    early: set[int] = field(default_factory=set[int])
    """Layers some neuron of which would fire by its leak before its first input: they have to be driven by pulses."""

    def add(self, core: Core) -> int:
        """The number of a core that is put on the chip."""
        self.cores.append(core)
        return len(self.cores) - 1


@final
@dataclass(eq=False)
class Placing:
    """A layer while it is mapped: where its neurons are, and what each of its sources' elements must reach."""

    gates: Gates
    driven: bool = False
    """Whether its neurons' drives come by pulses, not by leaks."""
    places: dict[int, Target] = field(default_factory=dict[int, Target])
    wanted: dict[tuple[int, int], list[Target]] = field(default_factory=dict[tuple[int, int], list[Target]])
    burst: int = 0
    arrives: int = 0
    fires: int = 0


@final
class Wiring:
    """Wires the placed layers of a chip."""

    def __init__(self, chip: Mapped, layers: Layers, found: list[Placing], pulsed: bool) -> None:
        self.chip, self.layers, self.found, self.pulsed = chip, layers, found, pulsed

    def refuse(self, name: str, found: str, allowed: str, todo: str) -> None:
        self.chip.refusals.append(Refusal(name, found, allowed, todo))

    def wire(self) -> None:
        """Arrival ticks from the input on, then targets, splitters and pulses."""
        answers = {source for source in self.layers.answer.reads if source}
        wanted = [dict[int, list[End]]() for _ in range(len(self.found) + 1)]
        for number, layer in enumerate(self.found, 1):
            for (source, element), targets in layer.wanted.items():
                wanted[source].setdefault(element, []).extend((at, axon, number) for at, axon in targets)
        for source in answers:
            for element in range(self.found[source - 1].gates.size):
                wanted[source].setdefault(element, []).append((HOST, element, 0))
        self.time(wanted)
        start = self.chip.arrival
        self.chip.inputs = [
            [(at, axon, self.found[number - 1].arrives - start) for at, axon, number in wanted[0].get(element, [])]
            for element in range(len(self.layers.elements))
        ]
        if self.chip.refusals:
            return
        for source in range(1, len(self.found) + 1):
            self.send(source, wanted[source])
        for source in sorted(answers):
            self.chip.ticks[source] = self.found[source - 1].fires + self.hops(wanted[source])
        self.pulses()
        self.idle()

    def hops(self, wanted: dict[int, list[End]]) -> int:
        """Splitters between a layer's neurons and what they reach."""
        most = max((len(targets) for targets in wanted.values()), default=0)
        return 0 if most <= 1 else 1 if most <= limits.NEURONS else 2

    def time(self, wanted: list[dict[int, list[End]]]) -> None:
        self.chip.arrival = start = 2 if self.pulsed else 1
        for layer in self.found:
            ready = {source: self.found[source - 1].fires + self.hops(wanted[source]) for source in layer.gates.reads if source}
            layer.arrives = max((tick + 1 for tick in ready.values()), default=start)
            layer.fires = layer.arrives + layer.burst
            for source in ready:
                wait = layer.arrives - self.found[source - 1].fires
                if wait > limits.DELAY:
                    what = f"{wait} ticks of delay from {self.found[source - 1].gates.name}"
                    self.refuse(layer.gates.name, what, f"1 to {limits.DELAY}", "shorten the edge that skips layers")

    def send(self, source: int, wanted: dict[int, list[End]]) -> None:
        """Targets of a layer's neurons, by splitters where there are several."""
        layer = self.found[source - 1]
        outputs = len(self.chip.outputs)
        if any(at == HOST for targets in wanted.values() for at, _, _ in targets):
            self.chip.output_of[source] = range(outputs, outputs + layer.gates.size)
            self.chip.outputs += [(0, 0)] * layer.gates.size
        hops, splitters = self.hops(wanted), _Splitters(self, layer.gates.name)
        for element, targets in sorted(wanted.items()):
            home = layer.places[element]
            ends = [(at, outputs + axon if at == HOST else axon, self.wait(layer, number, len(targets))) for at, axon, number in targets]
            if len(ends) == 1:
                self.aim(home, ends[0], hops)
                continue
            many = [ends[first : first + limits.NEURONS] for first in range(0, len(ends), limits.NEURONS)]
            axons = [splitters.put(part, hops - (len(many) > 1)) for part in many]
            root = axons[0] if len(axons) == 1 else splitters.put([(*axon, 1) for axon in axons], 0)
            core, place = home
            self.chip.cores[core].neurons[place].target = (*root, 1)

    def wait(self, layer: Placing, number: int, copies: int) -> int:
        """The delay of the last step to a layer; the host has none."""
        if number == 0:
            return 0
        passed = 0 if copies == 1 else 1 if copies <= limits.NEURONS else 2
        return self.found[number - 1].arrives - layer.fires - passed

    def aim(self, home: Target, end: End, hops: int) -> None:
        core, place = home
        neuron = self.chip.cores[core].neurons[place]
        neuron.target = end
        if end[0] == HOST:
            self.chip.outputs[end[1]] = home
            neuron.target = (HOST, end[1], hops)

    def pulses(self) -> None:
        """On every core that waits for pulses, neurons that count to P, each with an axon of its own; drives come at every tick from the
        layer's first input on."""
        timed = {layer.gates.name: layer for layer in self.found}
        for at, core in enumerate(self.chip.cores):
            for key, axon in list(core.keys.items()):
                layer = timed[core.layer]
                name = key[0] if isinstance(key, tuple) and isinstance(key[0], str) else key
                if name == "drive":
                    first = 2 - layer.arrives
                    core.neurons.append(Neuron((0, 0, 0, 0), [], 1, 1, limits.THRESHOLD, LINEAR, True, first, (at, axon, 1)))
                    continue
                tick = {"pulse": layer.arrives, "lift": layer.fires, "rest": layer.fires, "drop": layer.fires + 1}.get(str(name))
                if tick is None or core.kind == "splitter":
                    continue
                period = self.chip.period
                start = (period - (tick - 1) % period) % period
                core.neurons.append(Neuron((0, 0, 0, 0), [], period, 1, limits.THRESHOLD, LINEAR, True, start, (at, axon, 1)))

    def idle(self) -> None:
        """Integrators start so much lower as their leak adds before their first input."""
        for number, layer in enumerate(self.found):
            if layer.gates.memoryless:
                continue
            for element, (core, place) in layer.places.items():
                neuron = self.chip.cores[core].neurons[place]
                before = layer.arrives - 1
                highest = neuron.start + max(-neuron.leak * (before - 1), 0) if before else neuron.start - 1
                neuron.start -= neuron.leak * before
                if not before or (highest < neuron.threshold and neuron.start >= -limits.THRESHOLD):
                    continue
                if not layer.driven:
                    self.chip.early.add(number)
                    break
                what = f"neuron {element} would fire in the {before} ticks before its input (start {neuron.start})"
                allowed = f"a start below its threshold of {neuron.threshold}"
                self.refuse(layer.gates.name, what, allowed, "use a lower initial potential")
                return


@final
class _Splitters:
    """Cores of relays that are filled one after the other."""

    def __init__(self, wiring: Wiring, layer: str) -> None:
        self.wiring, self.layer, self.open = wiring, layer, list[int]()

    def put(self, ends: list[End], hops: int) -> Target:
        """An axon whose spikes reach all ends."""
        cores = self.wiring.chip.cores
        at = next((at for at in self.open if self.fits(cores[at], len(ends))), None)
        if at is None:
            at = self.wiring.chip.add(Core("splitter", self.layer))
            self.open = [*self.open, at][-64:]
        core = cores[at]
        axon = core.axon(("in", len(core.types)), 0)
        for end in ends:
            core.neurons.append(Neuron((1, 0, 0, 0), [axon], 1))
            self.wiring.aim((at, len(core.neurons) - 1), end, hops - 1)
        return at, axon

    @staticmethod
    def fits(core: Core, copies: int) -> bool:
        return len(core.types) < limits.AXONS and len(core.neurons) + copies <= limits.NEURONS
