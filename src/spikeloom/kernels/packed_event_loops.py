"""
Event-driven packed kernels: work is done only for inputs that spike, 512 outputs at once, by counters that lie across words.

A block of outputs has a record for each input: where weights are +1, and where they are not −1, a bit for each output. Both are counted:

    t = Σ over active inputs of ([w = +1] + [w ≠ −1]) = count + active                   (1)

Counters are bit planes: plane k holds bit k of all outputs' counters. Three bits of one weight are two bits, a sum and a carry (2), so that
64 words go into the planes by 63 such steps, none of which multiplies or looks at a single output. They begin at n − active, so that they
end at count + n; a neuron fires where that reaches its threshold + n, compared plane by plane (3).

    sum = a ^ b ^ c        carry = a ^ ((a ^ b) & (a ^ c))                               (2)
    reaches ← majority(t_k, ¬θ_k, reaches), k from the lowest plane on                   (3)

Source: carry-save adders for population counts: Harley and Seal, in Warren, Hacker's Delight, 5-1; Muła, Kurz, Lemire, arXiv:1611.07612.
"""

from typing import no_type_check

import numpy as np

from spikeloom.kernels.compilation import compiled, inlined
from spikeloom.kernels.lanes import (
    alike,
    half_at,
    load,
    lowest,
    numbers_alike,
    picked,
    put_half,
    put_numbers,
    put_word,
    store,
    word_at,
)

ZERO, ONE, TWO, FOUR, WORD, BITS, LINE, CHUNK = (np.uint64(n) for n in (0, 1, 2, 4, 8, 64, 64, 256))
GROUP, HALF, SMALL = np.uint64(128), np.uint64(64), np.uint64(16)  # bytes of a list that go into the planes together: 32 inputs, or 4
ALL = np.uint64(2**64 - 1)


@inlined
@no_type_check
def _full(a, b, c):
    """(2)"""
    ab = a ^ b
    return ab ^ c, a ^ (ab & (a ^ c))


@inlined
@no_type_check
def _input(ones, record, wide):
    """An input's two vectors into plane 0."""
    return _full(ones, load(record), load(record + wide))


@inlined
@no_type_check
def _inputs2(ones, twos, records, wide, listed):
    """Two inputs into planes 0 and 1."""
    ones, first = _input(ones, records + half_at(listed), wide)
    ones, second = _input(ones, records + half_at(listed + FOUR), wide)
    twos, carry = _full(twos, first, second)
    return ones, twos, carry


@inlined
@no_type_check
def _inputs4(ones, twos, fours, records, wide, listed):
    """Four inputs into planes 0 to 2."""
    ones, twos, first = _inputs2(ones, twos, records, wide, listed)
    ones, twos, second = _inputs2(ones, twos, records, wide, listed + WORD)
    fours, carry = _full(fours, first, second)
    return ones, twos, fours, carry


@inlined
@no_type_check
def _inputs8(ones, twos, fours, eights, records, wide, listed):
    """Eight inputs into planes 0 to 3."""
    ones, twos, fours, first = _inputs4(ones, twos, fours, records, wide, listed)
    ones, twos, fours, second = _inputs4(ones, twos, fours, records, wide, listed + SMALL)
    eights, carry = _full(eights, first, second)
    return ones, twos, fours, eights, carry


@inlined
@no_type_check
def _inputs16(ones, twos, fours, eights, sixteens, records, wide, listed):
    """Sixteen inputs into planes 0 to 4."""
    ones, twos, fours, eights, first = _inputs8(ones, twos, fours, eights, records, wide, listed)
    ones, twos, fours, eights, second = _inputs8(ones, twos, fours, eights, records, wide, listed + SMALL + SMALL)
    sixteens, carry = _full(sixteens, first, second)
    return ones, twos, fours, eights, sixteens, carry


@inlined
@no_type_check
def _carry_on(carry, plane, top):
    """A carry into a plane and those above it."""
    while plane < top:
        x = load(plane)
        store(plane, x ^ carry)
        carry = x & carry
        plane += LINE


@inlined
@no_type_check
def _accumulate(records, wide, listed, end, planes, top):
    """(1) for the inputs of a list, into the planes from `planes` to `top`."""
    ones, twos, fours = load(planes), load(planes + LINE), load(planes + LINE + LINE)
    eights, sixteens, above = load(planes + LINE + LINE + LINE), load(planes + CHUNK), planes + CHUNK + LINE
    while listed + GROUP <= end:
        ones, twos, fours, eights, sixteens, first = _inputs16(ones, twos, fours, eights, sixteens, records, wide, listed)
        ones, twos, fours, eights, sixteens, second = _inputs16(ones, twos, fours, eights, sixteens, records, wide, listed + HALF)
        x, carry = _full(load(above), first, second)
        store(above, x)
        _carry_on(carry, above + LINE, top)
        listed += GROUP
    store(planes + LINE + LINE + LINE, eights)
    store(planes + CHUNK, sixteens)
    while listed < end:
        ones, twos, fours, carry = _inputs4(ones, twos, fours, records, wide, listed)
        _carry_on(carry, planes + LINE + LINE + LINE, top)
        listed += SMALL
    store(planes, ones)
    store(planes + LINE, twos)
    store(planes + LINE + LINE, fours)


@inlined
@no_type_check
def _list(spikes, row, mask, stretch, steps, listed, ends):
    """The records of the inputs that spike, as their places in bytes; at `ends`, where the list begins, where it ends after each stretch of
    `stretch` bytes of spikes, and how many records there are. A stretch is filled up to fours with the record that counts as weight 0."""
    start, begin, stop, pad = ZERO, listed, spikes + row, half_at(steps + CHUNK + FOUR)
    put_word(ends, listed)
    while spikes < stop:
        last = min(spikes + stretch, stop)
        while spikes < last:
            word = word_at(spikes) & (mask if spikes + WORD == stop else ALL)
            while word != ZERO:
                put_half(listed, start + half_at(steps + (lowest(word) << TWO)))
                listed += FOUR
                word &= word - ONE
            start += half_at(steps + CHUNK)
            spikes += WORD
        put_half(listed, pad)
        put_half(listed + FOUR, pad)
        put_half(listed + WORD, pad)
        listed += (begin - listed) & (SMALL - ONE)
        ends += WORD
        put_word(ends, listed)
    put_word(ends + WORD, (listed - begin) >> TWO)


@inlined
@no_type_check
def _begin(planes, top, number):
    """All counters at one number."""
    while planes < top:
        store(planes, alike(ZERO - (number & ONE)))
        number >>= ONE
        planes += LINE


@inlined
@no_type_check
def _spikes(planes, top, thresholds, words, out):
    """(3); thresholds as planes of their complement. The answer takes the place of the lowest plane."""
    reaches, at = alike(ALL), planes
    while at < top:
        _, reaches = _full(load(at), load(thresholds), reaches)
        at += LINE
        thresholds += LINE
    store(planes, reaches)
    end = out + words
    while out < end:
        put_word(out, word_at(planes))
        planes += WORD
        out += WORD


@inlined
@no_type_check
def _counts(planes, top, offset, outputs, out):
    """The counters of so many outputs as numbers, less an offset. The last numbers take the place of the planes, which nobody reads again,
    where they do not fill a word."""
    end = out + (outputs << TWO)
    while out < end:
        numbers, power, at = numbers_alike(ZERO - offset), ONE, planes
        while at < top:
            numbers += picked(word_at(at), power)
            power <<= ONE
            at += LINE
        if out + CHUNK <= end:
            put_numbers(out, numbers)
            out += CHUNK
            planes += WORD
            top += WORD
        else:
            put_numbers(planes, numbers)
            while out < end:
                put_half(out, half_at(planes))
                out += FOUR
                planes += FOUR


@compiled("ppppp" + "nnnnnn" + "nnnnn" + "ppp" + "nnn")
@no_type_check
def events(
    records_at, thresholds_at, spikes_at, steps_at, out_at,
    blocks, records, words, inputs, outputs, size,
    row, spikes, tile, stretch, stretches,
    planes_at, lists_at, ends_at,
    list_size, wide_out, block_out,
):  # fmt: skip
    """Spikes where there are thresholds (address 0: none), else counts, of `blocks` blocks of outputs.

    A block has `records` bytes of records, whose vectors have `words` bytes; its counters have `size` bytes of planes. Samples, `row` bytes
    of spikes each, go in tiles of `tile` bytes, and these in stretches of `stretch` bytes of each sample, so that records stay in the cache
    while a tile passes. At `steps_at`: where the records of 64 inputs lie, those of the 65th, and the record that counts as weight 0. Rows
    of what comes out are `wide_out` bytes apart, blocks `block_out`."""
    stop, mask = spikes_at + spikes, ALL >> ((ZERO - inputs) & (BITS - ONE))
    while spikes_at < stop:
        tile_end = min(spikes_at + tile, stop)
        sample, listed, ends = spikes_at, lists_at, ends_at
        while sample < tile_end:
            _list(sample, row, mask, stretch, steps_at, listed, ends)
            sample += row
            listed += list_size
            ends += stretches + WORD
        at, thresholds, block_to, left = records_at, thresholds_at, out_at, outputs
        for _ in range(blocks):
            sample, planes, ends = spikes_at, planes_at, ends_at + stretches
            while sample < tile_end:
                _begin(planes, planes + size, inputs - word_at(ends))
                sample += row
                planes += size
                ends += stretches + WORD
            done = WORD
            while done < stretches:
                sample, planes, ends = spikes_at, planes_at, ends_at + done
                while sample < tile_end:
                    _accumulate(at, words, word_at(ends - WORD), word_at(ends), planes, planes + size)
                    sample += row
                    planes += size
                    ends += stretches + WORD
                done += WORD
            sample, planes, to, many = spikes_at, planes_at, block_to, min(left, words << np.uint64(3))
            while sample < tile_end:
                if thresholds_at != ZERO:
                    _spikes(planes, planes + size, thresholds, words, to)
                else:
                    _counts(planes, planes + size, inputs, many, to)
                sample += row
                planes += size
                to += wide_out
            at += records
            thresholds += size
            block_to += block_out
            left -= many
        while spikes_at < tile_end:
            spikes_at += row
            out_at += wide_out
    return False
