"""
A simulator of TrueNorth's neurons that runs a network file, tick by tick, all samples of a batch side by side.

    V ← V + Σ_i A_i·c_ij·s_j^(G_i) + λ_j                                     (1)   synapses, then leak
    V ≥ α: spike; V ← V - α (linear) or 0 (normal)                           (2)
    else V < -β: V ← -β where the neuron saturates, else 0                   (3)

A spike reaches its axon 1 to 15 ticks later. Deterministic parts of the model only; the reset potential is 0.

Source: Cassidy et al., IJCNN 2013 (equations 2 to 6, γ ∈ {0, 1}, R = 0); Merolla et al. 2014.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from spikeloom.backend.truenorth import limits
from spikeloom.backend.truenorth.cores import HOST, LINEAR
from spikeloom.backend.truenorth.network import FORMAT, crossbar
from spikeloom.errors import InternalError, ProgramError


@final
@dataclass(eq=False)
class CoreArrays:
    """A core as arrays; `weights` [axons, neurons] is the crossbar with each neuron's weight for the axon's type."""

    weights: ndarray
    leak: Int[ndarray, " n"]
    threshold: Int[ndarray, " n"]
    negative: Int[ndarray, " n"]
    linear: Bool[ndarray, " n"]
    saturates: Bool[ndarray, " n"]
    start: Int[ndarray, " n"]
    target_core: Int[ndarray, " n"]
    target_axon: Int[ndarray, " n"]
    delay: Int[ndarray, " n"]
    restless: bool
    """Whether it changes without input: a leak, or a start at which it fires."""


@final
@dataclass(eq=False)
class Network:
    """A network file in arrays: cores, where inputs go, and the host's sum."""

    cores: list[CoreArrays]
    bases: Int[ndarray, " c"]
    """The first axon of each core among all axons."""
    inputs: list[tuple[ndarray, ndarray]]
    """By lag: (elements, axons)."""
    told: Mapping[str, Any]
    outputs: int
    elements: Int[ndarray, " i"]
    levels: Int[ndarray, " i"]
    readout: Int[ndarray, "o n"]
    offset: Int[ndarray, " o"]


@final
@dataclass(eq=False)
class Run:
    """The host's sums [B, outputs], and what happened: spikes of neurons, synaptic events, spikes that left their core, ticks."""

    answer: Int[ndarray, "b o"]
    spikes: int = 0
    synaptic_events: int = 0
    routed: int = 0
    ticks: int = 0
    events: dict[int, Bool[ndarray, "b n"]] = field(default_factory=dict[int, ndarray])


def loaded(path: Path) -> Network:
    """The network of a file. Raises ProgramError where it is none."""
    try:
        told = json.loads(path.read_text())
        if told["format"] != FORMAT or told["target"] != "truenorth":
            raise ValueError(f"format {told['format']} of {told['target']}")
        return _network(told)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ProgramError("no TrueNorth network can be read", found=f"{path}: {error!r}", todo="compile the network again") from error


def _network(told: Mapping[str, Any]) -> Network:
    sizes = [len(core["axon_types"]) for core in told["cores"]]
    if any(size > limits.AXONS or core["count"] > limits.NEURONS for size, core in zip(sizes, told["cores"], strict=True)):
        raise ValueError("a core has more than 256 axons or neurons")
    bases = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    lags = dict[int, tuple[list[int], list[int]]]()
    for element, targets in enumerate(told["inputs"]):
        for core, axon, lag in targets:
            lags.setdefault(lag, ([], []))[0].append(element)
            lags[lag][1].append(int(bases[core]) + axon)
    inputs = [tuple(np.array(part, np.int64) for part in lags.get(lag, ([], []))) for lag in range(max(lags, default=0) + 1)]
    outputs = max((group["neurons"][1] for group in told["outputs"]), default=0)
    readout = np.zeros((len(told["readout"]["offset"]), outputs), np.int64)
    for output, neuron, weight in told["readout"]["weights"]:
        readout[output, neuron] = weight
    cores, offset = [_arrays(core) for core in told["cores"]], np.array(told["readout"]["offset"], np.int64)
    elements, levels = (np.array(told["encode"][name], np.int64) for name in ("element", "level"))
    return Network(cores, bases, inputs, told, outputs, elements, levels, readout, offset)  # pyright: ignore[reportArgumentType]


def _arrays(core: dict[str, Any]) -> CoreArrays:
    count, told = core["count"], core["neurons"]

    def row(value: Any) -> ndarray:
        return np.broadcast_to(np.asarray(value, np.int64), (count,)).copy()

    four = np.stack([row(value) for value in told["weights"]])
    types = np.array([int(kind) for kind in core["axon_types"]], np.int64)
    weights = (crossbar(core).T * four[types]).astype(np.float32)
    modes = told["reset_mode"]
    linear = np.full(count, modes == LINEAR) if isinstance(modes, str) else np.array([mode == LINEAR for mode in modes])
    numbers = {
        name: row(told[name])
        for name in ("leak", "threshold", "negative_threshold", "saturates", "start", "target_core", "target_axon", "delay")
    }
    _checked(four, numbers)
    return CoreArrays(
        weights,
        numbers["leak"],
        numbers["threshold"],
        numbers["negative_threshold"],
        linear,
        numbers["saturates"] != 0,
        numbers["start"],
        numbers["target_core"],
        numbers["target_axon"],
        numbers["delay"],
        bool(numbers["leak"].any() or numbers["start"].any()),
    )


def _checked(weights: ndarray, numbers: Mapping[str, ndarray]) -> None:
    """Raises ValueError where a number is wider than the chip's."""
    on_chip = numbers["target_core"] >= 0
    for name, values, low, high in (
        ("weight", weights, -limits.WEIGHT, limits.WEIGHT),
        ("leak", numbers["leak"], -limits.WEIGHT, limits.WEIGHT),
        ("threshold", numbers["threshold"], 0, limits.THRESHOLD),
        ("negative threshold", numbers["negative_threshold"], 0, limits.THRESHOLD),
        ("start", numbers["start"], -limits.MEMBRANE, limits.MEMBRANE),
        ("delay", numbers["delay"][on_chip], 1, limits.DELAY),
    ):
        if values.size and (int(values.min()) < low or int(values.max()) > high):
            raise ValueError(f"a {name} from {values.min()} to {values.max()} is outside {low} to {high}")


def run(network: Network, inputs: Int[ndarray, "t b n"], counted: int | None = None, later: int = 0) -> Run:
    """The host's sums for a batch; inputs are samples [B, n], one for each tick from the first on. The host counts as many ticks as there
    are inputs, or `counted`, from the first answer on or so much `later`."""
    told, batch = network.told, inputs.shape[1]
    first, steps = told["arrival"], len(inputs)
    width = steps if counted is None else counted
    last = max(group["first"] for group in told["outputs"]) + later + width - 1
    ring = np.zeros((limits.DELAY + 1, batch, int(network.bases[-1])), bool)
    voltages = [np.broadcast_to(core.start, (batch, len(core.start))).astype(np.int64) for core in network.cores]
    quiet = [not core.restless for core in network.cores]
    counts, result = np.zeros((batch, network.outputs), np.int64), Run(np.zeros((batch, len(network.offset)), np.int64))
    held = dict[int, ndarray]()
    window = np.zeros((network.outputs, 2), np.int64)
    for group in told["outputs"]:
        window[slice(*group["neurons"])] = group["first"] + later, group["first"] + later + width - 1
    for tick in range(1, last + 1):
        arriving = ring[tick % len(ring)]
        for lag, (elements, axons) in enumerate(network.inputs):
            place = tick - first - lag
            if 0 <= place < steps:
                arriving[:, axons] |= inputs[place][:, network.elements[elements]] >= network.levels[elements]
        for number, core in enumerate(network.cores):
            active = arriving[:, network.bases[number] : network.bases[number + 1]]
            busy = bool(active.any())
            if quiet[number] and not busy:
                continue
            spikes, quiet[number] = _tick(core, voltages, number, active if busy else None, result)
            if spikes.any():
                _send(network, core, spikes, ring, tick, held, result)
        arriving[:] = False
        if tick in held:
            counts += held.pop(tick) & (window[:, 0] <= tick) & (tick <= window[:, 1])
    result.answer = counts @ network.readout.T + network.offset * width
    result.ticks = last
    return result


def _tick(
    core: CoreArrays, voltages: list[ndarray], number: int, active: Bool[ndarray, "b a"] | None, result: Run
) -> tuple[Bool[ndarray, "b n"], bool]:
    """(spikes, whether the core now rests until something arrives)."""
    v = voltages[number]
    if active is not None:
        v = v + (active.astype(np.float32) @ core.weights).astype(np.int64)  # (1): sums of 256 products of 9 bits are exact in float32
        result.synaptic_events += int(active.sum(0) @ (core.weights != 0).sum(1))
    v = v + core.leak
    if v.size and (int(v.max()) > limits.MEMBRANE or int(v.min()) < -limits.MEMBRANE - 1):
        raise InternalError(f"a membrane of TrueNorth left its 20 bits: {v.min()} to {v.max()}")
    spikes = v >= core.threshold  # (2)
    under = ~spikes & (v < -core.negative)
    v = np.where(spikes, np.where(core.linear, v - core.threshold, 0), v)
    voltages[number] = np.where(under, np.where(core.saturates, -core.negative, 0), v)  # (3)
    result.spikes += int(spikes.sum())
    return spikes, not core.leak.any() and not bool((voltages[number] >= core.threshold).any())


def _send(
    network: Network,
    core: CoreArrays,
    spikes: Bool[ndarray, "b n"],
    ring: Bool[ndarray, "d b a"],
    tick: int,
    held: dict[int, ndarray],
    result: Run,
) -> None:
    inside = core.target_core >= 0
    axons = network.bases[core.target_core.clip(0)] + core.target_axon
    for delay in np.unique(core.delay[inside]):
        chosen = inside & (core.delay == delay)
        ring[(tick + int(delay)) % len(ring)][:, axons[chosen]] |= spikes[:, chosen]
    result.routed += int(spikes[:, inside].sum())
    for delay in np.unique(core.delay[core.target_core == HOST]):
        chosen = (core.target_core == HOST) & (core.delay == delay)
        at = held.setdefault(tick + int(delay), np.zeros((spikes.shape[0], network.outputs), bool))
        at[:, core.target_axon[chosen]] |= spikes[:, chosen]
