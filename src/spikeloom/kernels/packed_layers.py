"""
A packed layer in the order that is the faster for it: by rows (`packed_rows`), or by columns, driven by events (`packed_events`).

Which one is settled when the layer is made, from its sizes and the share of inputs that spiked where it was measured; so the same layer
always takes the same way, and its weights are in memory once.
"""

from typing import NamedTuple, final

from jaxtyping import Int32, UInt64
from torch import Tensor

from spikeloom.errors import NumericError
from spikeloom.kernels.packed import check_range
from spikeloom.kernels.packed_events import Columns, columns_of, count_events, fire_events, prefers_events
from spikeloom.kernels.packed_rows import count, fire


@final
class Rows(NamedTuple):
    """A layer by rows: planes, thresholds [o] (None: it only counts), and its sizes."""

    plus: UInt64[Tensor, "o words"]
    minus: UInt64[Tensor, "o words"]
    thresholds: Int32[Tensor, " o"] | None
    inputs: int
    outputs: int


Layer = Rows | Columns


def layer_of(
    plus: UInt64[Tensor, "o words"],
    minus: UInt64[Tensor, "o words"],
    inputs: int,
    thresholds: Int32[Tensor, " o"] | None = None,
    active: float = 0.5,
    batch: int = 64,
) -> Layer:
    """A layer for so many samples at a time, of whose inputs a share `active` spikes.

    Raises NumericError where its counts may leave 32 bits."""
    check_range(inputs)
    if prefers_events(plus.shape[0], inputs, active, batch):
        return columns_of(plus, minus, inputs, thresholds)
    return Rows(plus.contiguous(), minus.contiguous(), thresholds, inputs, plus.shape[0])


def count_layer(layer: Layer, spikes: UInt64[Tensor, "b words"]) -> Int32[Tensor, "b o"]:
    """How many of an output's inputs of weight +1 spike, less those of weight −1."""
    return count_events(layer, spikes) if isinstance(layer, Columns) else count(layer.plus, layer.minus, spikes)


def fire_layer(layer: Layer, spikes: UInt64[Tensor, "b words"], add: Int32[Tensor, "b o"] | None = None) -> UInt64[Tensor, "b out_words"]:
    """The spikes of neurons whose count, with `add` where it is given, reaches their threshold. Raises NumericError where the layer has
    no thresholds."""
    if layer.thresholds is None:
        raise NumericError("a layer without thresholds does not fire", todo="give them to layer_of")
    if isinstance(layer, Columns):
        return fire_events(layer, spikes, add)
    return fire(layer.plus, layer.minus, layer.thresholds, spikes, add)
