"""
Windows on pictures whose spikes are packed along channels: their bits beside each other, or any of them.

A plan of whole numbers tells sizes and how far steps lead in bytes (`packed_windows._plan`). Coordinates left of or above a picture are
numbers beyond its size, for they wrap around.
"""

from typing import no_type_check

import numpy as np

from spikeloom.kernels.compilation import compiled, inlined
from spikeloom.kernels.lanes import put_word, word_at

ZERO, ONE, WORD, BITS = (np.uint64(n) for n in (0, 1, 8, 64))
ALL = np.uint64(2**64 - 1)
(
    HEIGHT, WIDTH, OUT_HEIGHT, OUT_WIDTH, TALL, BROAD, DOWN, RIGHT, ABOVE, BEFORE, APART, GAP,
    IMAGE, DOWN_BYTES, ABOVE_BYTES, APART_BYTES, RIGHT_BYTES, BEFORE_BYTES, GAP_BYTES, PIXEL, FIRST, CHANNELS,
) = (np.uint64(8 * place) for place in range(22))  # fmt: skip


@inlined
@no_type_check
def _bits(at, bit, many):
    """Up to 64 bits from a bit on."""
    at += bit >> np.uint64(6) << np.uint64(3)
    bit &= BITS - ONE
    word = word_at(at) >> bit
    if bit + many > BITS:
        word |= word_at(at + WORD) << (BITS - bit)
    return word & (ALL >> (BITS - many))


@inlined
@no_type_check
def _pixel(at, inside, first, channels, word, fill, out):
    """A pixel's bits behind those that are in a word already; full words go out."""
    while channels > ZERO:
        many = min(channels, BITS)
        bits = _bits(at, first, many) if inside else ZERO
        word |= bits << fill
        if fill + many >= BITS:
            put_word(out, word)
            out += WORD
            word = bits >> (BITS - fill) if fill > ZERO else ZERO
            fill += many - BITS
        else:
            fill += many
        first += many
        channels -= many
    return word, fill, out


@inlined
@no_type_check
def _patch(at, y, x, plan, out):
    """The bits of one window, one pixel after another."""
    height, width, first, channels = word_at(plan + HEIGHT), word_at(plan + WIDTH), word_at(plan + FIRST), word_at(plan + CHANNELS)
    word, fill, row = ZERO, ZERO, ZERO
    while row < word_at(plan + TALL):
        column, pixel, across = ZERO, at, x
        while column < word_at(plan + BROAD):
            word, fill, out = _pixel(pixel, y < height and across < width, first, channels, word, fill, out)
            pixel += word_at(plan + GAP_BYTES)
            across += word_at(plan + GAP)
            column += ONE
        at += word_at(plan + APART_BYTES)
        y += word_at(plan + APART)
        row += ONE
    if fill > ZERO:
        put_word(out, word)
        out += WORD
    return out


@inlined
@no_type_check
def _any(at, y, x, plan, out):
    """The OR of one window's pixels, word by word."""
    end, to, row = out + word_at(plan + PIXEL), out, ZERO
    while to < end:
        put_word(to, ZERO)
        to += WORD
    while row < word_at(plan + TALL):
        column, pixel, across = ZERO, at, x
        while column < word_at(plan + BROAD):
            if y < word_at(plan + HEIGHT) and across < word_at(plan + WIDTH):
                _merge(pixel, out, end)
            pixel += word_at(plan + GAP_BYTES)
            across += word_at(plan + GAP)
            column += ONE
        at += word_at(plan + APART_BYTES)
        y += word_at(plan + APART)
        row += ONE
    return end


@inlined
@no_type_check
def _merge(words, to, end):
    """Words into others."""
    while to < end:
        put_word(to, word_at(to) | word_at(words))
        words += WORD
        to += WORD


@inlined
@no_type_check
def _windows(image, line, y, out, plan, row, rows, joined):
    """Windows of so many rows of pixels. The first is row `row` of the picture at `image`; its windows begin in line `y`, at `line`."""
    for _ in range(rows):
        x, at, column = ZERO - word_at(plan + BEFORE), line - word_at(plan + BEFORE_BYTES), ZERO
        while column < word_at(plan + OUT_WIDTH):
            out = _patch(at, y, x, plan, out) if joined else _any(at, y, x, plan, out)
            x += word_at(plan + RIGHT)
            at += word_at(plan + RIGHT_BYTES)
            column += ONE
        y += word_at(plan + DOWN)
        line += word_at(plan + DOWN_BYTES)
        row += ONE
        if row == word_at(plan + OUT_HEIGHT):
            row, image = ZERO, image + word_at(plan + IMAGE)
            y, line = ZERO - word_at(plan + ABOVE), image - word_at(plan + ABOVE_BYTES)


@compiled("ppnppnn")
@no_type_check
def patches(image, line, y, patches_at, plan, row, rows):
    """The bits of each window, as rows of words."""
    _windows(image, line, y, patches_at, plan, row, rows, True)
    return False


@compiled("ppnppnn")
@no_type_check
def any_of(image, line, y, pooled_at, plan, row, rows):
    """Where any spike of each window is."""
    _windows(image, line, y, pooled_at, plan, row, rows, False)
    return False
