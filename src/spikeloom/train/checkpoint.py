"""
Checkpoints of training: one safetensors file, whole or not there, that holds all a later process needs to go on to the same end.

Tensors are the model's and the optimiser's; the header's metadata holds, as JSON, the position and the settings. No generator is saved:
every random number is a function of the seed and the position. Nothing is unpickled.
"""

import errno
import json
import os
from contextlib import suppress
from dataclasses import Field, asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from spikeloom.errors import ConfigError, ProgramError, ResourceError

FORMAT = "spikeloom-training-1"
MODEL, OPTIMISER = "model.", "optimiser."


@runtime_checkable
class Place(Protocol):
    """How far a training has come: a dataclass of what JSON can hold."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


def write_whole(path: Path, data: bytes) -> None:
    """The file holds `data`; before that it held what it held. ResourceError where the disk is full or cannot be written."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ResourceError(
            f"the checkpoint {path} cannot be written",
            found="the disk is full" if full else error,
            todo="free space or choose another folder",
        ) from error


def save_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, position: Place, settings: dict[str, Any]) -> None:
    """The checkpoint lies at `path`, in place of the one before. ResourceError as `write_whole`."""
    tensors = {f"{MODEL}{name}": value for name, value in model.state_dict().items()}
    scalars: dict[str, Any] = {}
    for number, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"{OPTIMISER}{number}.{name}"] = value
    header = {"format": FORMAT, "position": asdict(position), "settings": settings, "scalars": scalars}
    separate = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    write_whole(path, save(separate, metadata={"training": json.dumps(header)}))


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, settings: dict[str, Any]) -> dict[str, Any]:
    """
    Model and optimiser are as they were when the checkpoint was written; the fields of the position are given back.

    ProgramError where the file is truncated or not ours; ConfigError names the setting that differs from what the checkpoint was made with.
    """
    header, tensors = _read(path)
    found = header["settings"]
    different = sorted(key for key in {*settings, *found} if settings.get(key) != found.get(key))
    if different:
        raise ConfigError(
            f"the checkpoint {path} belongs to another training",
            found=", ".join(f"{key}={settings.get(key)!r}" for key in different),
            allowed=", ".join(f"{key}={found.get(key)!r}" for key in different),
            todo="train with the settings of the checkpoint, or start anew without --resume",
        )
    state: dict[int, dict[str, Any]] = {}
    saved = {name: value for name, value in tensors.items() if name.startswith(OPTIMISER)}
    for key, value in {**saved, **header["scalars"]}.items():
        number, _, name = key.removeprefix(OPTIMISER).partition(".")
        state.setdefault(int(number), {})[name] = value
    try:
        model.load_state_dict({name.removeprefix(MODEL): value for name, value in tensors.items() if name.startswith(MODEL)})
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    except (RuntimeError, ValueError, KeyError) as error:
        raise ProgramError(f"the checkpoint {path} does not fit the model", found=error, todo="start anew without --resume") from error
    return header["position"]


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a checkpoint. ProgramError where it is none."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("training", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError) as error:
        raise ProgramError(
            f"the checkpoint {path} cannot be read", found=error, todo="delete it, or start anew without --resume"
        ) from error
    if header.get("format") != FORMAT:
        raise ProgramError(f"{path} is no checkpoint of this version", found=header.get("format"), allowed=FORMAT)
    return header, tensors
