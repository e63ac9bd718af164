"""
Event-driven packed layers: work only for inputs that spike (`packed_event_loops`), by columns of the weights, 2 bits a weight.

    blocks of 512 outputs, the last one of as many words as remain; in a block, a record for each input and one of weight 0:
        words where w = +1, then words where w ≠ −1

Dense layers (`packed_rows`) cost the same whatever spikes, these in proportion to it: `prefers_events` says which is the faster.
"""

from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Int32, UInt64
from numpy.typing import NDArray
from torch import Tensor

from spikeloom.errors import NumericError
from spikeloom.kernels.packed import WORD, activity, fitting, pack_spikes, unpack_spikes, words
from spikeloom.kernels.packed_rows import gate
from spikeloom.kernels.threads import together

LANES = 8
"""Words of a block."""
TILE = 16
"""Samples that share the records that are in the cache."""
TOGETHER = 256
"""Active inputs of a stretch, as many as are worth carrying once through all planes."""
MOST_INPUTS = (1 << 25) - 2
"""Inputs whose records lie in 32 bits of bytes."""
SHARE = 1 << 16
"""How many records that are read are worth a thread."""


@final
class Columns(NamedTuple):
    """A layer by columns: records, thresholds [o] and the planes they are compared in (None: it only counts), and its sizes."""

    records: UInt64[Tensor, " r"]
    thresholds: Int32[Tensor, " o"] | None
    planes: UInt64[Tensor, "blocks k 8"] | None
    inputs: int
    outputs: int


def columns_of(
    plus: UInt64[Tensor, "o words"], minus: UInt64[Tensor, "o words"], inputs: int, thresholds: Int32[Tensor, " o"] | None = None
) -> Columns:
    """A layer by columns, which takes the memory of the planes. Raises NumericError where it has too many inputs for places of 32 bits."""
    if inputs > MOST_INPUTS:
        raise NumericError("a layer by columns has too many inputs", found=inputs, allowed=f"at most {MOST_INPUTS}", todo="keep it by rows")
    outputs = plus.shape[0]
    thresholds = None if thresholds is None else fitting("thresholds", thresholds, torch.int32, outputs)
    bits = torch.zeros(inputs + 1, 2, words(outputs) * WORD, dtype=torch.uint8)  # weights of 0, one more input, outputs that fill words
    bits[:, 1] = 1
    bits[:inputs, 0, :outputs] = unpack_spikes(plus, inputs).T
    bits[:inputs, 1, :outputs] -= unpack_spikes(minus, inputs).T
    turned = pack_spikes(bits).view(torch.int64)
    parts = [part.flatten() for part in turned.split(LANES, dim=2)]
    records = torch.cat([*parts, turned.new_zeros(LANES)])  # vectors of the narrow block reach beyond it
    planes = None if thresholds is None else _planes(thresholds, inputs)
    return Columns(records.view(torch.uint64), thresholds, planes, inputs, outputs)


def prefers_events(outputs: int, inputs: int, active: float, batch: int = 64) -> bool:
    """Whether a layer by columns is the faster where a share `active` of its inputs spikes.

    By columns a block of 512 outputs costs its active inputs, by rows an output costs its vectors (fewer than four samples do not share
    them) and the words that fill none, both beside something fixed; in nanoseconds of a Zen 4 core, whose ratios decide (LOG.md)."""
    by_columns = -(-outputs // (LANES * WORD)) * (90 + 2.3 * active * inputs)
    vectors, rest = divmod(words(inputs), LANES)
    if vectors == 0 and rest <= 1:
        return by_columns < outputs * 0.4  # lanes are outputs
    return by_columns < outputs * (1.1 + (0.85 if batch >= 4 else 1.4) * vectors + 0.45 * rest)


def count_events(columns: Columns, spikes: UInt64[Tensor, "b words"]) -> Int32[Tensor, "b o"]:
    """`packed_rows.count`."""
    counts = torch.empty(spikes.shape[0], columns.outputs, dtype=torch.int32)
    _run(columns, None, spikes, counts, 4 * WORD)
    return counts


def fire_events(
    columns: Columns, spikes: UInt64[Tensor, "b words"], add: Int32[Tensor, "b o"] | None = None
) -> UInt64[Tensor, "b out_words"]:
    """`packed_rows.fire`. Raises NumericError where the layer has no thresholds."""
    if columns.thresholds is None or columns.planes is None:
        raise NumericError("a layer without thresholds does not fire", todo="give them to columns_of")
    if add is not None:
        return gate(count_events(columns, spikes), columns.thresholds, add)
    fired = torch.empty(spikes.shape[0], words(columns.outputs), dtype=torch.uint64)
    _run(columns, columns.planes, spikes, fired, 8)
    return fired


def _depth(inputs: int) -> int:
    """Planes of a counter that ends between 0 and twice the inputs, and is compared to one more."""
    return max((2 * inputs + 1).bit_length(), 6)


def _planes(thresholds: Tensor, inputs: int) -> Tensor:
    """The complement of thresholds as counters have them, plane by plane; a neuron that there is not never fires."""
    blocks, most = -(-len(thresholds) // (LANES * WORD)), 2 * inputs + 1
    raised = (thresholds.long() + inputs).clamp(0, most)
    raised = torch.nn.functional.pad(raised, (0, blocks * LANES * WORD - len(raised)), value=most)
    shifts = torch.arange(_depth(inputs))
    bits = 1 - (raised.view(blocks, 1, -1) >> shifts[:, None]) & 1
    return pack_spikes(bits.to(torch.uint8))


def _run(columns: Columns, planes: Tensor | None, spikes: Tensor, out: Tensor, per_word: int) -> None:
    """The kernel on all samples and blocks; a word of outputs has `per_word` bytes of what comes out."""
    batch = spikes.shape[0]
    spikes = fitting("spikes", spikes, torch.uint64, batch, words(columns.inputs))
    if not out.numel():
        return
    stretch = _stretch(spikes, columns.inputs)
    whole, rest = divmod(words(columns.outputs), LANES)

    def part(first: int, samples: int, block: int, many: int) -> None:
        told = (columns, planes, spikes, out, per_word, stretch, first, samples)
        full = min(many, whole - block)
        if full > 0:
            _blocks(*told, block, full, LANES)
        if rest and block + many > whole:
            _blocks(*told, whole, 1, rest)

    together(part, _parts(columns, batch, whole + (rest > 0)))


def _blocks(
    columns: Columns, planes: Tensor | None, spikes: Tensor, out: Tensor, per_word: int, stretch: int, first: int, samples: int,
    block: int, many: int, lanes: int,
) -> None:  # fmt: skip
    """The kernel on samples and on blocks of as many words."""
    inputs, row, tile = columns.inputs, spikes.shape[1] * 8, min(samples, TILE)
    stretches = -(-spikes.shape[1] // stretch)
    size, record = _depth(inputs) * LANES * 8, 2 * lanes * 8
    _, steps = _steps(record, inputs)
    listed = (inputs + 4 * stretches + 4) // 2 * 2
    scratch = torch.empty(tile * (size // 8 + listed // 2 + stretches + 2), dtype=torch.int64)
    lists = scratch.data_ptr() + tile * size
    ends = lists + tile * listed * 4
    before, wide = block * LANES * WORD, out.shape[1] * out.itemsize
    outputs = min(many * lanes * WORD, columns.outputs - before)
    _loops().events(
        columns.records.data_ptr() + block * (inputs + 1) * 2 * LANES * 8, 0 if planes is None else planes.data_ptr() + block * size,
        spikes.data_ptr() + first * row, steps, out.data_ptr() + first * wide + before // WORD * per_word,
        many, (inputs + 1) * record, lanes * 8, inputs, outputs, size,
        row, samples * row, tile * row, stretch * 8, (stretches + 1) * 8,
        scratch.data_ptr(), lists, ends,
        listed * 4, wide, lanes * per_word,
    )  # fmt: skip


def _stretch(spikes: Tensor, inputs: int) -> int:
    """Words of a sample's spikes that are read before those of the next, so that records stay in the cache meanwhile."""
    if spikes.shape[0] < 4:
        return spikes.shape[1]
    active = max(activity(spikes, inputs) * WORD, 0.01)
    return min(max(round(TOGETHER / active), 1), spikes.shape[1])


@lru_cache(maxsize=256)
def _steps(record: int, inputs: int) -> tuple[NDArray[np.uint32], int]:
    """Where the records of 64 inputs lie, that of the next, and the one that counts as weight 0; and the address of this."""
    told = np.array([*range(0, 65 * record, record), inputs * record], np.uint32)
    return told, told.ctypes.data


def _parts(columns: Columns, batch: int, blocks: int) -> list[tuple[int, int, int, int]]:
    """Samples and blocks for each thread: first and how many."""
    worth = batch * blocks * columns.inputs // SHARE
    threads = min(torch.get_num_threads(), worth) if worth > 1 else 1
    if threads == 1:
        return [(0, batch, 0, blocks)]
    along = batch if batch >= threads else blocks
    ends = [along * thread // threads for thread in range(threads + 1)]
    pieces = [(low, high - low) for low, high in pairwise(ends) if high > low]
    return [(*piece, 0, blocks) if along == batch else (0, batch, *piece) for piece in pieces]


@cache
def _loops() -> Any:
    """The compiled kernel, imported at the first call."""
    from spikeloom.kernels import packed_event_loops

    return packed_event_loops
