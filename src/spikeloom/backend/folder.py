"""
A compiled network is a folder, written whole or not at all:

    <the target's files>
    netlist.json, netlist.safetensors    the network in whole numbers
    golden.safetensors                   inputs and what the integer reference makes of them
    compiled.json                        target, options, what the target reports, how it compared
"""

import hashlib
import json
import shutil
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as arrays_of
from safetensors.numpy import save as bytes_of_arrays

from spikeloom.backend.target import Golden
from spikeloom.errors import ProgramError, ResourceError
from spikeloom.ir.hardware import Netlist, narrow, netlist_files

COMPILED = "compiled.json"


def golden_file(golden: Golden) -> bytes:
    """Inputs and outputs, each in the smallest type that holds it."""
    return bytes_of_arrays({"inputs": np.ascontiguousarray(narrow(golden.inputs)), "outputs": np.ascontiguousarray(narrow(golden.outputs))})


def load_golden(folder: Path) -> Golden:
    """The golden vectors of a compiled folder. Raises ProgramError where there are none."""
    try:
        kept = arrays_of((folder / "golden.safetensors").read_bytes())
        if len(kept["outputs"]) not in kept["inputs"].shape[:2]:
            raise ValueError(f"outputs of {len(kept['outputs'])} samples for inputs of shape {kept['inputs'].shape}")
        return Golden(kept["inputs"].astype(np.int64), kept["outputs"].astype(np.int64))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ProgramError("no golden vectors can be read", found=f"{folder}: {error}", todo="compile the network again") from error


def load_compiled(folder: Path) -> dict[str, Any]:
    """What compiled.json says. Raises ProgramError where the folder is no compiled network."""
    try:
        told = json.loads((folder / COMPILED).read_text())
        if not (isinstance(told, dict) and isinstance(told.get("target"), str) and _dicts(told, "options", "files")):
            raise ValueError("no target, options and files")
        if told.get("lowered") is not None and not {"folder", "network", "range"} <= set(told["lowered"]):
            raise ValueError("not what was lowered")
        return told
    except (OSError, ValueError, TypeError) as error:
        todo = "give a folder that `spikeloom compile` wrote"
        raise ProgramError(f"{folder} is no compiled network", found=f"no readable {COMPILED}", todo=todo) from error


def _dicts(told: dict[str, Any], *names: str) -> bool:
    return all(isinstance(told.get(name), dict) for name in names)


def files_of(netlist: Netlist, golden: Golden, emitted: Mapping[str, bytes]) -> dict[str, bytes]:
    """Everything of a compiled network but compiled.json."""
    return {**emitted, **netlist_files(netlist), "golden.safetensors": golden_file(golden)}


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """SHA-256 of every file, by path."""
    return {path: hashlib.sha256(files[path]).hexdigest() for path in sorted(files)}


@contextmanager
def written_whole(folder: Path) -> Generator[Path]:
    """A new folder to write in, that takes the place of `folder` once everything is written; an error leaves what was there. Raises
    ResourceError where the disk refuses, or where `folder` holds something else than a compiled network."""
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / COMPILED).is_file())):
        raise ResourceError(f"{folder} holds something else", found="no compiled network", todo="choose another --output-dir")
    temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        old = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:8]}-old"
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise ResourceError(f"cannot write to {folder}", found=error.strerror or error, todo="choose another --output-dir") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """The files, by path, in a folder that is there."""
    for path, content in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
