"""
Xylo's published behaviour, in whole numbers (equations (1) to (3) of `placing`), for a batch of samples; states of 16 bits saturate at each
spike, as in the vendor's xylosim.

Source: xylosim 0.1.3 (SynSense), src/v2/cpp/XyloLayer.cpp and XyloIAFNeuron.cpp; the tests compare the two spike for spike where xylosim
is installed.
"""

from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.xylo.chips import INPUT_EVENTS, OUTPUT_SPIKES, SPIKES, STATE_HIGH, STATE_LOW


@final
@dataclass(frozen=True, eq=False)
class Specification:
    """The arguments of rockpool's `config_from_specification`, with one synapse a neuron."""

    weights_in: Int[ndarray, "i h"]
    weights_rec: Int[ndarray, "h h"]
    weights_out: Int[ndarray, "h o"]
    dash_mem: Int[ndarray, " h"]
    dash_mem_out: Int[ndarray, " o"]
    dash_syn: Int[ndarray, " h"]
    dash_syn_out: Int[ndarray, " o"]
    threshold: Int[ndarray, " h"]
    threshold_out: Int[ndarray, " o"]
    bias_hidden: Int[ndarray, " h"]
    bias_out: Int[ndarray, " o"]
    weight_shift_in: int = 0
    weight_shift_rec: int = 0
    weight_shift_out: int = 0


@final
@dataclass
class _Neurons:
    """Synaptic currents and membranes [B, n]."""

    current: Int[ndarray, "b n"]
    membrane: Int[ndarray, "b n"]


def run(spec: Specification, events: Int[ndarray, "b t i"], read: Literal["Vmem", "Spike"] = "Vmem") -> Int[ndarray, "b t o"]:
    """Membranes, or spikes, of the output neurons at every tick, all at rest before."""
    batch, outputs = len(events), len(spec.threshold_out)
    hidden, out = (_Neurons(*(np.zeros((batch, n), np.int64) for _ in range(2))) for n in (len(spec.threshold), outputs))
    sent, found = np.zeros((batch, len(spec.threshold)), np.int64), list[Any]()
    for now in np.moveaxis(events, 1, 0):
        deliver(hidden, now.clip(max=INPUT_EVENTS), spec.weights_in << spec.weight_shift_in)
        deliver(hidden, sent, spec.weights_rec << spec.weight_shift_rec)
        deliver(out, sent, spec.weights_out << spec.weight_shift_out)
        sent = evolve(hidden, (spec.dash_syn, spec.dash_mem), spec.threshold, spec.bias_hidden, SPIKES)
        spikes = evolve(out, (spec.dash_syn_out, spec.dash_mem_out), spec.threshold_out, spec.bias_out, OUTPUT_SPIKES)
        found.append(out.membrane if read == "Vmem" else spikes)
    return np.stack(found, 1)


def deliver(neurons: _Neurons, spikes: Int[ndarray, "b m"], weights: Int[ndarray, "m n"]) -> None:
    """Spikes reach synapses one sender after the other, and a current stops at the ends of 16 bits."""
    sent, weighed = spikes.astype(np.float64), weights.astype(np.float64)  # whole numbers below 2^53, which float64 multiplies faster
    if (np.abs(neurons.current) + sent @ np.abs(weighed)).max(initial=0) <= STATE_HIGH:
        neurons.current = neurons.current + (sent @ weighed).astype(np.int64)
        return
    for sender, weight in enumerate(weights):
        if spikes[:, sender].any():
            neurons.current = saturated(neurons.current + spikes[:, sender, None] * weight)


def evolve(neurons: _Neurons, dashes: tuple[Any, Any], threshold: Any, bias: Any, most: int) -> Int[ndarray, "b n"]:
    """Equations (1) to (3): the spikes of this tick."""
    neurons.current = neurons.current - decay(neurons.current, dashes[0])  # (1)
    change = saturated(neurons.current - decay(neurons.membrane, dashes[1]))
    membrane = saturated(neurons.membrane + saturated(change + bias))  # (2)
    spikes = np.where(membrane >= threshold, (membrane // np.maximum(threshold, 1)).clip(max=most), 0)  # (3)
    neurons.membrane = membrane - spikes * threshold
    return spikes


def decay(values: Int[ndarray, "b n"], dash: Int[ndarray, " n"]) -> Int[ndarray, "b n"]:
    """v >> dash, at least 1 towards 0."""
    shifted = values >> dash
    return np.where(shifted == 0, np.sign(values), shifted)


def saturated(values: Int[ndarray, "b n"]) -> Int[ndarray, "b n"]:
    """Within 16 bits."""
    return values.clip(STATE_LOW, STATE_HIGH)
