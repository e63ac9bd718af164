"""
Layers of gates onto cores: direct where a gate's inputs fit a core, else by partial sums that are sent as bursts; splitters between.

Direct, T = 1. A memoryless gate is the published neuron with threshold 1, leak 1 - θ, and both resets to 0: V = Σ w·s + 1 - θ fires at
V ≥ 1, and is 0 again whatever it was. Every tick takes a new sample.

Direct, T > 1. An integrator has threshold θ, linear or normal reset, leak = its drive; it starts as much lower as the leak adds up before
its first input arrives. Where the leak is so negative that it would have to start at its threshold, the layer's drives come by pulses at
every tick from then on, instead of by leaks.

Bursts, T = 1. Where some gate has more inputs than a core takes, its inputs are cut into parts. A partial neuron gathers p = Σ w·s + a of
its part (a: the sum of its negative weights, so that p ≥ 0) with threshold 1 and linear reset: it fires once a tick, p times. The merge
neuron counts all bursts; a pulse after R ticks (R: the most a partial neuron can send) lifts exactly those counts over its threshold
that reach θ, and a second pulse empties it. A sample then takes P = R + 2 ticks in every layer, and gates' offsets come by pulses too.
Pulses are made on each core by neurons that count to P by their leak. Everything is exact.

Splitters. A neuron has one target axon. Where it needs more, a core of relays copies it, up to 256 times, once more if need be; axon delays
(1 to 15) make all arrive at the same tick.
"""

from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.target import Refusal
from spikeloom.backend.truenorth import limits
from spikeloom.backend.truenorth.codes import Code, divisors
from spikeloom.backend.truenorth.cores import LINEAR, NORMAL, Core, Neuron, padded
from spikeloom.backend.truenorth.gates import Gates, Layers
from spikeloom.backend.truenorth.packing import Wanted, best_packed, keys_of
from spikeloom.backend.truenorth.reading import PULSE, Row, cheaper, code_of, ends, fan, firsts_of, flat, rows_of, shifts, stacked
from spikeloom.backend.truenorth.wiring import Mapped, Placing, Target, Wiring


def mapped(layers: Layers, timesteps: int, fewest: bool = False) -> Mapped:
    """The network on cores, or why not. Partial sums are made where a gate needs them; with `fewest` also where they save cores."""
    if timesteps > 1:
        return _over_time(layers, timesteps)
    plain = _Mapper(layers, timesteps, {number for number in range(len(layers.layers)) if fan(layers.layers[number]) > limits.AXONS})
    if not fewest:
        return plain.made()
    cut = {number for number, gates in enumerate(layers.layers) if cheaper(gates)}
    found = [way.made() for way in (plain, _Mapper(layers, timesteps, plain.split | cut))]
    return min(found, key=lambda chip: (bool(chip.refusals), len(chip.cores)))


def _over_time(layers: Layers, timesteps: int) -> Mapped:
    """Layers are driven by pulses where leaks cannot: when inputs arrive, and so which those are, is known once all are placed."""
    driven = frozenset[int]()
    while True:
        wide = {
            place for place, gates in enumerate(layers.layers) if fan(gates, _types(place in driven)) + (place in driven) > limits.AXONS
        }
        chip = _Mapper(layers, timesteps, wide, driven).made()
        if chip.early <= driven:
            return chip
        driven |= chip.early


def _types(pulsed: bool) -> int:
    """Axon types that weights have."""
    return PULSE if pulsed else limits.TYPES


@final
class _Mapper:
    def __init__(self, layers: Layers, timesteps: int, split: set[int], driven: frozenset[int] = frozenset()) -> None:
        self.layers, self.timesteps, self.driven = layers, timesteps, driven
        self.chip = Mapped()
        self.found = [Placing(gates, number in driven) for number, gates in enumerate(layers.layers)]
        self.split = split  # pulses take an axon, and an axon type, so that more layers may have to be cut where some are
        if split and timesteps == 1:
            self.split = split | {number for number, gates in enumerate(layers.layers) if fan(gates, PULSE) >= limits.AXONS}

    def made(self) -> Mapped:
        if self.timesteps > 1 and self.split:
            self.refuse_fans()
        if 0 in self.layers.answer.reads and self.layers.answer.reads[0].count_nonzero():
            self.refuse("the network", "an answer that reads the input itself", "an answer from neurons", "put neurons between")
        if not self.chip.refusals:
            if self.split:
                self.chip.period = 2 + max(self.longest(number) for number in range(len(self.found)))
            for number in range(len(self.found)):
                self.place(number)
        if not self.chip.refusals:
            Wiring(self.chip, self.layers, self.found, bool(self.split)).wire()
        return self.chip

    def refuse(self, name: str, found: str, allowed: str, todo: str) -> None:
        self.chip.refusals.append(Refusal(name, found, allowed, todo))

    def refuse_fans(self) -> None:
        for number in sorted(self.split):
            gates = self.found[number].gates
            what = f"{fan(gates, _types(number in self.driven)) + (number in self.driven)} axons for a neuron"
            allowed = f"{limits.AXONS} axons of a core at T > 1 (at T = 1 it would be cut into partial sums)"
            self.refuse(gates.name, what, allowed, "use smaller layers or kernels, or fewer weight bits")

    # ---- placing

    def place(self, number: int) -> None:
        layer, pulsed = self.found[number], bool(self.split) or number in self.driven
        gates, types = layer.gates, _types(pulsed)
        code = code_of(gates, types)
        if code is None:
            low, high = ends(gates)
            what = f"weights from {low} to {high}"
            self.refuse(gates.name, what, f"what {types} axon types of ±{limits.WEIGHT} make up", "use fewer weight bits")
            return
        self.chip.codes[gates.name] = f"{list(code.bases)} × {list(code.copies)}"
        rows = rows_of(gates)
        gcd = divisors([values for _, values in rows])
        if int(gcd.max()) * max(map(abs, code.bases)) > limits.WEIGHT:
            gcd = np.ones_like(gcd)
        if number in self.split:
            self.place_bursts(number, code, rows, gcd)
            return
        wanted = [Wanted(place, keys_of(columns, values // gcd[place], code)) for place, (columns, values) in enumerate(rows)]
        for core, members in best_packed(wanted, gates.shape, "gates", gates.name, int(pulsed)):
            at = self.chip.add(core)
            for want in members:
                axons = [core.keys[key] for key in want.keys]
                neuron = self.gate(gates, want.neuron, code, int(gcd[want.neuron]), axons, core if pulsed else None)
                layer.places[want.neuron] = (at, len(core.neurons))
                core.neurons.append(neuron)
            self.note(layer, core, at)

    def note(self, layer: Placing, core: Core, at: int) -> None:
        """What the core's axons must be reached by."""
        for key, axon in core.keys.items():
            if isinstance(key, tuple) and len(key) == 4:
                layer.wanted.setdefault((key[0], key[1]), []).append((at, axon))

    def gate(self, gates: Gates, place: int, code: Code, gcd: int, axons: list[int], pulsed: Core | None) -> Neuron:
        weights = [base * gcd for base in code.bases]
        if not gates.memoryless:
            return self.integrator(gates, place, weights, axons, pulsed)
        offset = 1 - int(gates.threshold[place])
        if abs(offset) > limits.WEIGHT:
            self.refuse_offset(gates, offset)
        if pulsed is None:
            return Neuron(padded(weights), axons, 1, offset)
        return Neuron((*padded(weights)[:3], offset), [*axons, pulsed.axon("pulse", PULSE)], 1)

    def refuse_offset(self, gates: Gates, offset: int) -> None:
        if not any(refusal.where == gates.name for refusal in self.chip.refusals):
            self.refuse(gates.name, f"an offset (1 - θ) of {offset}", f"±{limits.WEIGHT}", "use fewer weight bits or inputs")

    def integrator(self, gates: Gates, place: int, weights: list[int], axons: list[int], pulsed: Core | None) -> Neuron:
        drive, threshold, start = (int(values[place]) for values in (gates.drive, gates.threshold, gates.start))
        if abs(drive) > limits.WEIGHT:
            self.refuse_offset(gates, drive)
        four, leak = padded(weights), drive
        if pulsed is not None:
            four, axons, leak = (*four[:3], drive), [*axons, pulsed.axon("drive", PULSE)], 0
        return Neuron(four, axons, threshold, leak, limits.THRESHOLD, NORMAL if gates.hard else LINEAR, True, start)

    # ---- bursts

    def parts_of(self, number: int) -> list[ndarray]:
        """The inputs of a layer cut into parts that a core takes, as equal as can be."""
        gates = self.found[number].gates
        code = code_of(gates, PULSE)
        size = sum(gates.sizes.values())
        each = (limits.AXONS - 1) // (code.axons if code else 1)
        return np.array_split(np.arange(size), -(-size // each))

    def longest(self, number: int) -> int:
        """R of a layer: the most spikes of a partial neuron, and no less than 1."""
        if number not in self.split:
            return 1
        matrix = stacked(self.found[number].gates)
        return max(int(abs(matrix[:, part]).sum(1).max()) for part in self.parts_of(number))

    def place_bursts(self, number: int, code: Code, rows: list[Row], gcd: Int[ndarray, " r"]) -> None:
        layer = self.found[number]
        gates, layer.burst = layer.gates, self.longest(number)
        parts = self.parts_of(number)
        of = np.concatenate([np.full(len(part), place) for place, part in enumerate(parts)])
        firsts = firsts_of(gates)
        merges = self.merges(number, rows, len(parts), of, firsts)
        for part in range(len(parts)):
            wanted, lows = list[Wanted](), dict[int, int]()
            for place, (columns, values) in enumerate(rows):
                mine = of[flat(columns, firsts)] == part
                if mine.any():
                    wanted.append(Wanted(place, keys_of(columns[mine], values[mine] // gcd[place], code)))
                    lows[place] = int(-values[mine].clip(max=0).sum())
            for core, members in best_packed(wanted, (), "partial", gates.name, 1):
                at = self.chip.add(core)
                for want in members:
                    axons = [core.keys[key] for key in want.keys]
                    four = padded([base * int(gcd[want.neuron]) for base in code.bases])
                    if lows[want.neuron] > limits.WEIGHT:
                        self.refuse_offset(gates, lows[want.neuron])
                    pulse = core.axon("pulse", PULSE)
                    core.neurons.append(
                        Neuron(
                            (*four[:3], lows[want.neuron]), [*axons, pulse], 1, reset_mode=LINEAR, target=(*merges[want.neuron, part], 1)
                        )
                    )
                self.note(layer, core, at)
        self.chip.parts[gates.name] = len(parts)

    def merges(
        self,
        number: int,
        rows: list[Row],
        parts: int,
        of: Int[ndarray, " k"],
        firsts: dict[int, int],
    ) -> dict[tuple[int, int], Target]:
        """Merge neurons in cores of their own, and the axon of each (neuron, part)."""
        layer, found = self.found[number], dict[tuple[int, int], Target]()
        gates = layer.gates
        most = max((int(np.abs(values).sum()) for _, values in rows), default=0)
        height = most + 1  # above every count
        lifts = max(height - int((gates.threshold + shifts(rows)).min()), 0) // limits.WEIGHT
        drops = -(-height // limits.WEIGHT)
        spare = lifts + 1 + drops
        each = (limits.AXONS - spare) // parts
        if each < 1 or spare > limits.NEURONS // 2:
            what = f"{parts} partial sums and {spare} pulses of up to {most} spikes for a neuron"
            self.refuse(gates.name, what, f"{limits.AXONS} axons of a core", "use smaller layers")
            return {(place, part): (0, 0) for place in range(len(rows)) for part in range(parts)}
        for first in range(0, len(rows), min(each, limits.NEURONS - spare)):
            core = Core("merge", gates.name)
            at = self.chip.add(core)
            for place in range(first, min(first + min(each, limits.NEURONS - spare), len(rows))):
                columns, values = rows[place]
                mine = sorted(set(of[flat(columns, firsts)].tolist()))
                axons = [core.axon((place, part), 0) for part in mine]
                found |= {(place, part): (at, axon) for part, axon in zip(mine, axons, strict=True)}
                target = int(gates.threshold[place]) + int(-values.clip(max=0).sum())
                full, remainder = divmod(max(height - target, 0), limits.WEIGHT)
                pulses = [core.axon(("lift", one), 1) for one in range(full)] + [core.axon("rest", PULSE)]
                down = [core.axon(("drop", one), 2) for one in range(drops)]
                layer.places[place] = (at, len(core.neurons))
                weights = (1, limits.WEIGHT, -limits.WEIGHT, remainder)
                core.neurons.append(Neuron(weights, [*axons, *pulses, *down], max(height, target)))  # above: never fires
        return found
