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
    alike,
    load,
    number_at,
    numbers_at,
    ones_in,
    ones_of,
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
def _gate_word(counts, thresholds, added, outputs):
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
            put_word(words_at, _gate_word(counts_at, thresholds, added_at, many))
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
                put_word(word, _gate_word(at, thresholds, added, many))
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
