"""
Packed execution: a logic-gated program on words of 64 spikes and two planes of weights, in whole numbers; the same answers.

A count that only one gate reads is never written down: counting, comparing and packing are one pass (`kernels.packed_layers`).
"""

from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from spikeloom.errors import DataError
from spikeloom.ir import Program
from spikeloom.kernels.packed import pack_spikes, pack_ternary, unpack_spikes
from spikeloom.kernels.packed_layers import count_layer, fire_layer, layer_of
from spikeloom.kernels.packed_windows import Window, count_conv, fire_conv, pack_filters, pack_pixels, pool, unpack_pixels
from spikeloom.logic.netlist import Compare, Count, Either, Fire, Move, Netlist, Offset, Step, Sum, netlist

AT_ONCE = 256
"""Samples that run together."""


@final
class PackedNetwork:
    """A logic-gated program ready to run on a CPU; `weight_bytes` is what its planes take, which are all that is kept of its weights:
    two bits each, and those of the inputs that fill an output's last word of 64.

    Raises ProgramError for a program that does more than count and compare, NumericError where a count could leave 32 bits.
    """

    def __init__(self, program: Program) -> None:
        given: Netlist = netlist(program)
        self.input, self.output, self.shape = given.input, given.output, tuple(program.inputs[0].shape[1:])
        self.weight_bytes = 0
        readers: dict[str, list[Step]] = {}
        for step in given.steps:
            for read in step.reads:
                readers.setdefault(read, []).append(step)
        self.runs: list[tuple[str, tuple[str, ...], Callable[..., Any]]] = []
        fused = dict[str, Count]()
        for step in given.steps:
            after = readers.get(step.name, [])
            if isinstance(step, Count) and len(after) == 1 and isinstance(after[0], Fire):
                fused[step.name] = step
                continue
            counting = fused.get(step.reads[0]) if isinstance(step, Fire) else None
            reads = step.reads if counting is None else counting.reads
            self.runs.append((step.name, reads, self._bound(step, counting)))
        self.last = {read: place for place, (_, reads, _) in enumerate(self.runs) for read in reads}

    def __call__(self, x: Float[Tensor, "b *any"]) -> Int32[Tensor, "b classes"]:
        """The counts of each class. Raises DataError for inputs of another shape, and for such as are no numbers."""
        if tuple(x.shape[1:]) != self.shape:
            raise DataError("inputs of another shape than the network's", found=tuple(x.shape[1:]), allowed=self.shape)
        if bool(x.isnan().any()):
            raise DataError(
                "inputs that are no numbers", found=f"NaN, {int(x.isnan().sum())} times", todo="fill them in, or leave the samples out"
            )
        return torch.cat([self._run(part) for part in x.split(AT_ONCE)]) if len(x) > AT_ONCE else self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        values: dict[str, Any] = {self.input: x}
        for place, (name, reads, run) in enumerate(self.runs):
            values[name] = run(*(values[read] for read in reads))
            for read in {read for read in reads if self.last[read] == place and read != self.output}:
                del values[read]
        return values[self.output]

    def _bound(self, step: Step, counting: Count | None) -> Callable[..., Any]:
        if isinstance(step, Fire):
            return _compared(step.thresholds) if counting is None else self._layer(counting, step.thresholds)
        if isinstance(step, Count):
            return self._layer(step, None)
        makers: Mapping[type[Any], Callable[[Any], Callable[..., Any]]] = {
            Compare: lambda s: lambda x: _packed(x >= _along(s.thresholds, x)),
            Either: lambda s: lambda x: _Spikes(pool(x.words, Window((s.kernel, s.kernel), (s.stride, s.stride))), x.channels, True),
            Sum: lambda _: lambda a, b: a + b,
            Offset: lambda s: lambda x: x + s.offsets,
            Move: lambda s: lambda *values: _moved(s, *values),
        }
        return makers[type(step)](step)

    def _layer(self, step: Count, thresholds: Tensor | None) -> Callable[..., Any]:
        """The layer as it counts, or with thresholds as it fires."""
        flat = step.codes.dim() == 2
        outputs = step.codes.shape[0]
        every = None if thresholds is None else thresholds.expand(outputs).contiguous()
        each = outputs // step.groups
        layers = []
        for group in range(step.groups):
            part = slice(group * each, (group + 1) * each)
            plus, minus = pack_ternary(step.codes) if flat else pack_filters(step.codes[part])
            self.weight_bytes += 16 * plus.numel()
            layers.append(layer_of(plus, minus, step.codes[0].numel(), None if every is None else every[part].contiguous()))
        if flat:
            if every is None:
                return lambda x: count_layer(layers[0], x.words)
            return lambda x: _Spikes(fire_layer(layers[0], x.words), outputs, False)
        window = Window(tuple(step.codes.shape[2:]), (step.stride,) * 2, (step.padding,) * 2)  # pyright: ignore[reportArgumentType]
        if every is None:
            return lambda x: count_conv(layers, x.words, x.channels, window).permute(0, 3, 1, 2)
        return lambda x: _Spikes(fire_conv(layers, x.words, x.channels, window), outputs, True)


@final
class _Spikes:
    """Packed spikes: rows [B, words], or pixels [B, H, W, words], of so many channels."""

    def __init__(self, words: Tensor, channels: int, pixels: bool) -> None:
        self.words, self.channels, self.pixels = words, channels, pixels

    @property
    def shape(self) -> tuple[int, ...]:
        batch, *inner = self.words.shape[:-1]
        return (batch, self.channels, *inner)

    def plain(self) -> Tensor:
        """Bits [B, C] or [B, C, H, W]."""
        return unpack_pixels(self.words, self.channels) if self.pixels else unpack_spikes(self.words, self.channels)


def _packed(bits: Tensor) -> _Spikes:
    if bits.dim() == 4:
        return _Spikes(pack_pixels(bits), bits.shape[1], True)
    return _Spikes(pack_spikes(bits), bits.shape[-1], False)


def _compared(thresholds: Tensor) -> Callable[..., Any]:
    return lambda counts: _packed(counts >= _along(thresholds, counts))


def _along(thresholds: Tensor, x: Tensor) -> Tensor:
    return thresholds.view(1, -1, *(1,) * (x.dim() - 2))


def _moved(step: Move, *values: Any) -> Any:
    plain = [value.plain() if isinstance(value, _Spikes) else value for value in values]
    found = step.place(*plain)
    spikes = any(isinstance(value, _Spikes) for value in values) and isinstance(found, Tensor)
    return _packed(found) if spikes else found
