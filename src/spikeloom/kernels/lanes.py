"""
Vectors inside kernels: eight words that the processor works on at once, so that no lane is left to what a compiler may or may not see.

    Lanes     8 words of 64 bits: & | ^, + and - of words, `ones_in` (population count of each word)
    Numbers   64 whole numbers of 32 bits, one for each bit of a word: +, `picked` (a power of two where a bit is set), `reach` (≥)
    Bytes     64 bytes, one for each bit of a word: `above`, `bytes_of`

They are LLVM's own vectors: LLVM turns them into the widest registers there are (one of AVX-512, two of AVX2, four of SSE or NEON), and a
population count into `vpopcntq`, or into table look-ups where a processor has no such instruction. Nothing here multiplies.
"""

import operator
from collections.abc import Callable
from typing import Any, no_type_check

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH = 8
"""Words in a vector."""
_I1, _I8, _I32, _I64 = (ir.IntType(width) for width in (1, 8, 32, 64))
_WORDS, _BITS = ir.VectorType(_I64, WIDTH), ir.VectorType(_I1, 64)
_NUMBERS, _BYTES = ir.VectorType(_I32, 64), ir.VectorType(_I8, 64)


class Vector(types.Type):
    """One of LLVM's vectors as a type of numba."""

    def __init__(self, name: str, held: ir.VectorType) -> None:
        super().__init__(name=name)
        self.held = held


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """It is in memory what it is in registers."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.held)


LANES, NUMBERS, BYTES = Vector("lanes", _WORDS), Vector("numbers", _NUMBERS), Vector("bytes", _BYTES)
WORD = types.uint64


def _operator(function: Callable[..., Any], kind: Vector, method: str) -> None:
    """An operator of Python between two vectors of a kind, as an instruction of LLVM."""

    class Between(ConcreteTemplate):
        key = function
        cases = [signature(kind, kind, kind)]  # noqa: RUF012 (numba reads it from the class)

    infer_global(function)(Between)  # pyright: ignore[reportOptionalCall]
    lower_builtin(function, kind, kind)(lambda _, builder, __, arguments: getattr(builder, method)(*arguments))


_BETWEEN = {
    LANES: {"and_": (operator.and_,), "or_": (operator.or_,), "xor": (operator.xor,), "add": (operator.add, operator.iadd),
            "sub": (operator.sub, operator.isub)},
    NUMBERS: {"add": (operator.add, operator.iadd)},
}  # fmt: skip
for _kind, _methods in _BETWEEN.items():
    for _method, _functions in _methods.items():
        for _function in _functions:
            _operator(_function, _kind, _method)


def _splat(builder: Any, value: Any, kind: ir.VectorType) -> Any:
    zero = ir.Constant(_I32, 0)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, zero)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count))


def _loaded(builder: Any, address: Any, kind: Any, align: int) -> Any:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=align)


def _stored(context: Any, builder: Any, address: Any, value: Any, align: int) -> Any:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=align)
    return context.get_dummy_value()


def _called(builder: Any, name: str, answer: Any, argument: Any) -> Any:
    """An intrinsic of LLVM with one argument."""
    kind = ir.FunctionType(answer, [argument.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [argument])


@intrinsic
@no_type_check
def room(_):
    """Where there is room for 256 rows of 64 numbers of 32 bits while a kernel runs."""

    def build(context: Any, builder: Any, __: Any, ___: Any) -> Any:
        with builder.goto_entry_block():
            return builder.ptrtoint(builder.alloca(ir.ArrayType(_I32, 256 * 64)), _I64)

    return WORD(), build


# --- words ---------------------------------------------------------------------------------------------------------------


@intrinsic
@no_type_check
def word_at(_, address):
    """The word at an address."""
    return WORD(WORD), lambda c, b, s, a: _loaded(b, a[0], _I64, 8)


@intrinsic
@no_type_check
def half_at(_, address):
    """The number of 32 bits at an address, without sign."""
    return WORD(WORD), lambda c, b, s, a: b.zext(_loaded(b, a[0], _I32, 4), _I64)


@intrinsic
@no_type_check
def number_at(_, address):
    """The number of 32 bits at an address, with its sign."""
    return types.int64(WORD), lambda c, b, s, a: b.sext(_loaded(b, a[0], _I32, 4), _I64)


@intrinsic
@no_type_check
def byte_at(_, address):
    """The byte at an address."""
    return WORD(WORD), lambda c, b, s, a: b.zext(_loaded(b, a[0], _I8, 1), _I64)


@intrinsic
@no_type_check
def put_word(_, address, word):
    """Write a word."""
    return types.void(WORD, WORD), lambda c, b, s, a: _stored(c, b, a[0], a[1], 8)


@intrinsic
@no_type_check
def put_half(_, address, word):
    """Write the lower 32 bits of a word."""
    return types.void(WORD, WORD), lambda c, b, s, a: _stored(c, b, a[0], b.trunc(a[1], _I32), 4)


@intrinsic
@no_type_check
def put_byte(_, address, word):
    """Write the lowest 8 bits of a word."""
    return types.void(WORD, WORD), lambda c, b, s, a: _stored(c, b, a[0], b.trunc(a[1], _I8), 1)


@intrinsic
@no_type_check
def ones_of(_, word):
    """How many bits of a word are set."""
    return WORD(WORD), lambda c, b, s, a: _called(b, "llvm.ctpop.i64", _I64, a[0])


@intrinsic
@no_type_check
def lowest(_, word):
    """The place of the lowest bit that is set, in a word that is not 0."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64, _I1])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.cttz.i64")
        return builder.call(function, [arguments[0], ir.Constant(_I1, 1)])

    return WORD(WORD), build


# --- lanes ---------------------------------------------------------------------------------------------------------------


@intrinsic
@no_type_check
def load(_, address):
    """Eight words at an address."""
    return LANES(WORD), lambda c, b, s, a: _loaded(b, a[0], _WORDS, 8)


@intrinsic
@no_type_check
def store(_, address, lanes):
    """Write eight words."""
    return types.void(WORD, LANES), lambda c, b, s, a: _stored(c, b, a[0], a[1], 8)


@intrinsic
@no_type_check
def put_halves(_, address, lanes):
    """Write the lower 32 bits of eight words."""
    return types.void(WORD, LANES), lambda c, b, s, a: _stored(c, b, a[0], b.trunc(a[1], ir.VectorType(_I32, WIDTH)), 4)


@intrinsic
@no_type_check
def alike(_, word):
    """The same word in all lanes."""
    return LANES(WORD), lambda c, b, s, a: _splat(b, a[0], _WORDS)


@intrinsic
@no_type_check
def ones_in(_, lanes):
    """How many bits are set, lane by lane."""
    return LANES(LANES), lambda c, b, s, a: _called(b, "llvm.ctpop.v8i64", _WORDS, a[0])


@intrinsic
@no_type_check
def total_of(_, lanes):
    """The sum of all lanes."""
    return WORD(LANES), lambda c, b, s, a: _called(b, "llvm.vector.reduce.add.v8i64", _I64, a[0])


# --- 64 numbers, and 64 bytes, for the bits of a word ----------------------------------------------------------------------


@intrinsic
@no_type_check
def numbers_at(_, address):
    """64 numbers at an address."""
    return NUMBERS(WORD), lambda c, b, s, a: _loaded(b, a[0], _NUMBERS, 4)


@intrinsic
@no_type_check
def put_numbers(_, address, numbers):
    """Write 64 numbers."""
    return types.void(WORD, NUMBERS), lambda c, b, s, a: _stored(c, b, a[0], a[1], 4)


@intrinsic
@no_type_check
def numbers_alike(_, word):
    """The lower 32 bits of a word, 64 times."""
    return NUMBERS(WORD), lambda c, b, s, a: _splat(b, b.trunc(a[0], _I32), _NUMBERS)


@intrinsic
@no_type_check
def picked(_, word, power):
    """`power` where a bit of the word is set, 0 elsewhere."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        power = _splat(builder, builder.trunc(arguments[1], _I32), _NUMBERS)
        return builder.select(builder.bitcast(arguments[0], _BITS), power, ir.Constant(_NUMBERS, [0] * 64))

    return NUMBERS(WORD, WORD), build


@intrinsic
@no_type_check
def reach(_, numbers, thresholds):
    """The word whose bits say which numbers are at least their thresholds, signs heeded."""
    return WORD(NUMBERS, NUMBERS), lambda c, b, s, a: b.bitcast(b.icmp_signed(">=", *a), _I64)


@intrinsic
@no_type_check
def bytes_at(_, address):
    """64 bytes at an address."""
    return BYTES(WORD), lambda c, b, s, a: _loaded(b, a[0], _BYTES, 1)


@intrinsic
@no_type_check
def put_bytes(_, address, many):
    """Write 64 bytes."""
    return types.void(WORD, BYTES), lambda c, b, s, a: _stored(c, b, a[0], a[1], 1)


@intrinsic
@no_type_check
def above(_, many, byte):
    """The word whose bits say which bytes are above one, signs heeded."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        limit = _splat(builder, builder.trunc(arguments[1], _I8), _BYTES)
        return builder.bitcast(builder.icmp_signed(">", arguments[0], limit), _I64)

    return WORD(BYTES, WORD), build


@intrinsic
@no_type_check
def below(_, many, byte):
    """The word whose bits say which bytes are below one, signs heeded."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        limit = _splat(builder, builder.trunc(arguments[1], _I8), _BYTES)
        return builder.bitcast(builder.icmp_signed("<", arguments[0], limit), _I64)

    return WORD(BYTES, WORD), build


@intrinsic
@no_type_check
def bytes_of(_, plus, minus):
    """64 bytes: 1 where a bit of the first word is set, -1 where one of the second is, 0 elsewhere."""

    def build(context: Any, builder: Any, __: Any, arguments: Any) -> Any:
        plus, minus = (builder.bitcast(word, _BITS) for word in arguments)
        return builder.or_(builder.zext(plus, _BYTES), builder.sext(minus, _BYTES))

    return BYTES(WORD, WORD), build
