"""
A netlist of one tick on Xylo's one hidden population.

A neuron of Xylo (xylosim 0.1.3) does, at each tick, with spikes of the inputs now and of hidden neurons a tick ago:

    i ← i + Σ w·spikes,  i ← i - (i >> dash_syn)        at least 1 towards 0                       (1)
    v ← v - (v >> dash_mem) + i + bias                                                            (2)
    k = min(31, ⌊v/θ⌋) spikes, v ← v - k·θ                                                        (3)

With dash_mem = 0 a membrane forgets at once; with dash_syn = 1 half of an even current is left for the next tick, exactly. So with weights
doubled a neuron that had nothing before gathers Σ w·k + bias, and sends what a uniform staircase of 31 levels without a memory sends: a
layer takes one tick, and a network of depth L answers L ticks after its last input. Two ways to have nothing left from before:

    wave     everything is silent until the first spikes come by: weights w, shifted left by 1. Ticks after the answer mean nothing. Where
             neurons beyond the first layer would fire without input, a free input channel for each such layer brings part of their bias
             at the tick that is theirs, and what stays is below θ
    stream   the half that is left, Σ w·k of the tick before, is taken away: every neuron that is read has a relay that repeats its spikes
             a tick later, with weights -w beside 2w. Every tick answers; inputs [bands, frames] come in frame by frame, and wait in
             chains of relays. Weights of one bit less; relays cost neurons

A stream is chosen where the input has frames, or no channel is free for biases. A relay is a neuron of
θ = 1, input weight 2, which takes its own half away by a weight of -1 on itself.

The answer is read as the membrane of output neurons (rockpool's output mode "Vmem"), whose threshold is out of reach, or as the spikes of
output neurons where the network ends with neurons of one level.
"""

from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.xylo.chips import INPUT_EVENTS, INPUTS, STATE_HIGH, WEIGHT_HIGH
from spikeloom.backend.xylo.currents import Current, currents
from spikeloom.ir.hardware import Netlist, Population

Way = Literal["wave", "stream"]
Delayed = tuple[str, int, int]
"""What can be read: (source, which of it, how many ticks later)."""


@final
@dataclass(frozen=True, eq=False)
class Placement:
    """The matrices and vectors that rockpool's `config_from_specification` takes, and how the network is run on them.

    Sizes: 16 or fewer inputs, H hidden and O output neurons. `ticks` is how many a sample takes, `read` what is read at the last of them.
    `relays` of the hidden neurons only repeat. `depth` is how many layers of neurons there are, output neurons included. `currents` are the
    least and the greatest Σ w·k of hidden and of output neurons. `clocks` are (channel, tick) at which a channel sends 15 events that bring
    biases.
    """

    weights_in: Int[ndarray, "i h"]
    weights_rec: Int[ndarray, "h h"]
    weights_out: Int[ndarray, "h o"]
    threshold: Int[ndarray, " h"]
    threshold_out: Int[ndarray, " o"]
    bias_hidden: Int[ndarray, " h"]
    bias_out: Int[ndarray, " o"]
    shift: int
    way: Way
    frames: int
    ticks: int
    read: Literal["Vmem", "Spike"]
    relays: int
    depth: int
    highest_spikes: Int[ndarray, " h"] = field(repr=False)
    currents: tuple[Int[ndarray, "two h"], Int[ndarray, "two o"]] = field(repr=False)
    clocks: tuple[tuple[int, int], ...] = ()

    @property
    def fan_out(self) -> Int[ndarray, " h"]:
        """How many hidden and output neurons each hidden neuron reaches."""
        return (self.weights_rec != 0).sum(1) + (self.weights_out != 0).sum(1)


def bands_and_frames(shape: tuple[int, ...]) -> tuple[int, int]:
    """[n] as n channels of one frame; [bands, frames] and [1, bands, frames] as they say."""
    if len(shape) == 1:
        return shape[0], 1
    return shape[-2], shape[-1]


def rest(population: Population) -> Int[ndarray, " c"]:
    """What a membrane holds at the first tick before its current comes: start, decay and leak of equation (1) of the netlist."""
    membrane = population.membrane
    if membrane is None:
        return np.zeros(1, np.int64)
    return ((membrane.decay * membrane.initial) >> membrane.decay_shift) - membrane.leak


def each(values: Int[ndarray, " c"], population: Population, shape: tuple[int, ...]) -> Int[ndarray, " n"]:
    """Numbers for each place of the population's axis, for each of its neurons."""
    where = [-1 if place == population.axis else 1 for place in range(len(shape))]
    return np.broadcast_to(values.reshape(where), shape).reshape(-1)


def readout(netlist: Netlist) -> Population | None:
    """The population that becomes output neurons: the network's last, of one level, which nothing else reads."""
    for population in netlist.populations:
        if population.name == netlist.output and population.binary and not netlist.readers(population.name):
            return population
    return None


def brought_by_clock(bias: Int[ndarray, " n"], threshold: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
    """The least weights with which 15 events leave a bias below the threshold; 0 where it is below already."""
    return -(-(bias - threshold + 1).clip(min=0) // INPUT_EVENTS)


def place(netlist: Netlist) -> Placement:
    """The placement of a netlist that nothing stands against but numbers (`refusing`)."""
    return _Placing(netlist).placement()


@final
class _Placing:
    def __init__(self, netlist: Netlist) -> None:
        self.netlist, self.known = netlist, currents(netlist)
        wire = netlist.wires[netlist.source.name]
        self.bands, self.frames = bands_and_frames(wire.shape)
        self.last = readout(netlist)
        self.hidden = [population for population in netlist.populations if population is not self.last]
        self.depths = {netlist.source.name: 0}
        for population in self.hidden:
            self.depths[population.name] = 1 + max(self.depths[name] for name in self.known[population.reads[0]].weights)
        self.clocks = self._clocks()
        self.way: Way = "stream" if self.frames > 1 or self.clocks is None else "wave"
        self.places = dict[Delayed, int]()
        self.highest = list[int]()
        self.synapses = dict[tuple[Delayed, int], int]()
        self.outward = dict[tuple[Delayed, int], int]()

    def _clocks(self) -> dict[int, int] | None:
        """The channel for each layer that would fire without input; None where none is free or 15 events of weight 127 are too few."""
        late = [one for one in self.hidden if self.depths[one.name] > 1]
        brought = {one.name: brought_by_clock(self._bias(one), self._thresholds(one)) for one in late}
        depths = sorted({self.depths[one.name] for one in late if brought[one.name].any()})
        if self.bands + len(depths) > INPUTS or any(weight.max(initial=0) > WEIGHT_HIGH for weight in brought.values()):
            return None
        return {depth: self.bands + place for place, depth in enumerate(depths)}

    def _bias(self, population: Population) -> Int[ndarray, " n"]:
        """What drives a population that hears nothing."""
        shape = self.netlist.wires[population.name].shape
        return each(rest(population), population, shape) + self.known[population.reads[0]].bias

    def _thresholds(self, population: Population) -> Int[ndarray, " n"]:
        return each(population.quantum, population, self.netlist.wires[population.name].shape)

    def placement(self) -> Placement:
        """Neurons in the order of the netlist, relays behind them."""
        for population in self.hidden:
            most = self.netlist.wires[population.name]
            for index in range(most.size):
                self._new((population.name, index, 0), most.high)
        for population in self.hidden:
            self._connect(self.known[population.reads[0]], population.name)
        answer = self.known[self.netlist.output if self.last is None else self.last.reads[0]]
        depth = 1 + max([1, *(self.depths[name] for name in answer.weights)])
        self._connect(answer, None, depth)
        neurons = len(self.places)
        for at in list(self.outward):
            self._relayed(at[0])
        return self._made(answer, depth, neurons)

    def _new(self, key: Delayed, most: int) -> int:
        self.places[key] = len(self.places)
        self.highest.append(most)
        return self.places[key]

    def _connect(self, current: Current, name: str | None, depth: int | None = None) -> None:
        """Synapses of one layer: 2w now and -w a tick later, or w alone in a wave (shifted left by 1 there)."""
        depth = self.depths[str(name)] if depth is None else depth
        kept = self.outward if name is None else self.synapses
        for source, weight in current.weights.items():
            late = depth - 1 - self.depths[source]
            for target, column in zip(*np.nonzero(weight), strict=True):
                index, wait = self._source(source, int(column), late)
                reads = (source, index, wait)
                post = int(target) if name is None else self.places[(name, int(target), 0)]
                value = int(weight[target, column])
                if self.way == "wave":
                    _add(kept, reads, post, value)
                else:
                    _add(kept, reads, post, 2 * value)
                    _add(kept, (source, index, wait + 1), post, -value)

    def _source(self, source: str, column: int, late: int) -> tuple[int, int]:
        """Which channel and how much later: earlier frames have waited longer."""
        if source != self.netlist.source.name or self.frames == 1:
            return column, late
        band, frame = divmod(column, self.frames)
        return band, late + self.frames - 1 - frame

    def _relayed(self, key: Delayed) -> None:
        """The chain of relays that leads to what is read."""
        source, index, wait = key
        if wait == 0 or key in self.places:
            return
        before = (source, index, wait - 1)
        self._relayed(before)
        most = self.netlist.wires[source].high
        here, double = self._new(key, most), 1 if self.way == "wave" else 2
        _add(self.synapses, before, here, double)
        if self.way == "stream":
            _add(self.synapses, key, here, -1)

    def _made(self, answer: Current, depth: int, neurons: int) -> Placement:
        for at in list(self.synapses):
            self._relayed(at[0])
        count, out, clocks = len(self.places), len(answer.bias), (self.clocks or {}) if self.way == "wave" else {}
        inner, outer = np.zeros((count, count), np.int64), np.zeros((count, out), np.int64)
        inward = np.zeros((self.bands + len(clocks), count), np.int64)
        for (key, post), value in self.synapses.items():
            if key[0] == self.netlist.source.name and key[2] == 0:
                inward[key[1], post] = value
            else:
                inner[self.places[key], post] = value
        for (key, post), value in self.outward.items():
            outer[self.places[key], post] = value
        threshold, bias = np.ones(count, np.int64), np.zeros(count, np.int64)
        for population in self.hidden:
            first = self.places[(population.name, 0, 0)]
            where = slice(first, first + self.netlist.wires[population.name].size)
            threshold[where], bias[where] = self._thresholds(population), self._bias(population)
            if self.depths[population.name] in clocks:
                brought = brought_by_clock(bias[where], threshold[where])
                inward[clocks[self.depths[population.name]], where] = brought
                bias[where] -= INPUT_EVENTS * brought
        threshold_out, bias_out = np.full(out, STATE_HIGH), answer.bias
        if self.last is not None:
            threshold_out = self._thresholds(self.last)
            bias_out = self._bias(self.last)
        inside = np.stack([np.zeros(count, np.int64), np.array(self.highest)])  # a relay's current is what it repeats
        for population in self.hidden:
            first = self.places[(population.name, 0, 0)]
            inside[:, first : first + self.netlist.wires[population.name].size] = self._ends(self.known[population.reads[0]])
        return Placement(
            inward,
            inner,
            outer,
            threshold,
            threshold_out,
            bias,
            bias_out,
            int(self.way == "wave"),
            self.way,
            self.frames,
            self.frames - 1 + depth,
            "Vmem" if self.last is None else "Spike",
            count - neurons,
            depth,
            np.array(self.highest),
            (inside, self._ends(answer)),
            tuple((channel, depth - 1) for depth, channel in clocks.items()),
        )

    def _ends(self, current: Current) -> Int[ndarray, "two n"]:
        """The least and the greatest sum without the bias: nothing that is sent is below 0."""
        most = [(weight, self.netlist.wires[source].high) for source, weight in current.weights.items()]
        low = sum((weight.clip(max=0).sum(1) * high for weight, high in most), 0 * current.bias)
        return np.stack([low, sum((weight.clip(min=0).sum(1) * high for weight, high in most), 0 * current.bias)])


def _add(synapses: dict[tuple[Delayed, int], int], reads: Delayed, post: int, value: int) -> None:
    total = synapses.get((reads, post), 0) + value
    synapses[(reads, post)] = total
