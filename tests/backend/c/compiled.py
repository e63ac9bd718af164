"""Many networks in one program: emitted under prefixes of their own, compiled once, run once."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spikeloom.backend import Golden
from spikeloom.backend.c import TARGET, COptions
from spikeloom.backend.c.files import WARNINGS
from spikeloom.ir.hardware import Netlist, Operation, Source, Wire, netlist_of
from spikeloom.simulate.integers import run_integers

Case = tuple[Netlist, Golden, COptions]
SANITIZERS = "-O1 -g -march=native -fsanitize=address,undefined -fno-sanitize-recover=all"


def emitted(folder: Path, netlist: Netlist, golden: Golden, options: COptions) -> Path:
    """A folder with the files of a network."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in TARGET.emit(netlist, golden, options).items():
        (folder / name).write_bytes(content)
    return folder


def mismatches(folder: Path, cases: Sequence[Case], flags: str) -> dict[str, int]:
    """How many samples each network answers wrongly, by prefix: n0, n1, …"""
    sources, calls = list[str](), list[str]()
    for place, (netlist, golden, options) in enumerate(cases):
        prefix = f"n{place}"
        emitted(folder, netlist, golden, options.model_copy(update={"prefix": prefix}))
        parts = (f"{prefix}_weights.c", f"{prefix}.c", f"{prefix}_test.c")
        (folder / f"{prefix}_unit.c").write_text("".join(f'#include "{part}"\n' for part in parts))
        sources.append(f"{prefix}_unit.c")
        calls.append(f"int {prefix}_test(void); {prefix}_test();")
    (folder / "all.c").write_text("int main(void) {\n" + "\n".join(calls) + "\nreturn 0; }\n")
    quiet = [f"-DN{place}_NO_MAIN" for place in range(len(cases))]
    compile_all(folder, sources, [*WARNINGS.split(), *flags.split(), *quiet])
    subprocess.run(
        ["gcc", *flags.split(), "all.c", *[source.replace(".c", ".o") for source in sources], "-o", "all"], cwd=folder, check=True
    )
    done = subprocess.run(["./all"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {name: int(wrong) for name, wrong in re.findall(r"(n\d+): \d+ samples, (\d+) mismatches", done.stdout)}
    assert len(found) == len(cases), done.stdout
    return found


def compile_all(folder: Path, sources: Sequence[str], flags: Sequence[str]) -> None:
    """Object files of all sources, two compilers at a time."""
    running = [subprocess.Popen(["gcc", *flags, "-c", *half], cwd=folder) for half in (sources[::2], sources[1::2]) if half]
    codes = [process.wait() for process in running]
    assert not any(codes)


def case(
    operations: Sequence[Operation],
    wire: Wire,
    *,
    timesteps: int = 1,
    samples: int = 3,
    streamed: bool = False,
    output: str | None = None,
    **options: object,
) -> Case:
    """A network of these operations with random golden vectors; the last one answers, if no other is named."""
    netlist = netlist_of(Source("x", 1.0), wire, operations, output or operations[-1].name, timesteps=timesteps)
    rng = np.random.default_rng(len(operations))
    front = (timesteps, samples) if streamed else (samples,)
    inputs = rng.integers(wire.low, wire.high + 1, (*front, *wire.shape))
    return netlist, Golden(inputs, run_integers(netlist, inputs)), COptions.model_validate(options)
