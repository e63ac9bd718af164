"""
The files of an emitted folder: header, network, weights, golden vectors, the program that compares, Makefile, README.
"""

from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from spikeloom.backend.c.arrays import literal, written
from spikeloom.backend.c.code import shipped, template, words
from spikeloom.backend.c.layout import Layout
from spikeloom.backend.c.moves import moved
from spikeloom.backend.c.network import Network
from spikeloom.backend.target import Golden

AT_MOST = 1 << 16
"""So many numbers of golden vectors are shipped at most (one sample at least)."""
WARNINGS = "-std=c11 -pedantic -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wcast-qual -Werror"
"""Under these the code is clean."""
VECTORS = """#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

"""


def files(network: Network, golden: Golden) -> Mapping[str, bytes]:
    """All files by their relative path."""
    prefix = network.plan.options.prefix
    made = {
        f"{prefix}.h": header(network),
        f"{prefix}.c": source(network),
        f"{prefix}_weights.h": weights_header(network),
        f"{prefix}_weights.c": weights(network),
        f"{prefix}_golden.h": golden_vectors(network, golden),
        f"{prefix}_test.c": filled(network, "test.c"),
        "cortex_m.c": shipped("cortex_m.c"),
        "Makefile": makefile(network),
        "README.md": filled(network, "README.md"),
    }
    return {name: text.encode() for name, text in made.items()}


def header(network: Network) -> str:
    """Types, sizes and functions."""
    plan, netlist, prefix = network.plan, network.plan.netlist, network.plan.options.prefix
    wire, out, up = netlist.wires[netlist.source.name], netlist.wires[netlist.output], prefix.upper()
    facts = {
        "INPUT_SIZE": wire.size,
        "INPUT_LOW": wire.low,
        "INPUT_HIGH": wire.high,
        "OUTPUT_SIZE": out.size,
        "TICKS": netlist.timesteps,
        "ROM_BYTES": network.rom,
        "RAM_BYTES": network.ram,
        "NEURONS": netlist.neurons,
        "WEIGHTS": netlist.parameters,
    }
    facts |= {f"INPUT_DIM_{place}": side for place, side in enumerate(wire.shape)}
    facts |= {f"OUTPUT_DIM_{place}": side for place, side in enumerate(out.shape)}
    step, unit = rational(netlist.source.step), rational(netlist.unit)
    facts |= {"INPUT_STEP_NUM": step.numerator, "INPUT_STEP_DEN": step.denominator}
    facts |= {"OUTPUT_UNIT_NUM": unit.numerator, "OUTPUT_UNIT_DEN": unit.denominator}
    return shipped("header.h").format_map(
        {
            "prefix": prefix,
            "upper": up,
            "step": f"{netlist.source.step!r}",
            "unit": f"{netlist.unit!r}",
            "ticks": netlist.timesteps,
            "table": table(network),
            "facts": "\n".join(f"#define {up}_{name} {literal(value)}" for name, value in facts.items()),
            "input": network.input.name,
            "output": network.output.name,
            "suffix": network.output.name.removeprefix("int").removeprefix("uint").upper(),
            "kernels": plan.options.kernels,
        }
    )


def rational(value: float) -> Fraction:
    """The nearest fraction with a denominator of at most a million; of small values, with more."""
    limit = 1_000_000
    while limit < 1 << 60 and value and abs(Fraction(value).limit_denominator(limit) - Fraction(value)) > abs(Fraction(value)) / 10**7:
        limit *= 10
    return Fraction(value).limit_denominator(limit)


def table(network: Network) -> str:
    """ROM and RAM, array by array, as the lines of a comment."""
    rows = [("ROM", array.name, array.number.name, array.values.size, array.bytes, array.about) for array in network.arrays]
    for each in network.placed:
        buffer = each.buffer
        about = f"{buffer.name}: {buffer.about}, steps {buffer.first} to {buffer.last}"
        rows.append(("RAM", f"arena + {each.offset}", buffer.number.name, buffer.count, buffer.bytes, about))
    rows += [("RAM", f"state.{each.name}", each.number.name, each.count, each.bytes, each.about) for each in network.state]
    lines = [
        f" * {where}  {name:<24} {f'{kind}[{count}]':<20} {size:>9}  {words(about, 100)}" for where, name, kind, count, size, about in rows
    ]
    lines += [
        f" * ROM  {'all arrays':<45} {network.rom:>9}  code left out",
        f" * RAM  {'arena':<45} {network.arena:>9}  places in it are used again within a tick",
        f" * RAM  {'state':<45} {network.kept:>9}  remembered from tick to tick",
        f" * RAM  {'all':<45} {network.ram:>9}  stack left out",
    ]
    return "\n".join(lines)


def source(network: Network) -> str:
    """The network itself."""
    plan, netlist, prefix = network.plan, network.plan.netlist, network.plan.options.prefix
    calls = "\n".join(f"    step_{step.number}({'input' if step.number in network.takes_input else ''});" for step in plan.steps)
    return shipped("network.c").format_map(
        {
            "prefix": prefix,
            "upper": prefix.upper(),
            "includes": VECTORS if template("dot") in network.kernels else "",
            "kernels": "\n".join(network.kernels),
            "memory": memory(network),
            "functions": "\n".join(network.functions),
            "resets": "".join(network.resets),
            "calls": calls,
            "input": network.input.name,
            "unused": "" if network.takes_input else "    (void)input;\n",
            "give": "\n".join(answered(network, "=")),
            "sum": "\n".join(answered(network, "+=")),
            "ticks": netlist.timesteps,
            "size": netlist.wires[netlist.output].size,
        }
    )


def answered(network: Network, sign: str) -> Iterator[str]:
    """Lines that hand the output over, or add it."""
    plan, output = network.plan, network.plan.netlist.output
    layout, made_by, kind = plan.layout(output), plan.made_by(output), network.output.name
    at = "input" if made_by is None else f"arena.b{made_by.number}.at"
    flat = Layout(layout.shape)
    if layout.image:
        lines = moved(layout, flat, at, "output", kind)
    else:
        lines = [f"    for (int32_t i = 0; i < {layout.size}; i++)", f"        output[i] = ({kind})({at}[i]);"]
    for line in lines:
        if "] = (" in line and sign == "+=":
            left, right = line.split(f" = ({kind})", 1)
            line = f"{left} = ({kind})({left.strip()} + {right.rstrip(';')});"
        yield line


def memory(network: Network) -> str:
    """The arena and what is remembered."""
    parts = list[str]()
    if network.placed:
        members = list[str]()
        for each in network.placed:
            gap = f"uint8_t gap[{each.offset}]; " if each.offset else ""
            members.append(
                f"    struct {{ {gap}{each.buffer.number.name} at[{each.buffer.count}]; }} {each.buffer.name}; /* {each.buffer.about} */"
            )
        parts.append("static _Alignas(64) union {\n" + "\n".join(members) + "\n} arena;\n")
    if network.state:
        lines = [f"    {each.number.name} {each.name}[{each.count}]; /* {words(each.about, 100)} */" for each in network.state]
        parts.append("static _Alignas(64) struct {\n" + "\n".join(lines) + "\n} state;\n")
    return "\n".join(parts)


def weights_header(network: Network) -> str:
    """Declarations of all constant arrays."""
    prefix = network.plan.options.prefix
    lines = [f"extern {array.declared}; /* {array.about} */" for array in network.arrays]
    guard = f"{prefix.upper()}_WEIGHTS_H"
    return "\n".join(
        ["/* Weights and tables. */", f"#ifndef {guard}", f"#define {guard}", "", "#include <stdint.h>", "", *lines, "", "#endif", ""]
    )


def weights(network: Network) -> str:
    """All constant arrays."""
    prefix = network.plan.options.prefix
    lines = ["/* Weights and tables. */", f'#include "{prefix}_weights.h"', ""]
    for array in network.arrays:
        align = "_Alignas(64) " if array.bytes >= 512 else ""
        lines += [f"/* {array.about} */", f"{align}{array.declared} = {{"]
        lines += [*written(array.values, bits=array.number.name == "uint32_t"), "};", ""]
    return "\n".join(lines)


def golden_vectors(network: Network, golden: Golden) -> str:
    """As many golden vectors as fit, the first ones."""
    netlist, prefix = network.plan.netlist, network.plan.options.prefix
    streamed = golden.inputs.ndim == len(netlist.wires[netlist.source.name].shape) + 2
    inputs = np.moveaxis(golden.inputs, 0, 1) if streamed else golden.inputs
    each = int(inputs[0].size + golden.outputs[0].size) if len(inputs) else 1
    count = max(1, min(len(inputs), AT_MOST // each))
    arrays = list[str]()
    for name, number, values in (("inputs", network.input, inputs), ("outputs", network.output, golden.outputs)):
        flat = np.ascontiguousarray(values[:count]).reshape(-1)
        arrays += [f"static const {number.name} {prefix}_golden_{name}[{flat.size}] = {{", *written(flat), "};", ""]
    up = prefix.upper()
    lines = [
        f"/* Golden vectors: {count} of {len(inputs)} samples, and the integer reference's answers. */",
        f"#define {up}_GOLDEN_SAMPLES {count}",
        f"#define {up}_GOLDEN_STREAMED {int(streamed)} /* 1: an input for each tick */",
        "",
    ]
    return "\n".join(lines + arrays)


def filled(network: Network, name: str) -> str:
    """A file that is the same for all networks but for names."""
    options = network.plan.options
    tokens = {
        "PREFIX": options.prefix,
        "UPPER": options.prefix.upper(),
        "INPUT_T": network.input.name,
        "OUTPUT_T": network.output.name,
        "ROM": str(network.rom),
        "RAM": str(network.ram),
        "KERNELS": "event-driven" if options.kernels == "event" else "dense",
    }
    text = shipped(name)
    for token, value in tokens.items():
        text = text.replace(f"@{token}@", value)
    return text


def makefile(network: Network) -> str:
    """The Makefile."""
    options = network.plan.options
    text = shipped("Makefile").replace("@PREFIX@", options.prefix).replace("@COMPILER@", options.compiler)
    return text.replace("@FLAGS@", options.flags).replace("@WARNINGS@", WARNINGS)
