"""
Compiles an emitted folder and runs it on golden vectors: on a GPU where there is one, else the same source emulated on the CPU.
"""

import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from spikeloom.backend.cuda.files import STANDARD, packed
from spikeloom.backend.cuda.options import CudaOptions
from spikeloom.backend.target import Golden, Verdict
from spikeloom.errors import InternalError, ResourceError
from spikeloom.ir.hardware import Netlist

CPU_FLAGS = ("-O2", "-U_FORTIFY_SOURCE", STANDARD, "-Wno-unknown-pragmas")
EMULATED = "the same source on the CPU, emulated; not run on a GPU"


def verify(folder: Path, netlist: Netlist, golden: Golden, options: CudaOptions) -> Verdict:
    """How the compiled files answer the shipped vectors, and those given here. Where nvcc is there, the kernels are compiled for the GPU
    too, whatever they run on. Raises ResourceError where there is neither a GPU nor a C++ compiler, or nvcc knows no such GPU."""
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "built"
        shutil.copytree(folder, place)
        vectors = Path(scratch) / "vectors.bin"
        vectors.write_bytes(packed(golden, netlist))
        numbers = compiled(place, options) if shutil.which("nvcc") else {}
        program, how = on_gpu(place, options) if shutil.which("nvcc") and gpu() else on_cpu(place, options)
        samples, mismatches = answered(program, place, str(vectors))
        shipped = (place / "golden.bin").read_bytes() != vectors.read_bytes()
        shipped_wrong = answered(program, place, "golden.bin")[1] if shipped else mismatches
    if not numbers:
        how += "; no nvcc here: not compiled for a GPU either"
    return Verdict(samples, max(mismatches, shipped_wrong), how, {"shipped mismatches": shipped_wrong, **numbers})


@cache
def gpu() -> str:
    """The GPU of this machine, as its driver names it; "" where there is none."""
    if shutil.which("nvidia-smi") is None:
        return ""
    done = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def compiled(place: Path, options: CudaOptions) -> dict[str, int | str]:
    """Compiles the kernels for the GPU: how many there are, the most registers of one, and bytes that did not fit into them."""
    command = ["nvcc", "-O3", f"-arch={options.arch}", STANDARD, "-Xptxas", "-v", "-cubin", "network.cu", "-o", "network.cubin"]
    told = _done(command, place)
    registers = [int(count) for count in re.findall(r"Used (\d+) registers", told)]
    spilled = sum(int(count) for count in re.findall(r"(\d+) bytes spill stores", told))
    return {"arch": options.arch, "kernels": len(registers), "most registers": max(registers, default=0), "spilled bytes": spilled}


def on_gpu(place: Path, options: CudaOptions) -> tuple[Path, str]:
    """The test program for the GPU, and what it runs on."""
    _done(["nvcc", "-O3", f"-arch={options.arch}", STANDARD, "network.cu", "main.cu", "-o", "network_test"], place)
    return place / "network_test", f"nvcc -arch={options.arch}, run on {gpu()}"


def on_cpu(place: Path, options: CudaOptions) -> tuple[Path, str]:
    """The test program for the CPU, and what is to be said of it."""
    if shutil.which(options.compiler) is None:
        todo = "install g++, or give --option compiler=…, or run on a machine with a GPU and nvcc"
        raise ResourceError(
            "a GPU or a C++ compiler is needed to check what was emitted", found=f"no GPU, no {options.compiler}", todo=todo
        )
    _done([options.compiler, *CPU_FLAGS, "-x", "c++", "network.cu", "main.cu", "-o", "network_cpu"], place)
    return place / "network_cpu", f"{options.compiler}: {EMULATED}"


def answered(program: Path, place: Path, vectors: str) -> tuple[int, int]:
    """(samples, mismatches) that the program tells of."""
    done = subprocess.run([str(program), vectors], cwd=place, capture_output=True, text=True, check=False)
    found = re.search(r": (\d+) samples, (\d+) mismatches", done.stdout)
    if found is None:
        raise InternalError(f"the emitted program ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return int(found[1]), int(found[2])


def _done(command: list[str], place: Path) -> str:
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if "nsupported gpu architecture" in done.stderr:
        raise ResourceError("nvcc does not know this GPU", found=done.stderr.strip(), todo="give another --option arch=…, or another nvcc")
    if done.returncode:
        raise InternalError(f"{command[0]} refused what was emitted: {done.stderr[:2000]}")
    return done.stdout + done.stderr
