"""
Dense packed layers: every word of weights meets every word of spikes, (1) and (2) of `packed_row_loops`.

Work is shared by threads, as many as torch may use: by samples where there are many, else by outputs.
"""

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Int32, UInt64
from torch import Tensor

from spikeloom.kernels.packed import WORD, fitting, words
from spikeloom.kernels.threads import together

BLOCK = 16 << 10
"""Bytes of spikes that stay in the first cache while all weights pass."""
MOST = 256
"""Samples that there is room for together (`lanes.room`)."""
SHARE = 1 << 17
"""How many words of weights and spikes that meet are worth a thread."""


def count(plus: UInt64[Tensor, "o words"], minus: UInt64[Tensor, "o words"], spikes: UInt64[Tensor, "b words"]) -> Int32[Tensor, "b o"]:
    """How many of an output's inputs of weight +1 spike, less those of weight −1. The fan-in is one that `check_range` lets pass.
    Raises NumericError where sizes do not fit."""
    (outputs, wide), batch = plus.shape, spikes.shape[0]
    plus, minus = (fitting("weights", plane, torch.uint64, outputs, wide) for plane in (plus, minus))
    spikes = fitting("spikes", spikes, torch.uint64, batch, wide)
    counts = torch.zeros(batch, outputs, dtype=torch.int32)
    if not counts.numel() or not wide:
        return counts
    row, block = wide * 8, _block(wide, batch)

    def part(sample: int, samples: int, output: int, many: int) -> None:
        at, to = output * row, 4 * (sample * outputs + output)
        _loops().count(
            plus.data_ptr() + at, minus.data_ptr() + at, spikes.data_ptr() + sample * row, counts.data_ptr() + to,
            row, many * row, samples * row, block * row, outputs * 4, block * outputs * 4,
        )  # fmt: skip

    together(part, _parts(batch, outputs, wide))
    return counts


def fire(
    plus: UInt64[Tensor, "o words"],
    minus: UInt64[Tensor, "o words"],
    thresholds: Int32[Tensor, " o"],
    spikes: UInt64[Tensor, "b words"],
    add: Int32[Tensor, "b o"] | None = None,
) -> UInt64[Tensor, "b out_words"]:
    """The spikes of neurons whose count, with `add` where it is given, reaches their threshold. The sum stays in 32 bits where
    `check_range` lets it pass. Raises NumericError where sizes do not fit."""
    (outputs, wide), batch = plus.shape, spikes.shape[0]
    if not wide:
        return gate(torch.zeros(batch, outputs, dtype=torch.int32), thresholds, add)
    plus, minus = (fitting("weights", plane, torch.uint64, outputs, wide) for plane in (plus, minus))
    spikes = fitting("spikes", spikes, torch.uint64, batch, wide)
    thresholds = fitting("thresholds", thresholds, torch.int32, outputs)
    add = None if add is None else fitting("added counts", add, torch.int32, batch, outputs)
    fired = torch.empty(batch, words(outputs), dtype=torch.uint64)
    row, out_row, block = wide * 8, words(outputs) * 8, _block(wide, batch)

    def part(sample: int, samples: int, output: int, many: int) -> None:
        at = output * row
        added, added_row = (0, 0) if add is None else (add.data_ptr() + 4 * (sample * outputs + output), outputs * 4)
        _loops().fire(
            plus.data_ptr() + at, minus.data_ptr() + at, spikes.data_ptr() + sample * row, thresholds.data_ptr() + 4 * output, added,
            fired.data_ptr() + sample * out_row + output // WORD * 8,
            row, many, samples * row, block * row, out_row, added_row,
        )  # fmt: skip

    if fired.numel():
        together(part, _parts(batch, outputs, wide))
    return fired


def gate(
    counts: Int32[Tensor, "b o"], thresholds: Int32[Tensor, " o"], add: Int32[Tensor, "b o"] | None = None
) -> UInt64[Tensor, "b out_words"]:
    """The spikes of neurons whose count, with `add` where it is given, reaches their threshold."""
    batch, outputs = counts.shape
    counts = fitting("counts", counts, torch.int32, batch, outputs)
    thresholds = fitting("thresholds", thresholds, torch.int32, outputs)
    add = None if add is None else fitting("added counts", add, torch.int32, batch, outputs)
    fired = torch.empty(batch, words(outputs), dtype=torch.uint64)
    added = 0 if add is None else add.data_ptr()
    _loops().gate(counts.data_ptr(), thresholds.data_ptr(), added, fired.data_ptr(), outputs, batch)
    return fired


def _block(wide: int, batch: int) -> int:
    """How many samples pass together: whole fours that fill `BLOCK`."""
    return min(max(BLOCK // (wide * 8) // 4 * 4, 4), MOST, max(batch, 1))


def _parts(batch: int, outputs: int, wide: int) -> list[tuple[int, int, int, int]]:
    """Samples and outputs for each thread: first and how many. Outputs are parted between words of spikes."""
    worth = batch * outputs * wide // SHARE
    threads = min(torch.get_num_threads(), worth) if worth > 1 else 1
    if threads == 1:
        return [(0, batch, 0, outputs)]
    if batch >= 4 * threads:
        ends = [batch * thread // threads for thread in range(threads + 1)]
        return [(low, high - low, 0, outputs) for low, high in pairwise(ends) if high > low]
    ends = [min(words(outputs) * thread // threads * WORD, outputs) for thread in range(threads)] + [outputs]
    return [(0, batch, low, high - low) for low, high in pairwise(ends) if high > low]


@cache
def _loops() -> Any:
    """The compiled kernels, imported at the first call."""
    from spikeloom.kernels import packed_row_loops

    return packed_row_loops
