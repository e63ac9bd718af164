"""
Simulators of Verilog. A test bench and its sources become a program that takes plus-arguments and prints what the bench displays.

    Icarus      interpreted: ready in seconds, some thousand clock cycles a second for a convolutional network
    Verilator   compiled: minutes to build, some hundred thousand cycles a second
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from spikeloom.backend.rtl.tools import run, run_program

Program = Callable[[Sequence[str]], str]
TITLES: Mapping[str, str] = {"icarus": "Icarus Verilog", "verilator": "Verilator"}


def built(simulator: str, top: str, sources: Sequence[Path], parameters: Mapping[str, int], folder: Path) -> Program:
    """The program of `top` with these parameters, built and run in `folder`. Raises ResourceError where the simulator is missing."""
    files = [str(source.resolve()) for source in sources]
    if simulator == "icarus":
        run(
            "iverilog",
            ["-g2005", *[f"-P{top}.{name}={value}" for name, value in parameters.items()], "-s", top, "-o", "top.vvp", *files],
            folder,
        )
        return lambda arguments: run("vvp", ["-n", "top.vvp", *arguments], folder)
    sizes = [f"-G{name}={value}" for name, value in parameters.items()]
    quiet = ["-Wno-fatal", "-Wno-lint", "-Wno-style"]
    run("verilator", ["--binary", "--timing", *quiet, *sizes, "--top-module", top, "--Mdir", "built", "-o", "top", *files], folder)
    return lambda arguments: run_program(folder / "built" / "top", arguments, folder)
