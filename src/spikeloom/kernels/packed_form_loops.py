"""
Spikes and ternary weights from bytes and files' codes to words, and back.

Spikes and weights are 64 in a word, the first of them lowest; bits beyond the last are 0. Kernels go by addresses that grow by steps they
are given: see `packed_row_loops`.
"""

from typing import no_type_check

import numpy as np

from spikeloom.kernels.compilation import compiled, inlined
from spikeloom.kernels.lanes import (
    above,
    alike,
    below,
    byte_at,
    bytes_at,
    bytes_of,
    load,
    ones_in,
    ones_of,
    put_byte,
    put_bytes,
    put_word,
    total_of,
    word_at,
)

ZERO, ONE, TWO, FOUR, WORD, HALF, BITS, LINE, CHUNK = (np.uint64(n) for n in (0, 1, 2, 4, 8, 32, 64, 64, 256))
ALL = np.uint64(2**64 - 1)


# --- bits and bytes --------------------------------------------------------------------------------------------------------


@compiled("ppnnn")
@no_type_check
def pack_bits(bytes_at_, words_at, size, row_words, rows):
    """Rows of `size` bytes, 0 or 1, as rows of words. Answers whether any byte was something else."""
    odd, rest = ZERO, size & (BITS - ONE)
    for _ in range(rows):
        end, word_end = bytes_at_ + (size - rest), words_at + row_words
        while bytes_at_ < end:
            many = bytes_at(bytes_at_)
            word = above(many, ZERO)
            odd |= above(many, ONE) | below(many, ZERO)
            put_word(words_at, word)
            bytes_at_ += BITS
            words_at += WORD
        if words_at < word_end:
            word, bit = ZERO, ZERO
            while bit < rest:
                byte = byte_at(bytes_at_)
                odd |= byte >> ONE
                word |= (byte & ONE) << bit
                bytes_at_ += ONE
                bit += ONE
            put_word(words_at, word)
            words_at += WORD
    return odd != ZERO


@compiled("pppnnn")
@no_type_check
def unpack_bits(plus_at, minus_at, bytes_to, size, row_words, rows):
    """Rows of words as rows of `size` bytes: 1 where a bit of plus is set, -1 where one of minus is (address 0: none)."""
    rest = size & (BITS - ONE)
    signed = minus_at != ZERO
    for _ in range(rows):
        end = plus_at + row_words
        while plus_at < end:
            plus, minus = word_at(plus_at), ZERO
            if signed:
                minus = word_at(minus_at)
                minus_at += WORD
            plus_at += WORD
            if plus_at < end or rest == ZERO:
                put_bytes(bytes_to, bytes_of(plus, minus))
                bytes_to += BITS
            else:
                bit = ZERO
                while bit < rest:
                    put_byte(bytes_to, ((plus >> bit) & ONE) | (ZERO - ((minus >> bit) & ONE)))
                    bytes_to += ONE
                    bit += ONE
    return False


@compiled("pppnnn")
@no_type_check
def pack_signs(bytes_at_, plus_at, minus_at, size, row_words, rows):
    """Rows of `size` bytes, -1, 0 or 1, as rows of words of two planes. Answers whether any byte was something else."""
    odd, rest = ZERO, size & (BITS - ONE)
    for _ in range(rows):
        end, word_end = bytes_at_ + (size - rest), plus_at + row_words
        while bytes_at_ < end:
            many = bytes_at(bytes_at_)
            odd |= above(many, ONE) | below(many, ALL)
            put_word(plus_at, above(many, ZERO))
            put_word(minus_at, below(many, ZERO))
            bytes_at_ += BITS
            plus_at += WORD
            minus_at += WORD
        if plus_at < word_end:
            plus, minus, bit = ZERO, ZERO, ZERO
            while bit < rest:
                byte = byte_at(bytes_at_)
                odd |= ZERO if byte <= ONE or byte == CHUNK - ONE else ONE
                plus |= (ONE if byte == ONE else ZERO) << bit
                minus |= (ONE if byte == CHUNK - ONE else ZERO) << bit
                bytes_at_ += ONE
                bit += ONE
            put_word(plus_at, plus)
            put_word(minus_at, minus)
            plus_at += WORD
            minus_at += WORD
    return odd != ZERO


# --- weights as files hold them ----------------------------------------------------------------------------------------------


@inlined
@no_type_check
def _evens(word):
    """The bits at even places, beside each other."""
    word &= np.uint64(0x5555555555555555)
    word = (word | (word >> ONE)) & np.uint64(0x3333333333333333)
    word = (word | (word >> TWO)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    word = (word | (word >> FOUR)) & np.uint64(0x00FF00FF00FF00FF)
    word = (word | (word >> WORD)) & np.uint64(0x0000FFFF0000FFFF)
    return (word | (word >> np.uint64(16))) & np.uint64(0x00000000FFFFFFFF)


@inlined
@no_type_check
def _apart(word):
    """The inverse of `_evens`."""
    word = (word | (word << np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    word = (word | (word << WORD)) & np.uint64(0x00FF00FF00FF00FF)
    word = (word | (word << FOUR)) & np.uint64(0x0F0F0F0F0F0F0F0F)
    word = (word | (word << TWO)) & np.uint64(0x3333333333333333)
    return (word | (word << ONE)) & np.uint64(0x5555555555555555)


@inlined
@no_type_check
def _read(at, bit):
    """64 bits from a bit on; words at `at`, all there are and one more."""
    at += bit >> np.uint64(6) << np.uint64(3)
    bit &= BITS - ONE
    return word_at(at) if bit == ZERO else (word_at(at) >> bit) | (word_at(at + WORD) << (BITS - bit))


@inlined
@no_type_check
def _join(at, bit, word):
    """Set bits from a bit on."""
    at += bit >> np.uint64(6) << np.uint64(3)
    bit &= BITS - ONE
    put_word(at, word_at(at) | (word << bit))
    if bit != ZERO:
        put_word(at + WORD, word_at(at + WORD) | (word >> (BITS - bit)))


@compiled("pppnnn")
@no_type_check
def planes_of_codes(codes_at, plus_at, minus_at, size, row_words, rows):
    """Rows of `size` codes, one after another, as two planes: code 2 is +1, 0 is -1. Answers whether any code was 3."""
    odd, bit = ZERO, ZERO
    for _ in range(rows):
        left, end = size, plus_at + row_words
        while plus_at < end:
            many = min(left, BITS)
            low, high = _read(codes_at, bit), _read(codes_at, bit + BITS)
            ones = _evens(low) | (_evens(high) << HALF)
            twos = _evens(low >> ONE) | (_evens(high >> ONE) << HALF)
            mask = ALL >> (BITS - many)
            odd |= ones & twos & mask
            put_word(plus_at, twos & mask)
            put_word(minus_at, (ALL ^ (ones | twos)) & mask)
            plus_at += WORD
            minus_at += WORD
            bit += many << ONE
            left -= many
    return odd != ZERO


@compiled("pppnnn")
@no_type_check
def codes_of_planes(plus_at, minus_at, codes_at, size, row_words, rows):
    """The inverse, into bytes that are 0."""
    bit = ZERO
    for _ in range(rows):
        left, end = size, plus_at + row_words
        while plus_at < end:
            many = min(left, BITS)
            twos, ones = word_at(plus_at), (ALL ^ (word_at(plus_at) | word_at(minus_at))) & (ALL >> (BITS - many))
            low = np.uint64(0x00000000FFFFFFFF)
            _join(codes_at, bit, _apart(ones & low) | (_apart(twos & low) << ONE))
            _join(codes_at, bit + BITS, _apart(ones >> HALF) | (_apart(twos >> HALF) << ONE))
            plus_at += WORD
            minus_at += WORD
            bit += many << ONE
            left -= many
    return False


@compiled("ppn")
@no_type_check
def ones(words_at, total_at, size):
    """How many bits are set in `size` bytes of words."""
    end, whole, total = words_at + size, words_at + (size & (ALL - LINE + ONE)), alike(ZERO)
    while words_at < whole:
        total += ones_in(load(words_at))
        words_at += LINE
    many = total_of(total)
    while words_at < end:
        many += ones_of(word_at(words_at))
        words_at += WORD
    put_word(total_at, many)
    return False
