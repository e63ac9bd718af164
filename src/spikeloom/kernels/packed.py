"""
Packed spikes and ternary weights: 64 in a word, the first of them lowest, bits beyond the last 0.

    spikes    [b, n] of 0 and 1      words [b, ⌈n/64⌉]
    weights   [o, n] of −1, 0, +1    two planes of words [o, ⌈n/64⌉]: where they are +1, and where −1; 2 bits a weight

`packed_rows` counts with them as they lie here, `packed_events` in an order of its own, `packed_windows` on pictures. What comes out is the
same integers, for any number of threads and on any processor.
"""

import math
from functools import cache
from typing import Any

import torch
from jaxtyping import Bool, Int8, UInt8, UInt64
from torch import Tensor

from spikeloom.errors import NumericError

WORD = 64
"""Spikes in a word."""
MOST = 2**31 - 1
"""The largest count."""


def words(size: int) -> int:
    """How many words hold so many spikes."""
    return -(-size // WORD)


def check_range(fan_in: int, added: int = 0) -> None:
    """Raises NumericError where a count over `fan_in` inputs, and up to `added` beside it, may leave 32 bits."""
    if fan_in + added >= MOST:
        raise NumericError(
            "a neuron has more inputs than its accumulator of 32 bits can count",
            found=f"{fan_in} inputs, up to {added} added",
            allowed=f"together less than {MOST}",
            todo="split the layer, or add less to it",
        )


def pack_spikes(bits: UInt8[Tensor, "*batch n"] | Bool[Tensor, "*batch n"]) -> UInt64[Tensor, "*batch words"]:
    """Spikes along the last axis in words. Raises NumericError where one is neither 0 nor 1."""
    if bits.dtype not in (torch.uint8, torch.bool):
        raise NumericError("spikes are bits", found=bits.dtype, allowed="uint8 or bool, 0 or 1", todo="threshold the input first")
    bits, size = fitting("spikes", bits, bits.dtype, *bits.shape), bits.shape[-1]
    packed = torch.empty(*bits.shape[:-1], words(size), dtype=torch.uint64)
    told = (bits.data_ptr(), packed.data_ptr(), size, words(size) * 8, math.prod(bits.shape[:-1]))
    if _loops().pack_bits(*told):
        raise NumericError("spikes are 0 or 1", found=f"values up to {int(bits.max())}", allowed="0, 1", todo="threshold the input first")
    return packed


def unpack_spikes(packed: UInt64[Tensor, "*batch words"], size: int) -> UInt8[Tensor, "*batch n"]:
    """The `size` spikes that `pack_spikes` packed."""
    packed = _held(packed, size)
    bits = torch.empty(*packed.shape[:-1], size, dtype=torch.uint8)
    _loops().unpack_bits(packed.data_ptr(), 0, bits.data_ptr(), size, words(size) * 8, math.prod(packed.shape[:-1]))
    return bits


def pack_ternary(weights: Int8[Tensor, "o n"]) -> tuple[UInt64[Tensor, "o words"], UInt64[Tensor, "o words"]]:
    """The planes of weights: where they are +1, and where −1. Raises NumericError where one is something else."""
    weights, size = fitting("weights", weights, torch.int8, *weights.shape), weights.shape[1]
    plus = torch.empty(weights.shape[0], words(size), dtype=torch.uint64)
    minus = torch.empty_like(plus)
    if _loops().pack_signs(weights.data_ptr(), plus.data_ptr(), minus.data_ptr(), size, words(size) * 8, weights.shape[0]):
        found = f"values from {int(weights.min())} to {int(weights.max())}"
        raise NumericError("ternary weights are -1, 0 or 1", found=found, allowed="-1, 0, 1", todo="quantise the weights first")
    return plus, minus


def unpack_ternary(plus: UInt64[Tensor, "o words"], minus: UInt64[Tensor, "o words"], size: int) -> Int8[Tensor, "o n"]:
    """The weights, `size` of each output, whose planes these are."""
    plus, minus = _held(plus, size), _held(minus, size)
    weights = torch.empty(plus.shape[0], size, dtype=torch.int8)
    _loops().unpack_bits(plus.data_ptr(), minus.data_ptr(), weights.data_ptr(), size, words(size) * 8, plus.shape[0])
    return weights


def planes_of_codes(kept: UInt8[Tensor, " bytes"], outputs: int, size: int) -> tuple[UInt64[Tensor, "o words"], UInt64[Tensor, "o words"]]:
    """The planes of weights as files hold them: codes of 2 bits, four in a byte (`ir.quantised.packed` of the ternary grid). Raises
    NumericError where there are too few of them, or one is the code of no weight."""
    kept = fitting("codes", kept, torch.uint8, -(-outputs * size // 4))
    plus = torch.empty(outputs, words(size), dtype=torch.uint64)
    minus = torch.empty_like(plus)
    codes = torch.cat([kept, kept.new_zeros(32)])  # the last words are read whole
    if _loops().planes_of_codes(codes.data_ptr(), plus.data_ptr(), minus.data_ptr(), size, words(size) * 8, outputs):
        raise NumericError("ternary weights have codes 0, 1 and 2", found=3, allowed="0, 1, 2")
    return plus, minus


def codes_of_planes(plus: UInt64[Tensor, "o words"], minus: UInt64[Tensor, "o words"], size: int) -> UInt8[Tensor, " bytes"]:
    """The inverse of `planes_of_codes`."""
    plus, minus = _held(plus, size), _held(minus, size)
    count = -(-plus.shape[0] * size // 4)
    kept = torch.zeros(count + 32, dtype=torch.uint8)
    _loops().codes_of_planes(plus.data_ptr(), minus.data_ptr(), kept.data_ptr(), size, words(size) * 8, plus.shape[0])
    return kept[:count].clone()


def activity(spikes: UInt64[Tensor, "*batch words"], size: int) -> float:
    """The share of `size` inputs that spike."""
    spikes, places = _held(spikes, size), math.prod(spikes.shape[:-1]) * size
    if not places:
        return 0.0
    total = torch.zeros(1, dtype=torch.int64)
    _loops().ones(spikes.data_ptr(), total.data_ptr(), spikes.numel() * 8)
    return int(total) / places


def fitting(what: str, tensor: Tensor, kind: torch.dtype, *shape: int) -> Tensor:
    """The tensor, in one stretch of memory, for kernels read from addresses. Raises NumericError where it is of another kind or shape."""
    if tensor.dtype is not kind or tensor.shape != shape or not tensor.is_cpu:
        found = f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"
        raise NumericError(f"{what} do not fit the layer", found=found, allowed=f"{kind} {shape} on cpu")
    return tensor.contiguous()


def _held(packed: Tensor, size: int) -> Tensor:
    return fitting("packed bits", packed, torch.uint64, *packed.shape[:-1], words(size))


@cache
def _loops() -> Any:
    """The compiled kernels; importing them takes seconds the first time, so nothing does before a layer runs."""
    from spikeloom.kernels import packed_form_loops

    return packed_form_loops
