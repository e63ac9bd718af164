"""
Packed convolutions and pooling: spikes are packed along the channels of each pixel, words [b, h, w, ⌈c/64⌉].

A convolution is a layer on patches: the bits of a window's pixels, one pixel after another without gaps, so that 3×3 windows of one
channel are 9 bits of a word, and those of 64 channels 9 words. Weights lie in the same order (`pack_filters`). Beyond the edge nothing
spikes. Patches are made for some rows of pixels at a time, and stay in the cache.

    pool    a neuron spikes where any of its window does: max-pooling of spikes, OR
"""

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Bool, Int8, Int32, UInt8, UInt64
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.errors import NumericError
from spikeloom.kernels.packed import fitting, pack_spikes, pack_ternary, unpack_spikes, words
from spikeloom.kernels.packed_layers import Layer, count_layer, fire_layer
from spikeloom.kernels.packed_rows import gate

PIXELS = 1024
"""Pixels whose patches are made at a time, about."""
Pair = tuple[int, int]


@final
class Window(NamedTuple):
    """What a neuron sees: (height, width) of its window, how far windows are apart, the edge around the picture, the gaps in a window."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def size(self, height: int, width: int) -> Pair:
        """Rows and columns of pixels that come out. Raises NumericError where the window is larger than the picture with its edge."""
        spans = [gap * (side - 1) + 1 for gap, side in zip(self.dilation, self.kernel, strict=True)]
        room = [side + 2 * edge - span for side, edge, span in zip((height, width), self.padding, spans, strict=True)]
        if min(room) < 0:
            raise NumericError(
                "a window is larger than the picture", found=(height, width), allowed=f"at least {tuple(spans)} with the edge"
            )
        return room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1


def pack_pixels(bits: UInt8[Tensor, "b c h w"] | Bool[Tensor, "b c h w"]) -> UInt64[Tensor, "b h w words"]:
    """Spikes of pictures, packed along channels. Raises NumericError where one is neither 0 nor 1."""
    return pack_spikes(bits.permute(0, 2, 3, 1))


def unpack_pixels(packed: UInt64[Tensor, "b h w words"], channels: int) -> UInt8[Tensor, "b c h w"]:
    """The inverse of `pack_pixels`."""
    return unpack_spikes(packed, channels).permute(0, 3, 1, 2)


def pack_filters(weights: Int8[Tensor, "o c kh kw"]) -> tuple[UInt64[Tensor, "o words"], UInt64[Tensor, "o words"]]:
    """The planes of a convolution's weights in the order of patches. Raises NumericError where a weight is not −1, 0 or 1."""
    return pack_ternary(weights.permute(0, 2, 3, 1).flatten(1))


def count_conv(
    layers: Layer | Sequence[Layer], spikes: UInt64[Tensor, "b h w words"], channels: int, window: Window
) -> Int32[Tensor, "b oh ow o"]:
    """The counts of a convolution: one layer, or one for each group of channels."""
    groups = _groups(layers)
    size = (spikes.shape[0], *window.size(spikes.shape[1], spikes.shape[2]))
    counts = torch.empty(*size, sum(layer.outputs for layer in groups), dtype=torch.int32)
    flat, begin = counts.flatten(0, 2), 0
    for layer, first in zip(groups, _firsts(groups, channels, window), strict=True):
        for low, patches in _patches(spikes, first, channels // len(groups), window, size):
            flat[low : low + len(patches), begin : begin + layer.outputs] = count_layer(layer, patches)
        begin += layer.outputs
    return counts


def fire_conv(
    layers: Layer | Sequence[Layer],
    spikes: UInt64[Tensor, "b h w words"],
    channels: int,
    window: Window,
    add: Int32[Tensor, "b oh ow o"] | None = None,
) -> UInt64[Tensor, "b oh ow out_words"]:
    """The spikes of a convolution whose counts, with `add` where it is given, reach their thresholds; one layer, or one for each group of
    channels. Raises NumericError where a layer has no thresholds."""
    groups = _groups(layers)
    if len(groups) > 1:
        counts = count_conv(groups, spikes, channels, window)
        thresholds = [layer.thresholds for layer in groups if layer.thresholds is not None]
        if len(thresholds) < len(groups):
            raise NumericError("a layer without thresholds does not fire", todo="give them to layer_of")
        added = None if add is None else add.flatten(0, 2)
        return gate(counts.flatten(0, 2), torch.cat(thresholds), added).view(*counts.shape[:3], words(counts.shape[3]))
    (first,), size = _firsts(groups, channels, window), (spikes.shape[0], *window.size(spikes.shape[1], spikes.shape[2]))
    fired = torch.empty(*size, words(groups[0].outputs), dtype=torch.uint64)
    flat, added = fired.flatten(0, 2), None if add is None else add.flatten(0, 2)
    for low, patches in _patches(spikes, first, channels, window, size):
        high = low + len(patches)
        flat[low:high] = fire_layer(groups[0], patches, None if added is None else added[low:high])
    return fired


def pool(spikes: UInt64[Tensor, "b h w words"], window: Window) -> UInt64[Tensor, "b oh ow words"]:
    """Where any spike of a window is, channel by channel."""
    spikes = fitting("spikes", spikes, torch.uint64, *spikes.shape)
    batch, height, width, wide = spikes.shape
    size = (batch, *window.size(height, width))
    pooled = torch.empty(*size, wide, dtype=torch.uint64)
    plan = _plan(window, (height, width, wide), size[1:], 0, wide * 64)
    _loops().any_of(*_start(spikes, window, 0), pooled.data_ptr(), plan.ctypes.data, 0, batch * size[1])
    return pooled


def _groups(layers: Layer | Sequence[Layer]) -> list[Layer]:
    return [layers] if hasattr(layers, "inputs") else list(layers)  # pyright: ignore[reportReturnType]


def _firsts(groups: list[Layer], channels: int, window: Window) -> range:
    """The first channel of each group. Raises NumericError where the layers do not fit the channels."""
    each = channels // len(groups)
    needed = each * window.kernel[0] * window.kernel[1]
    if channels % len(groups) or any(layer.inputs != needed for layer in groups):
        found = f"{channels} channels, layers of {', '.join(str(layer.inputs) for layer in groups)} inputs"
        raise NumericError("the layers of a convolution do not fit its channels", found=found, allowed=f"layers of {needed} inputs")
    return range(0, channels, each)


def _patches(spikes: Tensor, first: int, channels: int, window: Window, size: tuple[int, int, int]) -> Iterator[tuple[int, Tensor]]:
    """Where patches begin among the pixels, and patches, some rows of pixels at a time."""
    spikes = fitting("spikes", spikes, torch.uint64, *spikes.shape)
    if spikes.shape[3] < words(first + channels):
        raise NumericError("pixels do not hold so many channels", found=f"{spikes.shape[3]} words", allowed=f"{words(first + channels)}")
    plan = _plan(window, tuple(spikes.shape[1:]), size[1:], first, channels)
    lines, wide = size[0] * size[1], words(channels * window.kernel[0] * window.kernel[1])
    each = max(PIXELS // size[2], 1)
    for line in range(0, lines, each):
        many = min(each, lines - line)
        patches = torch.empty(many * size[2], wide, dtype=torch.uint64)
        image, row = divmod(line, size[1])
        _loops().patches(*_start(spikes[image:], window, row), patches.data_ptr(), plan.ctypes.data, row, many)
        yield line * size[2], patches


def _start(spikes: Tensor, window: Window, row: int) -> tuple[int, int, int]:
    """Where the first picture is, where windows of its row `row` of pixels begin, and in which line, which may be one above the picture."""
    line = row * window.stride[0] - window.padding[0]
    return spikes.data_ptr(), (spikes.data_ptr() + line * spikes.shape[2] * spikes.shape[3] * 8) % 2**64, line % 2**64


@lru_cache(maxsize=256)
def _plan(window: Window, picture: tuple[int, ...], size: Pair, first: int, channels: int) -> NDArray[np.uint64]:
    """What a kernel is told of windows on pictures (h, w, words): sizes, and how far in bytes one step of each kind leads."""
    (height, width), pixel = picture[:2], picture[2] * 8
    line = width * pixel
    (tall, broad), (down, right), (above, before), (apart, gap) = window
    told = (
        height, width, *size, tall, broad, down, right, above, before, apart, gap,
        height * line, down * line, above * line, apart * line, right * pixel, before * pixel, gap * pixel, pixel, first, channels,
    )  # fmt: skip
    return np.array(told, np.uint64)


@cache
def _loops() -> Any:
    """The compiled kernels, imported at the first call."""
    from spikeloom.kernels import packed_window_loops

    return packed_window_loops
