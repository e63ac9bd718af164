"""
Cuts: the values alive at some places of one candidate's run, kept on disk, so that candidates which differ from it only behind such a
place need not run what stands before it.

    base-<digest>/cuts.json                  the candidate's genes, the places, and the events of what stands before each
    base-<digest>/<place>-<chunk>.safetensors
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spikeloom.errors import ResourceError
from spikeloom.ir import write_json

MOST = 8
"""How many cuts are kept of a base."""


def name_of_base(genes: Float[np.ndarray, " d"]) -> str:
    """The folder of a candidate's cuts."""
    return f"base-{hashlib.sha256(np.ascontiguousarray(genes, dtype=np.float64).tobytes()).hexdigest()[:16]}"


@final
class Cuts:
    """The cuts of one base, read from its folder."""

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "cuts.json").read_text())
        self.folder, self.genes = folder, np.asarray(told["genes"], dtype=np.float64)
        self.places: list[int] = told["places"]
        self._events: dict[str, dict[str, list[float]]] = told["events"]
        self._plain: dict[str, dict[str, Any]] = told["plain"]

    @staticmethod
    def opened(folder: Path) -> "Cuts":
        """The cuts in a folder, its list read once."""
        return _opened(folder, stamp(folder / "cuts.json"))

    def before(self, place: int) -> int | None:
        """The last cut at or before a place of the order; None where there is none."""
        return max((cut for cut in self.places if cut <= place), default=None)

    def events(self, place: int) -> dict[str, list[float]]:
        """The events that the populations before a cut sent, over all samples."""
        return self._events[str(place)]

    def values(self, place: int, chunk: int) -> dict[str, Any]:
        """The values alive at a cut, in memory of their own: as files align them, other kernels would give other last bits."""
        tensors = {name: tensor.clone() for name, tensor in load_file(self.folder / f"{place}-{chunk}.safetensors").items()}
        return {**tensors, **self._plain[f"{place}-{chunk}"]}


@lru_cache(maxsize=4)
def _opened(folder: Path, written: tuple[int, int]) -> Cuts:
    return Cuts(folder)


def stamp(path: Path) -> tuple[int, int]:
    """When a file was written, ns, and its bytes: another file of that name has another."""
    told = path.stat()
    return told.st_mtime_ns, told.st_size


@final
class Writer:
    """Writes the cuts of a base while it runs; `events` is filled in by who counts. Raises ResourceError where the disk refuses."""

    def __init__(self, parent: Path, genes: Float[np.ndarray, " d"], alive: Mapping[int, Sequence[str]]) -> None:
        self.folder, self.genes, self.alive = parent / name_of_base(genes), genes, dict(alive)
        self.plain, self.events = dict[str, dict[str, Any]](), dict[str, dict[str, list[float]]]()
        for old in parent.glob("base-*"):
            if old != self.folder:
                shutil.rmtree(old, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)

    def keep(self, place: int, chunk: int, values: Mapping[str, Any]) -> None:
        """The values alive at a place on one chunk; a place with values of another kind is kept no cut of."""
        if place not in self.alive:
            return
        held = {name: values[name] for name in self.alive[place]}
        tensors = {name: value.contiguous().clone() for name, value in held.items() if isinstance(value, Tensor)}
        plain = {name: value for name, value in held.items() if not isinstance(value, Tensor)}
        if not all(isinstance(value, int | float) for value in plain.values()):
            del self.alive[place]
            return
        self.plain[f"{place}-{chunk}"] = plain
        try:
            save_file(tensors, self.folder / f"{place}-{chunk}.safetensors")
        except (OSError, SafetensorError) as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise ResourceError(
                f"cannot write to {self.folder}", found=str(error), todo="free some disk space, or name another folder in TMPDIR"
            ) from error

    def done(self) -> str:
        """The list, written last; the name of the base."""
        body = {"genes": self.genes.tolist(), "places": sorted(self.alive), "events": self.events, "plain": self.plain}
        write_json(self.folder / "cuts.json", body)
        return self.folder.name
