"""
Compiles an emitted folder and runs it on golden vectors.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from spikeloom.backend.c.files import WARNINGS
from spikeloom.backend.c.options import COptions
from spikeloom.backend.target import Golden, Verdict
from spikeloom.errors import ConfigError, InternalError, ResourceError
from spikeloom.ir.hardware import Netlist


def verify(folder: Path, netlist: Netlist, golden: Golden, options: COptions) -> Verdict:
    """How the compiled files answer: first the golden vectors that they ship, then all that are given here. Raises ResourceError where the
    compiler is missing or refuses the flags."""
    prefix = options.prefix
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "built"
        shutil.copytree(folder, place)
        program = built(place, prefix, options)
        _, shipped_wrong = answered(program, [])
        vectors = Path(scratch) / "vectors.bin"
        vectors.write_bytes(packed(netlist, golden))
        samples, mismatches = answered(program, [str(vectors)])
    numbers = {"shipped mismatches": shipped_wrong}
    return Verdict(samples, max(mismatches, shipped_wrong), f"{options.compiler} {options.flags}", numbers)


def built(place: Path, prefix: str, options: COptions) -> Path:
    """The compiled test program."""
    compiler = shutil.which(options.compiler)
    if compiler is None:
        raise ResourceError(
            "a C compiler is needed to check what was emitted",
            found=f"no {options.compiler}",
            todo="install gcc, or give --option compiler=…",
        )
    program = place / f"{prefix}_test"
    sources = [f"{prefix}.c", f"{prefix}_weights.c", f"{prefix}_test.c"]
    command = [compiler, *WARNINGS.split(), *options.flags.split(), *sources, "-o", str(program)]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(
            "the compiler refused what was emitted", found=done.stderr[:2000], todo="try --option flags=-O2, or another compiler"
        )
    return program


def packed(netlist: Netlist, golden: Golden) -> bytes:
    """Golden vectors as the test program reads them."""
    streamed = golden.inputs.ndim == len(netlist.wires[netlist.source.name].shape) + 2
    inputs = np.moveaxis(golden.inputs, 0, 1) if streamed else golden.inputs
    rows = np.concatenate([inputs.reshape(len(inputs), -1), golden.outputs.reshape(len(inputs), -1)], 1)
    return np.concatenate([[len(inputs), int(streamed)], rows.reshape(-1)]).astype(np.int64).tobytes()


def answered(program: Path, arguments: list[str]) -> tuple[int, int]:
    """(samples, mismatches) that the program tells of."""
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    found = re.search(r": (\d+) samples, (\d+) mismatches", done.stdout)
    if found is None:
        raise InternalError(f"the emitted program ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return int(found[1]), int(found[2])
