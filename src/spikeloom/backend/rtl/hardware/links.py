"""
How events reach accumulators. In every link an event goes through the same three cycles:

    0   the words it touches are counted out, one a cycle; weights (or the table) are addressed
    1   the accumulators' word is addressed; the weights are there and are multiplied by the event's value (a cycle later, where that is
        not 1)
    2   `adds` are there, one for each lane, beside the accumulators' old word

The tick's end is kept until the sweep is over (`release`); after a reset, too, a link waits for the sweep that clears its accumulators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from spikeloom.backend.rtl.columns import packed, width_of
from spikeloom.backend.rtl.hardware.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from spikeloom.backend.rtl.hardware.ports import Events, span, stored
from spikeloom.backend.rtl.plan import Kernel, Layout, Link, Place, Rows, Table, Tap, longest


@final
@dataclass(frozen=True, eq=False)
class Arrivals:
    """`word` and `valid` in cycle 1, `adds` in cycle 2; `drained` where the tick's end came and everything before it is through cycle 1."""

    valid: Any
    word: Any
    adds: list[Any]
    drained: Any


def link(m: Module, kind: Link, given: Events, layout: Layout, bits: int, release: Any) -> Arrivals:
    """The hardware of a link into accumulators of a layout, `bits` wide."""
    match kind:
        case Rows():
            return _rows(m, kind, given, layout, bits, release)
        case Kernel():
            return _kernel(m, kind, given, layout, bits, release)
        case Table():
            return _table(m, kind, given, layout, bits, release)
        case Place():
            return _place(m, given, layout, bits, release)


def _accepted(m: Module, given: Events, idle: Any, release: Any) -> tuple[Any, Any]:
    """(an event is taken now, the tick's end came)."""
    ended, taken = Signal(name="ended", init=1), Signal(name="taken")
    m.d.comb += [given.ready.eq(idle & ~ended), taken.eq(given.valid & given.ready & ~given.end)]
    with m.If(given.valid & given.ready & given.end):
        m.d.sync += ended.eq(1)
    with m.If(release):
        m.d.sync += ended.eq(0)
    return taken, ended


def _weighted(m: Module, weights: Any, width: int, value: Any, at: tuple[Any, Any], layout: Layout, bits: int) -> tuple[Any, ...]:
    """(valid, word, adds, whether nothing is on its way) from the memory's word and what is `at` (valid, word) beside it; a product of
    more than one bit takes a cycle more, since a block RAM's word comes late in its own."""
    (valid, word), taken, moving = at, weights, at[0]
    if not isinstance(value, Const):
        valid, word, value, taken = (
            _later(m, part, name) for part, name in ((valid, "valid_w"), (word, "word_w"), (value, "value_w"), (weights, "weights_w"))
        )
        moving = moving | valid
    adds = [Signal(signed(bits), name=f"add{lane}") for lane in range(layout.lanes)]
    for lane, add in enumerate(adds):
        m.d.sync += add.eq(taken[lane * width : (lane + 1) * width].as_signed() * value)
    return valid, word, adds, ~moving


def _held(m: Module, given: Events, taken: Any) -> Any:
    """The event's value from cycle 0 on."""
    if isinstance(given.value, Const):
        return given.value
    held = Signal.like(given.value, name="held")
    with m.If(taken):
        m.d.sync += held.eq(given.value)
    return held


def _later(m: Module, value: Any, name: str) -> Any:
    """A cycle later."""
    if isinstance(value, Const):
        return value
    kept = Signal.like(value, name=name)
    m.d.sync += kept.eq(value)
    return kept


def _rows(m: Module, kind: Rows, given: Events, layout: Layout, bits: int, release: Any) -> Arrivals:
    width, depth = width_of(kind.weights), len(kind.weights)
    have, word, base = Signal(), Signal(span(kind.words), name="word"), Signal(span(depth), name="base")
    last = word == kind.words - 1
    taken, ended = _accepted(m, given, ~have | last, release)
    value = _held(m, given, taken)
    with m.If(have):
        m.d.sync += word.eq(Mux(last, 0, word + 1))
    with m.If(taken):
        m.d.sync += [have.eq(1), base.eq(given.flat * kind.words)]
    with m.Elif(last):
        m.d.sync += have.eq(0)
    weights = stored(m, "weights", width * layout.lanes, packed(kind.weights, width), (base + word)[: max(span(depth), 1)])
    at = _later(m, have, "valid1"), _later(m, word, "word1")
    valid, word, adds, still = _weighted(m, weights, width, _later(m, value, "value1"), at, layout, bits)
    return Arrivals(valid, word, adds, ended & ~have & still)


def _taps(m: Module, name: str, axis: tuple[tuple[Tap, ...], ...], scale: tuple[int, int], place: Any, turn: Any) -> tuple[Any, Any, Any]:
    """(how many taps a place has, now; then a cycle later: its tap's part of the weights' address, of the accumulators')."""
    most = longest(axis)
    tap_bits = max(1, (max((tap for taps in axis for tap, _ in taps), default=0) * scale[0]).bit_length())
    to_bits = max(1, (max((to for taps in axis for _, to in taps), default=0) * scale[1]).bit_length())
    words = [0] * (len(axis) * most)
    for number, taps in enumerate(axis):
        for count, (tap, to) in enumerate(taps):
            words[number * most + count] = tap * scale[0] | (to * scale[1]) << tap_bits
    address = (place * most + turn)[: max(1, span(len(words)))]
    data = stored(m, name, tap_bits + to_bits, words, address)
    count = chosen([len(taps) for taps in axis], place)
    return count, data[:tap_bits], data[tap_bits:]


def _kernel(m: Module, kind: Kernel, given: Events, layout: Layout, bits: int, release: Any) -> Arrivals:
    width, depth, words = width_of(kind.weights), len(kind.weights), kind.words
    most = [longest(axis) for axis in (kind.rows, kind.columns)]
    row, column = (Signal.like(part, name=name) for part, name in ((given.row, "at_row"), (given.column, "at_column")))
    base, first = Signal(span(depth), name="base"), Signal(span(layout.groups), name="first")
    down, right, word = Signal(span(most[0]), name="down"), Signal(span(most[1]), name="right"), Signal(span(words), name="word")
    have = Signal()
    scales = (kind.size[1] * words, layout.width * layout.groups), (words, layout.groups)
    rows, row_weight, row_to = _taps(m, "rows", kind.rows, scales[0], row, down)
    columns, column_weight, column_to = _taps(m, "columns", kind.columns, scales[1], column, right)
    some = have & (rows != 0) & (columns != 0)
    last_word, last_right, last_down = word == words - 1, right == columns - 1, down == rows - 1
    last = have & (~some | (last_word & last_right & last_down))
    taken, ended = _accepted(m, given, ~have | last, release)
    value = _held(m, given, taken)
    with m.If(some):
        m.d.sync += word.eq(Mux(last_word, 0, word + 1))
        with m.If(last_word):
            m.d.sync += right.eq(Mux(last_right, 0, right + 1))
            with m.If(last_right):
                m.d.sync += down.eq(Mux(last_down, 0, down + 1))
    with m.If(taken):
        m.d.sync += [have.eq(1), row.eq(given.row), column.eq(given.column)]
        m.d.sync += base.eq(given.channel * (kind.size[0] * kind.size[1] * words))
        m.d.sync += first.eq(chosen(kind.first, given.channel))
    with m.Elif(last):
        m.d.sync += have.eq(0)
    valid0, word0, base0 = _later(m, some, "valid0"), _later(m, word, "word0"), _later(m, base, "base0")
    address = (base0 + row_weight + column_weight + word0)[: max(span(depth), 1)]
    to = (row_to + column_to + _later(m, first, "first0") + word0)[: span(layout.words)]
    weights = stored(m, "weights", width * layout.lanes, packed(kind.weights, width), address)
    at, value1 = (_later(m, valid0, "valid1"), _later(m, to, "word1")), _later(m, _later(m, value, "value0"), "value1")
    valid, word, adds, still = _weighted(m, weights, width, value1, at, layout, bits)
    return Arrivals(valid, word, adds, ended & ~have & ~valid0 & still)


def _table(m: Module, kind: Table, given: Events, layout: Layout, bits: int, release: Any) -> Arrivals:
    count, most = kind.places.shape
    have, turn, base = Signal(), Signal(span(most), name="turn"), Signal(span(count * most), name="base")
    last = turn == most - 1
    taken, ended = _accepted(m, given, ~have | last, release)
    value = _held(m, given, taken)
    with m.If(have):
        m.d.sync += turn.eq(Mux(last, 0, turn + 1))
    with m.If(taken):
        m.d.sync += [have.eq(1), base.eq(given.flat * most)]
    with m.Elif(last):
        m.d.sync += have.eq(0)
    words = [2 * int(place) + 1 if place >= 0 else 0 for place in kind.places.reshape(-1)]
    data = stored(m, "table", 1 + span(layout.words * layout.lanes), words, (base + turn)[: max(1, span(len(words)))])
    have1 = _later(m, have, "valid1")
    low = 1 + span(layout.lanes)
    adds = _one_lane(m, data[1:low], _later(m, value, "value1"), layout.lanes, bits)
    return Arrivals(have1 & data[0], data[low : low + span(layout.words)], adds, ended & ~have & ~have1)


def _place(m: Module, given: Events, layout: Layout, bits: int, release: Any) -> Arrivals:
    valid, word, lane = Signal(name="valid1"), Signal(span(layout.words), name="word1"), Signal(span(layout.lanes), name="lane1")
    value = Signal.like(given.value, name="value1") if not isinstance(given.value, Const) else given.value
    taken, ended = _accepted(m, given, Const(1), release)
    pixel = given.row * layout.width + given.column
    m.d.sync += [valid.eq(taken), lane.eq(given.channel), word.eq(pixel * layout.groups + (given.channel >> span(layout.lanes)))]
    if not isinstance(given.value, Const):
        m.d.sync += value.eq(given.value)
    return Arrivals(valid, word, _one_lane(m, lane, value, layout.lanes, bits), ended & ~valid)


def _one_lane(m: Module, lane: Any, value: Any, lanes: int, bits: int) -> list[Any]:
    """Cycle 1 to 2: the value for one lane, 0 for the others."""
    adds = [Signal(signed(bits), name=f"add{number}") for number in range(lanes)]
    for number, add in enumerate(adds):
        here = lane == number if lanes > 1 else Const(1)
        m.d.sync += add.eq(Mux(here, value, 0))
    return adds


def joined(values: list[Any]) -> Any:
    """Lanes as one word, the first lowest."""
    return Cat(*values)


def chosen(numbers: Sequence[int], place: Any) -> Any:
    """The number at a place."""
    bits = max(numbers).bit_length()
    return Array([Const(number, bits) for number in numbers])[place] if len(numbers) > 1 else Const(numbers[0], bits)
