"""
Packed kernels: a layer of weights −1, 0, +1 on spikes is AND, population counts, additions and comparisons.

    count[b, o] = ones(s[b] & plus[o]) − ones(s[b] & minus[o])        (1)
    spike[b, o] = count[b, o] + added[b, o] ≥ threshold[o]            (2)

Spikes and weights are 64 in a word, the first of them lowest; bits beyond the last are 0. Kernels go by addresses that grow by steps they
are given, so that no number is multiplied anywhere in them, not even an index (tests/kernels/test_no_multiplication.py looks).

Source: XNOR-Net, arXiv:1603.05279 (binary); two planes for ternary weights: TWN, arXiv:1605.04711; GXNOR-Net, arXiv:1705.09283.
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
    number_at,
    numbers_at,
    ones_in,
    ones_of,
    put_byte,
    put_bytes,
    put_half,
    put_halves,
    put_word,
    reach,
    room,
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


# --- counting, (1) -----------------------------------------------------------------------------------------------------------


@inlined
@no_type_check
def _one(plus, minus, s, whole, row):
    """(1) for one row of spikes; of `row` bytes, `whole` fill vectors."""
    total, at = alike(ZERO), ZERO
    while at < whole:
        x = load(s + at)
        total += ones_in(load(plus + at) & x)
        total -= ones_in(load(minus + at) & x)
        at += LINE
    count = total_of(total)
    while at < row:
        x = word_at(s + at)
        count += ones_of(word_at(plus + at) & x) - ones_of(word_at(minus + at) & x)
        at += WORD
    return count


@inlined
@no_type_check
def _four(plus, minus, s, whole, row):
    """(1) for four rows of spikes, weights read once."""
    t, u, v = s + row, s + row + row, s + row + row + row
    a, b, c, d, at = alike(ZERO), alike(ZERO), alike(ZERO), alike(ZERO), ZERO
    while at < whole:
        p, m = load(plus + at), load(minus + at)
        x = load(s + at)
        a += ones_in(p & x) - ones_in(m & x)
        x = load(t + at)
        b += ones_in(p & x) - ones_in(m & x)
        x = load(u + at)
        c += ones_in(p & x) - ones_in(m & x)
        x = load(v + at)
        d += ones_in(p & x) - ones_in(m & x)
        at += LINE
    e, f, g, h = total_of(a), total_of(b), total_of(c), total_of(d)
    while at < row:
        p, m = word_at(plus + at), word_at(minus + at)
        x = word_at(s + at)
        e += ones_of(p & x) - ones_of(m & x)
        x = word_at(t + at)
        f += ones_of(p & x) - ones_of(m & x)
        x = word_at(u + at)
        g += ones_of(p & x) - ones_of(m & x)
        x = word_at(v + at)
        h += ones_of(p & x) - ones_of(m & x)
        at += WORD
    return e, f, g, h


@inlined
@no_type_check
def _output(plus, minus, s, end, row, whole, at, step):
    """(1) for one output and rows of spikes from `s` to `end`; counts go to `at`, `step` bytes apart."""
    four = row << TWO
    while s + four <= end:
        a, b, c, d = _four(plus, minus, s, whole, row)
        put_half(at, a)
        at += step
        put_half(at, b)
        at += step
        put_half(at, c)
        at += step
        put_half(at, d)
        at += step
        s += four
    while s < end:
        put_half(at, _one(plus, minus, s, whole, row))
        at += step
        s += row


@inlined
@no_type_check
def _narrow(plus_at, minus_at, s, end, outputs, counts, step):
    """(1) where inputs fill no more than a word, whose lanes are outputs then."""
    while s < end:
        x, plus, minus, at = word_at(s), plus_at, minus_at, counts
        lanes, stop, whole = alike(x), plus_at + (outputs << np.uint64(3)), plus_at + (outputs >> np.uint64(3) << np.uint64(6))
        while plus < whole:
            put_halves(at, ones_in(load(plus) & lanes) - ones_in(load(minus) & lanes))
            plus += LINE
            minus += LINE
            at += HALF
        while plus < stop:
            put_half(at, ones_of(word_at(plus) & x) - ones_of(word_at(minus) & x))
            plus += WORD
            minus += WORD
            at += FOUR
        s += WORD
        counts += step


@compiled("pppp" + "nnn" + "nnn")
@no_type_check
def count(plus_at, minus_at, spikes_at, counts_at, row, plane, spikes, block, wide, block_counts):
    """(1): weights of `plane` bytes in rows of `row`, `spikes` bytes of spikes, in blocks of `block` bytes that stay in the first cache;
    rows of counts are `wide` bytes apart, blocks `block_counts`."""
    whole, end = row & (ALL - LINE + ONE), spikes_at + spikes
    while spikes_at < end:
        stop, plus, minus, at = min(spikes_at + block, end), plus_at, minus_at, counts_at
        if row == WORD:
            _narrow(plus, minus, spikes_at, stop, plane >> np.uint64(3), at, wide)
            plus += plane
        while plus < plus_at + plane:
            _output(plus, minus, spikes_at, stop, row, whole, at, wide)
            plus += row
            minus += row
            at += FOUR
        spikes_at = stop
        counts_at += block_counts
    return False


# --- thresholds, (2) ---------------------------------------------------------------------------------------------------------


@inlined
@no_type_check
def gate_word(counts, thresholds, added, outputs):
    """(2) for up to 64 outputs; `added` 0: nothing is added."""
    if outputs >= BITS:
        numbers = numbers_at(counts)
        if added != ZERO:
            numbers += numbers_at(added)
        return reach(numbers, numbers_at(thresholds))
    word, bit, at = ZERO, ZERO, ZERO
    while bit < outputs:
        number = number_at(counts + at)
        if added != ZERO:
            number += number_at(added + at)
        word |= (ONE if number >= number_at(thresholds + at) else ZERO) << bit
        bit += ONE
        at += FOUR
    return word


@compiled("pppp" + "nn")
@no_type_check
def gate(counts_at, thresholds_at, added_at, words_at, outputs, rows):
    """(2) of rows of counts."""
    for _ in range(rows):
        left, thresholds = outputs, thresholds_at
        while left > ZERO:
            many = min(left, BITS)
            put_word(words_at, gate_word(counts_at, thresholds, added_at, many))
            thresholds += CHUNK
            counts_at += many << TWO
            if added_at != ZERO:
                added_at += many << TWO
            words_at += WORD
            left -= many
    return False


@compiled("pppppp" + "nnnnnn")
@no_type_check
def fire(plus_at, minus_at, spikes_at, thresholds_at, added_at, words_at, row, outputs, spikes, block, wide, wide_added):
    """(1) and (2) at once: counts of 64 outputs and a block of spikes stay in the cache, 256 bytes a row. Rows of spikes that come out
    are `wide` bytes apart, rows of what is added `wide_added`."""
    counts_at = room()
    whole, end = row & (ALL - LINE + ONE), spikes_at + spikes
    while spikes_at < end:
        stop, plus, minus = min(spikes_at + block, end), plus_at, minus_at
        left, thresholds, added_word, to = outputs, thresholds_at, added_at, words_at
        while left > ZERO:
            many, bit, at = min(left, BITS), ZERO, counts_at
            if row == WORD:
                _narrow(plus, minus, spikes_at, stop, many, at, CHUNK)
                plus += many << np.uint64(3)
                minus += many << np.uint64(3)
                bit = many
            while bit < many:
                _output(plus, minus, spikes_at, stop, row, whole, at, CHUNK)
                plus += row
                minus += row
                at += FOUR
                bit += ONE
            s, at, added, word = spikes_at, counts_at, added_word, to
            while s < stop:
                put_word(word, gate_word(at, thresholds, added, many))
                s += row
                at += CHUNK
                added += wide_added
                word += wide
            thresholds += CHUNK
            to += WORD
            left -= many
            if added_at != ZERO:
                added_word += CHUNK
        while spikes_at < stop:
            spikes_at += row
            words_at += wide
            added_at += wide_added
    return False


# --- weights as files hold them ------------------------------------------------------------------------------------------------


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
