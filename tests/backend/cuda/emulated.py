"""Many emitted networks compiled into one program for the CPU, so that a compiler starts once for all of them."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from spikeloom.backend import Golden
from spikeloom.backend.cuda import TARGET, CudaOptions
from spikeloom.backend.cuda.files import STANDARD, packed
from spikeloom.backend.cuda.verify import answered
from spikeloom.ir.hardware import Netlist

FLAGS = ("-O0", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", STANDARD)
SANITIZED = ("-O1", "-U_FORTIFY_SOURCE", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-Wno-unknown-pragmas", STANDARD)
Case = tuple[Netlist, CudaOptions, Sequence[Golden]]


def emitted(place: Path, netlist: Netlist, golden: Golden, options: CudaOptions) -> None:
    """The target's files in a folder."""
    assert TARGET.refusals(netlist, options) == []
    place.mkdir(parents=True, exist_ok=True)
    for name, content in TARGET.emit(netlist, golden, options).items():
        (place / name).write_bytes(content)


def together(scratch: Path, cases: Sequence[Case]) -> str:
    """The source of one program that holds the emitted network and test program of each case: `program K vectors`."""
    parts, doors = list[str](), list[str]()
    for number, (netlist, options, goldens) in enumerate(cases):
        prefix = f"n{number}"
        place = scratch / prefix
        emitted(place, netlist, goldens[0], options.model_copy(update={"prefix": prefix}))
        main = re.sub(r"#include .*\n", "", (place / "main.cu").read_text()).replace("int main(", "int run(")
        parts.append(f'#include "{prefix}/network.cu"\nnamespace program_{prefix} {{\n{main}\n}}\n')
        doors.append(f"case {number}: return program_{prefix}::run(2, words + 1);")
    heads = "".join(f"#include <{name}>\n" for name in ("cstdint", "cstdio", "cstdlib", "cstring", "vector"))
    end = f"int main(int, char **words)\n{{\n    switch (std::atoi(words[1])) {{\n{chr(10).join(doors)}\n    }}\n    return 9;\n}}\n"
    return heads + "\n".join(parts) + end


def wrong(scratch: Path, cases: Sequence[Case], flags: Sequence[str] = FLAGS) -> dict[tuple[int, int], int]:
    """How many samples differ, by case and golden, where any does."""
    (scratch / "all.cpp").write_text(together(scratch, cases))
    done = subprocess.run(["g++", *flags, "all.cpp", "-o", "all"], cwd=scratch, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    found = dict[tuple[int, int], int]()
    for number, (netlist, _, goldens) in enumerate(cases):
        for place, golden in enumerate(goldens):
            vectors = scratch / f"n{number}" / f"vectors{place}.bin"
            vectors.write_bytes(packed(golden, netlist))
            program = scratch / "door"
            program.write_text(f'#!/bin/sh\nexec {scratch}/all {number} "$@"\n')
            program.chmod(0o755)
            samples, mismatches = answered(program, scratch, str(vectors))
            assert samples == len(golden.outputs)
            if mismatches:
                found[number, place] = mismatches
    return found
