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

from spikeloom.backend.rtl.plan import Layout, Range, as_image, bits_of
from spikeloom.ir.hardware import Netlist

Beat = tuple[int, int]
"""(the word, tlast)."""
Form = Literal["events", "values"]


@final
@dataclass(frozen=True)
class Interface:
    """What comes in (places, range) and what goes out (range of the sums over all ticks, how many); words are whole bytes."""

    form: Form
    layout: Layout
    takes: Range
    sends: Range
    outputs: int
    timesteps: int

    @property
    def level_bits(self) -> int:
        """The width of an incoming value."""
        low, high = self.takes
        return max(high.bit_length(), 1) if low >= 0 else bits_of(low, high)

    @property
    def fields(self) -> tuple[int, int, int, int]:
        """Widths of an event's channel, column, row and level."""
        channel, column, row = ((side - 1).bit_length() for side in (self.layout.channels, self.layout.width, self.layout.height))
        return channel, column, row, self.level_bits

    @property
    def given_bytes(self) -> int:
        """Bytes of an incoming word."""
        return -(-(sum(self.fields) if self.form == "events" else self.level_bits) // 8)

    @property
    def answer_bits(self) -> int:
        """The width of an output."""
        return bits_of(*self.sends)

    @property
    def answer_bytes(self) -> int:
        """Bytes of an outgoing word."""
        return -(-self.answer_bits // 8)


def interface_of(netlist: Netlist, form: Form) -> Interface:
    """The streams of a netlist."""
    given, answer, ticks = netlist.wires[netlist.source.name], netlist.wires[netlist.output], netlist.timesteps
    layout = Layout(*as_image(given.shape), 1)
    return Interface(form, layout, (given.low, given.high), (ticks * answer.low, ticks * answer.high), answer.size, ticks)


def beats_of(interface: Interface, ticks: Int[ndarray, "t b ..."]) -> list[list[Beat]]:
    """For each sample the beats of all its ticks."""
    layout = interface.layout
    images = ticks.reshape(len(ticks), -1, layout.channels, layout.height, layout.width)
    return [[beat for image in images[:, sample] for beat in _tick(interface, image)] for sample in range(images.shape[1])]


def _tick(interface: Interface, image: Int[ndarray, "c h w"]) -> list[Beat]:
    channel_bits, column_bits, row_bits, level_bits = interface.fields
    mask = (1 << level_bits) - 1
    if interface.form == "values":
        values = [int(value) & mask for value in image.reshape(-1)]
        return [(value, int(place == len(values) - 1)) for place, value in enumerate(values)]
    places, found = np.argwhere(image.transpose(1, 2, 0) != 0), list[Beat]()  # in the order in which a sweep sends them
    for number, (row, column, channel) in enumerate(places.tolist()):
        word = channel | column << channel_bits | row << (channel_bits + column_bits)
        word |= (int(image[channel, row, column]) & mask) << (channel_bits + column_bits + row_bits)
        found.append((word, int(number == len(places) - 1)))
    return found or [(0, 1)]


def answers_of(interface: Interface, words: list[int]) -> list[int]:
    """The numbers that words of the outgoing stream mean."""
    half = 1 << (8 * interface.answer_bytes - 1)
    return [(word ^ half) - half for word in words]
