"""
No packed kernel multiplies, and none knows a floating-point number.

What is proven, for every kernel that a packed layer runs, compiled as users' kernels are, and read whole (`tests.kernels.machine`), its
indices and addresses included:

    machine code   of this processor: no instruction that multiplies, of any width; none that calculates with floating-point numbers
    LLVM's code    for every processor: no floating-point type; no product that anything read from memory goes into

What remains in LLVM's code is a stride times a constant, between arguments, which no processor needs to multiply for. What is done before
a kernel runs, once a call, in Python (sizes and first addresses) is not part of it. Kernels that do multiply, or that work with
floating-point numbers, are found: the test tries it with each kind.
"""

from typing import Any

import numpy as np
import pytest
from numba import njit
from tests.kernels.machine import afresh, floating, floats, instructions, multiplying, products

from spikeloom.kernels import loops, packed_event_loops, packed_form_loops, packed_row_loops, packed_window_loops
from spikeloom.kernels.lanes import WIDTH, half_at, load, ones_in, put_half, put_word, store, word_at

KERNELS = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": kernel
    for module in (packed_form_loops, packed_row_loops, packed_event_loops, packed_window_loops)
    for name, kernel in vars(module).items()
    if getattr(kernel, "nopython_signatures", None) and not name.startswith("_") and kernel.py_func.__module__ == module.__name__
}


def test_these_are_all_kernels() -> None:
    assert {name.split(".")[1] for name in KERNELS} == {
        "pack_bits", "unpack_bits", "pack_signs", "planes_of_codes", "codes_of_planes", "ones",
        "count", "gate", "fire", "events", "patches", "any_of",
    }  # fmt: skip


@pytest.mark.parametrize("name", KERNELS)
def test_a_packed_kernel_neither_multiplies_nor_knows_floating_point(name: str) -> None:
    kernel = afresh(KERNELS[name])
    names = instructions(kernel)
    assert len(names) > 10
    assert not multiplying(names)
    assert not floating(names)
    assert not products(kernel)
    assert not floats(kernel)


def words(a: int, b: int, to: int) -> bool:
    put_word(to, word_at(a) * word_at(b))
    return False


def by_an_argument(a: int, b: int, to: int) -> bool:
    put_half(to, half_at(a) * b)
    return False


def arrays(a: int, b: int, to: int) -> bool:
    for _ in range(b):
        put_half(to, half_at(a) * half_at(to))
        a += np.uint64(4)
        to += np.uint64(4)
    return False


def decimals(a: int, b: int, to: int) -> bool:
    put_word(to, np.uint64(np.float64(word_at(a)) + np.float64(word_at(b))))
    return False


@pytest.mark.parametrize("function", [words, by_an_argument, arrays])
def test_a_product_is_found(function: Any) -> None:
    kernel = njit("boolean(uint64, uint64, uint64)", error_model="numpy")(function)
    assert multiplying(instructions(kernel))
    assert products(kernel)


def test_floating_point_is_found() -> None:
    kernel = njit("boolean(uint64, uint64, uint64)", error_model="numpy")(decimals)
    assert floating(instructions(kernel))
    assert floats(kernel)
    population = afresh(loops.run_uniform)  # calculates decay·v
    assert floating(instructions(population))
    assert multiplying(instructions(population))
    assert products(population)


def counts(a: int, b: int, to: int) -> bool:
    store(to, ones_in(load(a)))
    return False


def test_a_population_count_is_one_instruction_for_all_lanes_where_the_processor_has_it() -> None:
    names = instructions(njit("boolean(uint64, uint64, uint64)", error_model="numpy")(counts))
    from llvmlite import binding

    if binding.get_host_cpu_features().get("avx512vpopcntdq"):
        assert "vpopcntq" in names
        assert "popcntq" not in names
    words_in, words_out = np.arange(1, WIDTH + 1, dtype=np.uint64), np.zeros(WIDTH, np.uint64)
    njit("boolean(uint64, uint64, uint64)", error_model="numpy")(counts)(words_in.ctypes.data, 0, words_out.ctypes.data)
    assert words_out.tolist() == [number.bit_count() for number in words_in.tolist()]
