"""
The state of a search: everything the next generation depends on, in one file that is written whole or not at all.

    state.safetensors    arrays (float64), and the rest as JSON in its header: no pickle, nothing of it is run

It counts only for the search it was written by: the key is made of the search's options and of the bench it runs on.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from spikeloom.errors import ProgramError
from spikeloom.ir import write_bytes

FILE = "state.safetensors"


@final
@dataclass(frozen=True)
class Written:
    """What a state file holds: arrays by name, and facts as JSON has them."""

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


def key_of(folder: Path, options: Mapping[str, Any]) -> str:
    """The key of a search with these options on the bench in a folder."""
    found = hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode())
    for name in ("bench.json", "data.safetensors", "program/program.json", "program/model.safetensors"):
        path = folder / name
        if path.is_file():
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def write_state(path: Path, key: str, written: Written) -> None:
    """Write a state. Raises ResourceError where the disk refuses; an earlier state stays as it was."""
    arrays = {name: np.ascontiguousarray(array, dtype=np.float64) for name, array in written.arrays.items()}
    write_bytes(path, save(arrays, {"key": key, "facts": json.dumps(dict(written.facts))}))


def read_state(path: Path, key: str) -> Written | None:
    """The state in a file; None where there is none, or another search's. Raises ProgramError for a file that is no state."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as opened:
            told = opened.metadata() or {}
            if told.get("key") != key:
                return None
            return Written({name: opened.get_tensor(name) for name in opened.keys()}, json.loads(told["facts"]))  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ProgramError(f"{path} is no state of a search", found=str(error), todo="delete it and search again") from error
