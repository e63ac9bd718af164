"""
The words of the AXI-Streams.

    in, events   a beat is an event: channel, column, row (each as wide as its side needs), then the level; lowest bits first. A level of 0
                 is no event; `tlast` ends the tick
    in, values   a beat is one value, in the netlist's order; a tick is one sample
    out          a beat is one output, the sum over all ticks, in the netlist's order; `tlast` with the last one
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.backend.rtl.plan import Plan, bits_of

Beat = tuple[int, int]
"""(the word, tlast)."""


@final
@dataclass(frozen=True)
class Interface:
    """Widths of both streams' words; `fields` are those of an event: channel, column, row, level."""

    form: Literal["events", "values"]
    fields: tuple[int, int, int, int]
    given: int
    answers: int
    answer_bits: int
    outputs: int


def interface_of(plan: Plan, form: Literal["events", "values"]) -> Interface:
    """The streams of a plan; words are whole bytes."""
    sides = plan.given.channels, plan.given.width, plan.given.height
    low, high = plan.takes
    level = max(high.bit_length(), 1) if low >= 0 else bits_of(low, high)
    fields = (*((side - 1).bit_length() for side in sides), level)
    answer = bits_of(*plan.last.sends)
    return Interface(form, fields, _bytes(sum(fields) if form == "events" else level), _bytes(answer), answer, plan.last.layout.size)


def beats_of(plan: Plan, interface: Interface, samples: Int[ndarray, "t b c h w"]) -> list[list[Beat]]:
    """For each sample the beats of all its ticks."""
    return [[beat for tick in range(len(samples)) for beat in _tick(plan, interface, samples[tick, one])] for one in range(samples.shape[1])]


def _tick(plan: Plan, interface: Interface, sample: Int[ndarray, "c h w"]) -> list[Beat]:
    channel_bits, column_bits, row_bits, level_bits = interface.fields
    mask = (1 << level_bits) - 1
    if interface.form == "values":
        values = [int(value) & mask for value in sample.reshape(-1)]
        return [(value, int(place == len(values) - 1)) for place, value in enumerate(values)]
    places = np.argwhere(sample.transpose(1, 2, 0) != 0)  # as a sweep sends them
    found = list[Beat]()
    for number, (row, column, channel) in enumerate(places.tolist()):
        word = channel | column << channel_bits | row << (channel_bits + column_bits)
        word |= (int(sample[channel, row, column]) & mask) << (channel_bits + column_bits + row_bits)
        found.append((word, int(number == len(places) - 1)))
    return found or [(0, 1)]


def answers_of(interface: Interface, words: list[int]) -> list[int]:
    """The numbers that words of the outgoing stream mean."""
    half = 1 << (8 * interface.answers - 1)
    return [(word ^ half) - half for word in words]


def _bytes(bits: int) -> int:
    return -(-bits // 8)
