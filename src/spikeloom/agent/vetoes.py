"""
Vetoes in a file: a line of JSON for each, appended while life goes on, so that memory holds only the last ones.

    {"when": "lived", "seed": 0, "step": 12, "environment": 3, "guard": …, "observation": {…}, "wanted": …, "taken": …}

A checkpoint says how many bytes there were: whoever goes on from it cuts off what was written later, since that happens again.
"""

import json
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np

from spikeloom.agent.rules.guard import Guard, Log, Veto
from spikeloom.datasets.spaces import Action, Discrete
from spikeloom.errors import ProgramError, ResourceError

WAITING = 1000
"""Vetoes that are written at once."""


def worded(veto: Veto, guard: Guard, action: Action) -> dict[str, Any]:
    """A veto in words."""
    names, start = guard.features.names, action.start if isinstance(action, Discrete) else 0

    def said(done: int | tuple[float, ...]) -> Any:
        return names.actions[done - start] if isinstance(done, int) else dict(zip(names.actions, done, strict=True))

    return {
        "step": veto.step,
        "environment": veto.environment,
        "guard": veto.rule,
        "observation": dict(zip(names.observations, (float(np.float32(v)) for v in veto.observation), strict=True)),
        "wanted": said(veto.wanted),
        "taken": said(veto.taken),
    }


@final
class VetoFile:
    """The file of what a guard takes, from its first `size` bytes on; `facts` stand before each line. Without a path, or a guard, nothing
    is written. ResourceError where the disk refuses, ProgramError where the file is shorter than that."""

    def __init__(self, path: Path | None, guard: Guard | None, action: Action, facts: Mapping[str, Any], size: int = 0) -> None:
        self.path, self.guard, self.action, self.facts = path if guard is not None else None, guard, action, dict(facts)
        self.size, self.waiting = size, list[str]()
        if self.path is not None:
            _cut(self.path, size)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file, where there is one."""
        return () if self.path is None else (self.path,)

    def log(self, keep: int = 0, told: Mapping[str, Any] | None = None) -> Log | None:
        """A log of the guard whose vetoes go to the file; `keep` of them, and what it was `told`, as `Log` has it. None without a guard."""
        return None if self.guard is None else Log(self.guard, keep, told, self.add)

    def add(self, veto: Veto) -> None:
        """One veto more."""
        if self.path is None or self.guard is None:
            return
        self.waiting.append(json.dumps(self.facts | worded(veto, self.guard, self.action)) + "\n")
        if len(self.waiting) >= WAITING:
            self.flush()

    def flush(self) -> int:
        """All of it is on the disk: its size in bytes."""
        if self.path is not None and self.waiting:
            with _writing(self.path, "ab") as file:
                self.size += file.write("".join(self.waiting).encode())
            self.waiting.clear()
        return self.size


def joined(paths: Sequence[Path], path: Path) -> None:
    """One file after the other in `path`, which is the earlier one until all of it is there."""
    made = path.with_name(f"{path.name}.part")
    with _writing(made, "wb") as file:
        for each in paths:
            with each.open("rb") as part:
                shutil.copyfileobj(part, file)
    made.replace(path)


def _cut(path: Path, size: int) -> None:
    """The file's first bytes alone. ProgramError where there are fewer."""
    there = path.stat().st_size if path.is_file() else 0
    if there < size:
        todo = "begin anew, without resuming"
        raise ProgramError(f"{path} is not what its checkpoint says", found=f"{there} bytes", allowed=f"{size} or more", todo=todo)
    with _writing(path, "ab") as file:
        file.truncate(size)


@contextmanager
def _writing(path: Path, mode: str) -> Generator[Any]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode) as file:
            yield file
    except OSError as error:
        found, todo = error.strerror or str(error), "free some disk space or choose another folder"
        raise ResourceError(f"cannot write {path}", found=found, todo=todo) from error
