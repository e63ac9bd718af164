"""
Phases: each leaves its artifact, so that a stopped run resumes where it was, to the same result.

A phase's folder counts only when its `phase.json` is there; that file is written last, whole, and holds the key the
artifact was made under: what was asked for, and the key of the phase before. Another key, or none: the phase runs again.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

from spikeloom.ir import Program, is_sharded, load, save, write_json

log = logging.getLogger(__name__)


@final
class Phases:
    """The phases of one run under `folder`. With `resume` finished ones are read back; without, everything is made anew."""

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.folder, self.key = folder, ""
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)

    def program(self, name: str, options: Mapping[str, Any], make: Callable[[], Program]) -> Program:
        """The program this phase makes: read back where it was finished under the same key, else made and saved. One that is saved in
        shards is given as it is read back: its tensors lie on disk from then on."""
        place, done = self._enter(name, options)
        if done:
            log.info("phase %s: resumed from %s", name, place)
            return load(place / "program")
        program = make()
        save(program, place / "program")
        self._leave(place)
        return load(place / "program") if is_sharded(place / "program") else program

    def place(self, name: str) -> Path:
        """The folder of a phase."""
        return self.folder / name

    def _enter(self, name: str, options: Mapping[str, Any]) -> tuple[Path, bool]:
        text = json.dumps([name, self.key, options], sort_keys=True, default=str)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        place = self.folder / name
        marker = place / "phase.json"
        return place, marker.is_file() and json.loads(marker.read_text()).get("key") == self.key

    def _leave(self, place: Path) -> None:
        write_json(place / "phase.json", {"key": self.key})
