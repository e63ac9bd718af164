"""
A folder of checkpoints belongs to one adaptation: what is gone on from is what was begun.
"""

import shutil
from collections.abc import Mapping
from json import loads
from pathlib import Path
from typing import Any

from spikeloom.errors import ConfigError, ProgramError
from spikeloom.ir import write_json


def prepare(folder: Path | None, agreed: Mapping[str, Any], *, resume: bool) -> None:
    """The folder of checkpoints belongs to this adaptation. ConfigError where it belongs to another one that is to be resumed."""
    if folder is None:
        return
    path = folder / "adaptation.json"
    if not resume:
        for old in folder.glob("seed-*"):
            shutil.rmtree(old, ignore_errors=True)
        write_json(path, agreed)
        return
    found = _read(path)
    different = sorted(name for name in {*agreed, *found} if agreed.get(name) != found.get(name))
    if different:
        raise ConfigError(
            f"the checkpoints in {folder} belong to another adaptation",
            found=", ".join(f"{name}={agreed.get(name)!r}" for name in different),
            allowed=", ".join(f"{name}={found.get(name)!r}" for name in different),
            todo="give the settings of that one, or begin anew without resuming",
        )


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError("there is nothing to go on from", found=f"no {path}", todo="begin anew, without resuming")
    try:
        return dict(loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ProgramError(f"{path} cannot be read", found=error, todo="begin anew, without resuming") from error
