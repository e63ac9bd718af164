"""
Neurons as NIR nodes.

NIR fires at v > v_threshold and sets v to v_reset; we fire at h ≥ θ. Currents and θ are whole numbers, so

    h ≥ θ  ⇔  h > θ - δ      for every 0 < δ < 1                                                   (1)

and v_threshold = θ - δ makes v > v_threshold and v ≥ v_threshold the same for every reader. A reader that resets by subtraction takes
v_threshold away, δ too little each time; one that sends ⌊v/v_threshold⌋ spikes divides by it. After n levels sent in all ticks before, a
neuron that has K levels still fires exactly as ours does while

    (n + K)·δ < 1,   n ≤ K·T                                                                        (2)

so δ is the largest power of two with (K·T + K)·δ ≤ 1/2, or 1/2 for one level that is reset to zero. It is a short binary fraction: nothing
is rounded while θ/δ < 2^24 (float32; thresholds beyond are written in float64). Reset, levels, θ itself and the initial potential are in
the node's metadata.

    IF   r·dt = 1                       h = v + x
    LIF  τ = dt/(1 - a), r = τ/dt       h = v + (dt/τ)·(v_leak - v + r·x) = a·v + x - ℓ,  v_leak = -ℓ·τ/dt       (3)

NIR has no initial potential. At T = 1 it is known before the tick, and a threshold that is lower by it says the same (for the first level);
at T > 1 it is in the metadata only: a plain reader means the same where it is 0.

Source: Pedersen et al. 2024, Neuromorphic intermediate representation, Nature Communications 15:8122; nir 1.0.8, `nir/ir/neuron.py`.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from spikeloom.backend.nir.library import nir
from spikeloom.backend.nir.options import NirOptions
from spikeloom.ir.hardware import Membrane, Population

FOREVER = 2.0**40
"""τ/dt of a LIF node that stands for an IF one: v·(1 - 2^-40) is v in float32."""


def delta(population: Population, timesteps: int) -> float:
    """δ of equation (2)."""
    levels, membrane = population.levels, population.membrane
    if levels == 1 and (timesteps == 1 or membrane is None or membrane.reset == "zero"):
        return 0.5
    return 0.5 ** int(np.ceil(np.log2(2 * levels * (timesteps + 1))))


def neuron(population: Population, shape: tuple[int, ...], timesteps: int, options: NirOptions) -> Any:
    """The node of a population whose samples have this shape."""
    library, membrane = nir(), population.membrane or Membrane(np.zeros(1, np.int64), np.zeros((1, 1), np.int64))
    threshold = _over(first(population, membrane, timesteps) - delta(population, timesteps), population.axis, shape)
    none = np.zeros(shape, np.float32)
    shared = {"v_threshold": threshold, "v_reset": none, "metadata": told(population, timesteps, options.dt)}
    still = timesteps == 1 or not (membrane.decays or membrane.leaks)
    if still and options.integrator == "if":
        return library.IF(r=none + np.float32(1 / options.dt), **shared)
    kept = np.ones(1) if still else membrane.decay / (1 << membrane.decay_shift)
    slow = np.where(kept < 1, 1 / np.maximum(1 - kept, 1 / FOREVER), FOREVER)  # τ/dt (3)
    ratio = _over(slow, population.axis, shape)
    leak = none if still else _over(-membrane.leak * slow, population.axis, shape)
    shared |= {"r": ratio, "v_leak": leak}
    if options.integrator == "cubalif":
        return library.CubaLIF(tau_syn=none + np.float32(options.dt), tau_mem=ratio * np.float32(options.dt), w_in=none + 1, **shared)
    return library.LIF(tau=ratio * np.float32(options.dt), **shared)


def first(population: Population, membrane: Membrane, timesteps: int) -> Int[ndarray, " c"]:
    """The threshold of level 1, [C]; at T = 1 lower by what the membrane holds before the tick."""
    place = int((population.heights[0] <= 0).sum()) - 1
    lowest = population.thresholds[:, min(max(place, 0), population.levels - 1)]
    if timesteps > 1:
        return lowest
    return lowest - (((membrane.decay * membrane.initial) >> membrane.decay_shift) - membrane.leak)


def told(population: Population, timesteps: int, dt: float) -> dict[str, Any]:
    """The metadata: what NIR has no place for, in whole numbers; arrays have one row for each place of `axis`, or one for all."""
    told: dict[str, Any] = {
        "axis": population.axis,
        "dt": dt,
        "fires": "at or above",
        "threshold_lowered_by": delta(population, timesteps),
        "thresholds": population.thresholds,
        "levels": int((population.heights[0] > 0).sum()),
        "negative_levels": int((population.heights[0] < 0).sum()),
        "sends": population.heights,
        "membrane": int(population.membrane is not None),
    }
    if population.membrane is None:
        return told
    membrane = population.membrane
    return told | {
        "initial_potential": membrane.initial,
        "taken": membrane.taken,
        "reset": membrane.reset,
        "decay": membrane.decay,
        "decay_shift": membrane.decay_shift,
        "leak": membrane.leak,
    }


def population_of(node: Any, name: str, reads: tuple[str, ...]) -> Population:
    """The population that a node written by `neuron` stands for."""
    told = node.metadata
    membrane = None
    if told["membrane"]:
        whole = {key: _whole(told[key]) for key in ("taken", "decay", "leak")}
        membrane = Membrane(_whole(told["initial_potential"]), decay_shift=int(told["decay_shift"]), reset=told["reset"], **whole)
    return Population(name, reads, _whole(told["thresholds"]), _whole(told["sends"]), int(told["axis"]), membrane)


def plain(population: Population, timesteps: int) -> str:
    """Why a reader that knows NIR only runs other neurons than these; "" where it runs the same."""
    membrane = population.membrane
    if not population.binary:
        return "more levels than one" if population.uniform else "a staircase of its own"
    if membrane is None or timesteps == 1:
        return ""
    if membrane.reset != "zero":
        return "reset by subtraction"
    if (membrane.initial != 0).any():
        return "an initial potential"
    return "a decay that is rounded down" if membrane.decays else ""


def multispike(population: Population) -> bool:
    """Whether sinabs's own reading of IF (⌊v/θ⌋ spikes without a limit, reset by subtraction) is this neuron below its highest level."""
    membrane = population.membrane
    if membrane is None or membrane.decays or membrane.leaks or membrane.reset != "subtract" or not population.uniform:
        return False
    return not (membrane.initial != 0).any() and bool(population.heights[0, 0] == 0)


def _over(values: Any, axis: int, shape: tuple[int, ...]) -> Float[ndarray, "..."]:
    laid = np.asarray(values, np.float64).reshape([-1 if place == axis else 1 for place in range(len(shape))])
    narrow = laid.astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(narrow if (narrow == laid).all() else laid, shape))


def _whole(values: Any) -> Int[ndarray, "..."]:
    return np.asarray(values).astype(np.int64)
