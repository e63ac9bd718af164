"""
State dicts: read from safetensors or from a torch file (`weights_only=True`: nothing of the file is executed), fitted to a model.

Keys may carry the prefixes that wrappers leave (`module.`, `model.`, `_orig_mod.`), and the dict may sit inside a training checkpoint.

Source: safetensors (https://huggingface.co/docs/safetensors); torch.load (https://docs.pytorch.org/docs/stable/generated/torch.load.html).
"""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spikeloom.capture.opened import existing_file, why
from spikeloom.errors import NumericError, SourceError

CONTAINERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "model.", "_orig_mod.")
SHOWN = 8


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """
    The tensors of a weights file by name, on the CPU.

    SourceError: no such file, not a weights file, truncated, or a pickle that holds more than tensors (none of it is executed).
    """
    existing_file(path, "a safetensors or state-dict file")
    with path.open("rb") as stream:
        head = stream.read(9)
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        return _read_torch(path)
    if len(head) == 9 and head[8:] == b"{":
        return _read_safetensors(path)
    raise SourceError(
        f"{path} is not a weights file", found=f"it begins with {head!r}", allowed="safetensors, or a state dict saved by torch.save"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise SourceError(f"{path} is a damaged safetensors file", found=why(error), todo="fetch or save it again") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    if _is_exported_program(path):
        raise SourceError(f"{path} is an exported program, not a state dict", todo=f"give it as the source: pt2:{path}")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its readers raise
        if not _is_refusal(error):
            raise SourceError(f"{path} is a damaged or unknown torch file", found=why(error), todo="fetch or save it again") from error
        raise SourceError(
            f"{path} holds more than tensors, so that it is not loaded: unpickling it could run code",
            found=_refused(error),
            allowed="a state dict: names and tensors",
            todo="where you trust the file, load it yourself and save `model.state_dict()` with safetensors.torch.save_file",
        ) from error
    state = _state_in(loaded)
    if not state:
        raise SourceError(
            f"{path} holds no tensors by name", found=type(loaded).__name__, allowed="a state dict, or a checkpoint with `state_dict`"
        )
    return state


def _is_exported_program(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/archive_format") for name in archive.namelist())
    except Exception:  # no zip, or a damaged one, on which zipfile raises many things: its reader will say so
        return False


def _is_refusal(error: Exception) -> bool:
    """Whether torch.load could read the file but would not: it holds more than tensors, or TorchScript."""
    return any(word in str(error) for word in ("Unsupported global", "Unsupported class", "Unsupported operand", "GLOBAL", "TorchScript"))


def _refused(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "Unsupported" in line or "GLOBAL" in line), lines[0] if lines else "a pickle")


def _state_in(loaded: Any) -> dict[str, Tensor]:
    """The tensors by name in what a torch file held: a state dict, or the one inside a checkpoint; empty where there is none."""
    if not isinstance(loaded, Mapping):
        return {}
    for key in CONTAINERS:
        inner = loaded.get(key)
        if isinstance(inner, Mapping) and inner:
            return _state_in(inner)
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def renamed(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """The state with the prefix dropped that every key shares and no wanted name has, again while there is one."""
    wanted, state = set(wanted), dict(state)
    while True:
        shared = (prefix for prefix in PREFIXES if state and all(key.startswith(prefix) for key in state))
        prefix = next((prefix for prefix in shared if not any(name.startswith(prefix) for name in wanted)), None)
        if prefix is None:
            return state
        state = {key.removeprefix(prefix): value for key, value in state.items()}


def mismatch(state: Mapping[str, Tensor], model: nn.Module) -> str | None:
    """What does not fit between a state and a model, a line for each kind; None where all fits (batch counters aside)."""
    own: Mapping[str, Any] = model.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    shapes = [
        f"{key} (file {list(state[key].shape)}, model {list(own[key].shape)})"
        for key in own
        if key in state and isinstance(own[key], Tensor) and state[key].shape != own[key].shape
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "of another shape": shapes}
    lines = [f"{len(keys)} {kind}: {', '.join(keys[:SHOWN])}{', …' if len(keys) > SHOWN else ''}" for kind, keys in kinds.items() if keys]
    return "\n    ".join(lines) or None


def load_weights(model: nn.Module, path: Path) -> None:
    """
    The model holds the weights of the file; its batch counters stay where the file has none.

    SourceError lists everything missing, unexpected and of another shape; NumericError names tensors with NaN or infinite values.
    """
    state = renamed(read_state_dict(path), model.state_dict())
    if problem := mismatch(state, model):
        raise SourceError(
            f"the weights in {path} do not fit {type(model).__name__}",
            found=f"\n    {problem}",
            todo="check that the architecture and its number of classes are those the weights were trained with, or train with --train",
        )
    check_finite(state, str(path))
    model.load_state_dict(state, strict=False)


def check_finite(state: Mapping[str, Any], where: str) -> None:
    """NumericError names every tensor (the first 8) that holds NaN or an infinity."""
    bad = {
        name: int((~value.isfinite()).sum())
        for name, value in state.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all())
    }
    if bad:
        named = ", ".join(f"{name} ({count} of {state[name].numel()})" for name, count in list(bad.items())[:SHOWN])
        more = f", and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        raise NumericError(
            f"the weights of {where} hold NaN or infinite values",
            found=named + more,
            todo="train the network again, or take an earlier checkpoint",
        )
