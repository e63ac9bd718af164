"""
The kernels themselves: loops over memory that LLVM turns into SIMD, the same arithmetic in the same order as `neuron`'s, so that every
number is the same bit for bit (no fast-math; a division is a true one).

A kernel (`compilation`) walks a tensor (`layout`) in pieces of at most `PIECE` neighbours, whose membranes stay in the first cache; pieces
`first` to `last` of all, so that threads can share them. Outputs may lie where the inputs do.
"""

from typing import Any, no_type_check

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from spikeloom.kernels.compilation import compiled, inlined

PIECE, LINE = np.uint64(1024), np.uint64(64)
ZERO, ONE, FOUR, NONE = np.uint64(0), np.uint64(1), np.uint64(4), np.uint64(2**64 - 1)
NOTHING = np.float32(0.0)  # what is subtracted where nothing is: x - 0 is x, bit for bit


@intrinsic
@no_type_check
def _pointer(_, address, element):
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(element.dtype)(address, element), build


@inlined
@no_type_check
def _floats(address, count):
    """`count` numbers of float32 at an address."""
    return carray(_pointer(address, np.float32), count)


@inlined
@no_type_check
def _words(address, count):
    """The same of 64-bit whole numbers."""
    return carray(_pointer(address, np.uint64), count)


@inlined
@no_type_check
def _bytes(address, count):
    """The same of bytes."""
    return carray(_pointer(address, np.uint8), count)


@inlined
@no_type_check
def _load(buffer, parameter, channel, size, together):
    """A parameter of a piece's neighbours: one each, or one for all."""
    if together:
        for i in range(size):
            buffer[i] = parameter[channel + i]
    else:
        for i in range(size):
            buffer[i] = parameter[channel]


@inlined
@no_type_check
def _charge(v, x, start, size):
    """v + x"""
    for i in range(size):
        v[i] += x[start + i]


@inlined
@no_type_check
def _scale(v, decay, size):
    """decay·v"""
    for i in range(size):
        v[i] = decay[i] * v[i]


@inlined
@no_type_check
def _lose(v, leak, size):
    """v - leak"""
    for i in range(size):
        v[i] -= leak[i]


@inlined
@no_type_check
def _send(v, o, start, size, step, low, high, to_zero):
    """(2) and (3) of `neuron.uniform`."""
    for i in range(size):
        h = v[i]
        z = np.floor(h / step[i])
        z = low if z < low else z
        z = high if z > high else z
        sent = z * step[i]
        o[start + i] = sent
        v[i] = (np.float32(0.0) if sent != np.float32(0.0) else h) if to_zero else h - sent


@inlined
@no_type_check
def _send_gated(v, o, start, size, step, sent, high):
    """(4) of `neuron.uniform`."""
    for i in range(size):
        h = v[i]
        z = np.floor(h / step[i])
        least = np.float32(0.0) - (high if sent[i] > high else sent[i])
        z = least if z < least or least != least else z
        z = high if z > high else z
        o[start + i] = z * step[i]
        v[i] = h - z * step[i]
        sent[i] += z


@compiled("pppppp" + "ffbb" + "pnn")
@no_type_check
def run_uniform(
    x_at, o_at, step_at, v0_at, decay_at, leak_at,
    low, high, to_zero, gated,
    plan_at, first, last,
):  # fmt: skip
    """T steps of identity staircases, equations (1)-(4) of `neuron.uniform`, without decay or leak where their address is 0. Inputs and
    outputs lie step by step."""
    plan = _words(plan_at, 8)
    neurons, length, mid, groups, channels = plan[0], plan[1], plan[2], plan[3], plan[4]
    together, pieces, timesteps = plan[5] != ZERO, plan[6], plan[7]
    decays, leaks = decay_at != ZERO, leak_at != ZERO
    x, o = _floats(x_at, neurons * timesteps), _floats(o_at, neurons * timesteps)
    step_of, v0_of, decay_of, leak_of = (
        _floats(step_at, channels), _floats(v0_at, channels), _floats(decay_at, channels), _floats(leak_at, channels)
    )  # fmt: skip
    v, step = np.empty(PIECE, np.float32), np.empty(PIECE, np.float32)
    decay, leak, sent = np.empty(PIECE, np.float32), np.empty(PIECE, np.float32), np.empty(PIECE, np.float32)
    held = NONE
    for piece in range(first, last):
        sent[:] = np.float32(0.0)
        row, begin = piece // pieces, piece % pieces * PIECE
        size, start, group = min(PIECE, length - begin), row * length + begin, row // mid % groups
        channel = group * length + begin if together else group
        _load(v, v0_of, channel, size, together)
        if channel != held:
            span = size if together else min(PIECE, length)
            _load(step, step_of, channel, span, together)
            if decays:
                _load(decay, decay_of, channel, span, together)
            if leaks:
                _load(leak, leak_of, channel, span, together)
            held = channel
        for t in range(timesteps):
            if decays:
                _scale(v, decay, size)
            _charge(v, x, start + t * neurons, size)
            if leaks:
                _lose(v, leak, size)
            if gated:
                _send_gated(v, o, start + t * neurons, size, step, sent, high)
            else:
                _send(v, o, start + t * neurons, size, step, low, high, to_zero)
    return False


@compiled("ppppp" + "ff" + "nn")
@no_type_check
def fire_with_slope(h_at, step_at, v0_at, o_at, slope_at, low, high, rows, channels):
    """What `run_uniform` sends at T = 1 for [rows, channels] numbers, and whether they lie inside the range of the levels: 1 or 0."""
    count = rows * channels
    h, o, slope = _floats(h_at, count), _floats(o_at, count), _floats(slope_at, count)
    step, v0 = _floats(step_at, channels), _floats(v0_at, channels)
    for row in range(rows):
        start = row * channels
        for i in range(channels):
            z = np.floor((v0[i] + h[start + i]) / step[i])
            slope[start + i] = np.float32(1.0) if z >= low and z <= high else np.float32(0.0)
            z = low if z < low else z
            z = high if z > high else z
            o[start + i] = z * step[i]
    return False


@inlined
@no_type_check
def _place(x, start, less, lesser, place, size, shift, per_width, top):
    """(1) of `neuron.grid` for x - less - lesser; whether any of them is none, for x is not a number."""
    nan = np.int32(0)
    for i in range(size):
        z = shift[i] + (x[start + i] - less - lesser) * per_width[i]
        nan |= np.int32(z != z)
        z = z if z > np.float32(0.0) else np.float32(0.0)
        z = top if z > top else z
        place[i] = np.int32(z)
    return nan != 0


@inlined
@no_type_check
def _drive(h, x, start, size, less, lesser, gain):
    """(x - less - lesser)/gain"""
    for i in range(size):
        h[i] = (x[start + i] - less - lesser) / gain


@inlined
@no_type_check
def _take(o, start, size, heights, place, base, apart):
    """The heights of cells in tables that begin `apart` from neighbour to neighbour."""
    for i in range(size):
        o[start + i] = heights[base + i * apart + np.uint64(place[i])]


@inlined
@no_type_check
def _take_parted(o, start, size, heights, splits, h, place, base, apart):
    """The same of cells with splits."""
    for i in range(size):
        cell = base + i * apart + np.uint64(place[i])
        o[start + i] = heights[(cell << ONE) + np.uint64(h[i] >= splits[cell])]


@inlined
@no_type_check
def _take_ranked(o, start, size, codes, levels, h, place, base, apart, first, wide):
    """The same by ranks: the threshold of a rank, and the values before and after it."""
    for i in range(size):
        level = first + i * wide + np.uint64(codes[base + i * apart + np.uint64(place[i])])
        o[start + i] = levels[((level + np.uint64(h[i] >= levels[level << ONE])) << ONE) + ONE]


@inlined
@no_type_check
def _touch(table, size, line):
    """Bring a table into the cache from its first line to its last, which a processor foresees; what look-ups touch it does not."""
    positive = np.int32(0)
    for i in range(size // line):
        positive += np.int32(table[i * line] > 0)
    return positive


@compiled("ppppppp" + "pnn")
@no_type_check
def look_up(x_at, o_at, less_at, lesser_at, gain_at, floats_at, codes_at, plan_at, first, last):
    """What `neuron.grid.look_up` reads from a table in a bank: by cells, by cells with splits, or by ranks. Inputs have the numbers of
    their row, at addresses other than 0, subtracted first, one after the other, and are divided by that of the gain; `shared` rows have
    them in common. Answers whether any input is not a number."""
    plan = _words(plan_at, 15)
    count, length, mid, groups, channels = plan[0], plan[1], plan[2], plan[3], plan[4]
    together, pieces, cells, ranks, shared = plan[5] != ZERO, plan[6], plan[7], plan[8], plan[9]
    apart, wide = cells if together else ZERO, ranks if together else ZERO
    x, o, gain = _floats(x_at, count), _floats(o_at, count), _floats(gain_at, count)
    less, lesser = _floats(less_at, count), _floats(lesser_at, count)
    shift_of = _floats(floats_at + plan[10] * FOUR, channels)
    per_width_of = _floats(floats_at + (plan[10] + channels) * FOUR, channels)
    heights, splits = _floats(floats_at + plan[11] * FOUR, channels * cells << ONE), _floats(floats_at + plan[12] * FOUR, channels * cells)
    levels, codes = _floats(floats_at + plan[13] * FOUR, channels * ranks << ONE), _bytes(codes_at + plan[14], channels * cells)
    h, shift, per_width = np.empty(PIECE, np.float32), np.empty(PIECE, np.float32), np.ones(PIECE, np.float32)
    place, held, nan, top = np.empty(PIECE, np.int32), NONE, False, np.float32(cells - ONE)
    size = channels * cells * (ONE if plan[12] == NONE else np.uint64(2))
    place[0] = np.int32(ZERO)  # is written again before it is read; keeps the compiler from leaving out what only touches memory
    if plan[14] != NONE and count * LINE > channels * (cells + ranks * np.uint64(8)):
        place[0] = _touch(codes, channels * cells, LINE) + _touch(levels, channels * ranks * np.uint64(2), LINE // FOUR)
    elif plan[14] == NONE and count * LINE > size * FOUR:
        place[0] = _touch(heights, size, LINE // FOUR)
    straight = gain_at == ZERO and (plan[12] & plan[14]) == NONE
    for piece in range(first, last):
        row, begin = piece // pieces, piece % pieces * PIECE
        size, start, group = min(PIECE, length - begin), row * length + begin, row // mid % groups
        channel = group * length + begin if together else group
        if channel != held:
            span = size if together else min(PIECE, length)
            _load(shift, shift_of, channel, span, together)
            _load(per_width, per_width_of, channel, span, together)
            held = channel
        a = less[row // shared] if less_at != ZERO else NOTHING
        b = lesser[row // shared] if lesser_at != ZERO else NOTHING
        if straight:
            nan |= _place(x, start, a, b, place, size, shift, per_width, top)
            _take(o, start, size, heights, place, channel * cells, apart)
            continue
        _drive(h, x, start, size, a, b, gain[row // shared] if gain_at != ZERO else np.float32(1.0))
        nan |= _place(h, ZERO, NOTHING, NOTHING, place, size, shift, per_width, top)
        if plan[14] != NONE:
            _take_ranked(o, start, size, codes, levels, h, place, channel * cells, apart, channel * ranks, wide)
        elif plan[12] != NONE:
            _take_parted(o, start, size, heights, splits, h, place, channel * cells, apart)
        else:
            _take(o, start, size, heights, place, channel * cells, apart)
    return nan
