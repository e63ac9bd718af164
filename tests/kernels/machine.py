"""
What compiled kernels are made of: their machine code on this machine, and LLVM's code, the same on every machine.

A kernel is compiled anew, without the copy on disk, and read whole: with every part that is compiled into it, its indices and addresses,
and the wrapper that Python calls it by.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from numba import njit

MULTIPLY = re.compile(
    r"v?p?(mul|imul|madd|dpbus|dpbss|dpwss|pclmul|gf2p8mul|fmadd|fmsub|fnmadd|fnmsub)\w*|mulx|umull|smull|madd|msub|smadd\w*|umadd\w*|mla|mls"
)
"""Instructions that multiply: x86's and ARM's, of any width, of whole numbers and others."""
FLOATING = re.compile(
    r"v?(add|sub|mul|div|sqrt|min|max|cmp\w*|round|rcp\w*|rsqrt\w*|dp|hadd|hsub|cvt\w+|u?comi\w*|f\w+)[sp][sdh]|f[a-z]+|scvtf|ucvtf"
)
"""Instructions that calculate with floating-point numbers; such as move bits about (movaps, xorps, andps) do not."""


def afresh(kernel: Any) -> Any:
    """The kernel compiled anew."""
    return njit(kernel.nopython_signatures[0], error_model="numpy", nogil=True)(kernel.py_func)


def instructions(kernel: Any) -> set[str]:
    """The names of all instructions of a kernel's machine code."""
    (code,) = kernel.inspect_asm().values()
    return set(re.findall(r"^\s+([a-z][a-z0-9]*)(?=\s|$)", code, re.MULTILINE))


def multiplying(names: Iterable[str]) -> set[str]:
    """Those that multiply."""
    return {name for name in names if MULTIPLY.fullmatch(name)}


def floating(names: Iterable[str]) -> set[str]:
    """Those that calculate with floating-point numbers."""
    return {name for name in names if FLOATING.fullmatch(name)}


def lines(kernel: Any) -> Iterator[str]:
    """LLVM's code of a kernel, optimised, line by line, without what is said about it."""
    (code,) = kernel.inspect_llvm().values()
    for line in code.splitlines():
        if not line.startswith((";", "!", "attributes", "source_filename", "target")):
            yield re.sub(r'@"[^"]*"|c"[^"]*"', "@", line.split(", !")[0].split(" ;")[0])


def products(kernel: Any) -> list[str]:
    """The products in LLVM's code that something read from memory goes into, or what derives from it."""
    found, body = list[str](), list[str]()
    for line in lines(kernel):
        if line.startswith("define"):
            body = []
        body.append(line)
        if line == "}":
            found += _tainted(body)
    return found


def _tainted(body: list[str]) -> list[str]:
    """The products of one function with something from memory in them."""
    steps = [match.groups() for line in body if (match := re.match(r"\s+(?:(%[\w.\"]+) = )?(.*)", line))]
    known, before = set[str](), -1
    while before < len(known):
        before = len(known)
        for name, what in steps:
            if name and (re.match(r"(atomic )?load\b", what) or known & set(re.findall(r"%[\w.\"]+", what))):
                known.add(name)
    is_product = re.compile(r"(f?mul\b|.*@llvm\.\w*(mul|fma|dp)\w*)")
    return [what for _, what in steps if is_product.match(what) and known & set(re.findall(r"%[\w.\"]+", what))]


def floats(kernel: Any) -> list[str]:
    """The lines of LLVM's code that know a floating-point type."""
    return [line for line in lines(kernel) if re.search(r"\b(half|bfloat|float|double|fp128|x86_fp80)\b", line)]
