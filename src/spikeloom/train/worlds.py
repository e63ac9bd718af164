"""
Worlds: all that a learner keeps of each context it met.
"""

from dataclasses import dataclass
from typing import final

from torch import Tensor

from spikeloom.train.contexts import Place
from spikeloom.train.homeostasis import Trace
from spikeloom.train.local_rules import Adaptable
from spikeloom.train.trial import NOTHING, Evidence


@final
@dataclass
class World:
    """One context: where its samples lie, how many its neurons have observed, by population what that was and where their knobs are, and
    what labels say of those."""

    place: Place
    samples: int
    traces: dict[str, Trace]
    gains: dict[str, Tensor]
    shifts: dict[str, Tensor]
    evidence: Evidence = NOTHING


def at_first(network: Adaptable, driven: dict[str, Trace], place: Place, samples: int) -> World:
    """The calm context: knobs as they are in the program, traces of currents that such knobs make what is meant."""
    held, traces = network.program.tensors, dict[str, Trace]()
    for knob in network.knobs:
        mean, square = driven[knob.population]
        before = (mean - held[knob.shift]) / held[knob.gain]
        traces[knob.population] = Trace(before, (square - mean.square()) / held[knob.gain].square() + before.square())
    gains = {knob.population: held[knob.gain] for knob in network.knobs}
    shifts = {knob.population: held[knob.shift] for knob in network.knobs}
    return World(place, samples, traces, gains, shifts)
