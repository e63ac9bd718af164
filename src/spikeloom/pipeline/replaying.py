"""
Replay: whether today's code makes the same bytes of what was compiled.

What `compile_folder` lowered is lowered again where that network is still there and is the same; else the folder's own netlist is emitted
again, and only changes of the target are seen.
"""

import hashlib
from pathlib import Path
from typing import Any

from spikeloom.backend import Golden, Target, TargetOptions
from spikeloom.backend.folder import digests, files_of, load_compiled, load_golden
from spikeloom.backend.lower import InputRange, lower
from spikeloom.ir.hardware import Netlist, load_netlist
from spikeloom.pipeline.compilation import compared, options_of, target_named
from spikeloom.simulate import SpikingModel
from spikeloom.simulate.integers import run_integers


def replay(folder: Path, *, verify: bool = True) -> dict[str, Any]:
    """Whether compiling what a folder holds again gives the same bytes: the paths that are new, gone or changed, those whose files are not
    any more what was written (altered), how the folder answers its golden vectors, and why lowering was left out, if it was. Raises
    ProgramError where it is no compiled network."""
    told = load_compiled(folder)
    target = target_named(told["target"])
    options = options_of(target, told["options"])
    netlist, golden = load_netlist(folder), load_golden(folder)
    why = unlowered(told.get("lowered"))
    made = netlist if why else lowered_again(told["lowered"], target, options)
    vectors = golden if why else Golden(golden.inputs, run_integers(made, golden.inputs))
    now, kept = digests(files_of(made, vectors, target.emit(made, vectors, options))), told["files"]
    changed = sorted(path for path in now.keys() & kept.keys() if now[path] != kept[path])
    found: dict[str, Any] = {"same": now == kept, "changed": changed, "new": sorted(now.keys() - kept.keys())}
    found |= {"gone": sorted(kept.keys() - now.keys()), "altered": altered(folder, kept), "lowered": not why, "not_lowered": why}
    return found | ({"verified": compared(target, options, folder, netlist, golden)} if verify else {})


def altered(folder: Path, kept: dict[str, str]) -> list[str]:
    """The files that are not there any more, or hold something else than was written."""
    return sorted(path for path, digest in kept.items() if _digest(folder / path) != digest)


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def unlowered(origin: dict[str, Any] | None) -> str | None:
    """Why what was compiled cannot be lowered again; None where it can."""
    if origin is None:
        return "it was compiled in memory, or before this was recorded"
    program = Path(origin["folder"]) / "program.json"
    if not program.is_file():
        return f"there is no network at {origin['folder']} any more"
    same = hashlib.sha256(program.read_bytes()).hexdigest() == origin["network"]
    return None if same else f"the network at {origin['folder']} is another one now"


def lowered_again(origin: dict[str, Any], target: Target, options: TargetOptions) -> Netlist:
    """The netlist that today's lowering makes of the network that was compiled."""
    snn = SpikingModel.open(Path(origin["folder"]))
    return lower(snn.program, snn.timesteps, InputRange(*origin["range"]), target.form(options))
