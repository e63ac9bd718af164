"""
How kernels are compiled: by numba, when the module that holds them is first imported, and kept on disk where numba finds a place to
write (beside that module, or in the user's cache).

A kernel gets addresses, not arrays: to take an array apart costs more than to run a small kernel.

Numba keeps a kernel by the date of the kernel's own module: whoever changes a part that kernels of other modules share touches those too.
"""

from collections.abc import Callable
from typing import Any

from numba import njit, types

_LETTERS = {"p": types.uint64, "n": types.uint64, "f": types.float32, "b": types.boolean}


def signature_of(arguments: str) -> Any:
    """Arguments written as letters: p an address, n a whole number, f a float32, b a truth value; the answer is a truth value."""
    return types.boolean(*(_LETTERS[letter] for letter in arguments))


def compiled(arguments: str) -> Callable[[Callable[..., Any]], Any]:
    """A function compiled for arguments as `signature_of` reads them; it lets go of the interpreter's lock."""
    signature = signature_of(arguments)

    def compile_it(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, error_model="numpy", nogil=True, cache=True)(function)
        except RuntimeError:  # nowhere to keep it
            return njit(signature, error_model="numpy", nogil=True)(function)

    return compile_it


def inlined(function: Callable[..., Any]) -> Any:
    """A part of a kernel, compiled with it."""
    return njit(error_model="numpy")(function)
