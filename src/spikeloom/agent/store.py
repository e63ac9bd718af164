"""
An agent's state in a folder, exactly: what is loaded goes on as what was saved would have gone on.

    state.json                  the tree of values by kind and field; numbers in full; tensors by name; whatever else the caller tells
    tensors-<digest>.safetensors    tensors and arrays, the agent's generator among them

Values that are one and the same object stay one: an agent asks whether weights *are* those of its last trial. The JSON is written last and
names its tensors, so that a folder holds the state before or the state after, never a mixture. Nothing is unpickled, and only the kinds of
`KINDS` are made.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from spikeloom.agent.body import Body
from spikeloom.agent.critic import CriticState
from spikeloom.agent.diagnosis import Seen
from spikeloom.agent.features import Wires
from spikeloom.agent.forward import Flight
from spikeloom.agent.learning import Step
from spikeloom.agent.monitor import MonitorState
from spikeloom.agent.rules.guard import Decision
from spikeloom.agent.state import AgentState
from spikeloom.agent.tail import Weights
from spikeloom.agent.trials import Score, TrialState
from spikeloom.errors import InternalError, ProgramError
from spikeloom.ir import write_bytes, write_json
from spikeloom.plasticity import StepSizeState

FORMAT = "spikeloom-agent-1"
KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (AgentState, StepSizeState, CriticState, Wires, MonitorState, TrialState, Score, Step, Body, Flight, Seen, Decision)
}
"""What a state consists of beside tuples, arrays, tensors, numbers and None."""


@final
class Kept(NamedTuple):
    """What a folder holds: the state, plain data and arrays that were told with it."""

    state: AgentState
    told: Mapping[str, Any]
    rows: Mapping[str, ndarray]


def save_state(
    folder: Path,
    state: AgentState,
    known: Sequence[Weights] = (),
    told: Mapping[str, Any] | None = None,
    rows: Mapping[str, ndarray] | None = None,
) -> None:
    """The folder holds the state, in place of the one before. `known` are values that whoever loads it has: they are named, not written.
    ResourceError where the disk refuses; the earlier state stays."""
    packer = _Packer(known)
    tree = packer.packed(state)
    kept = packer.tensors | {f"row.{name}": _of(values) for name, values in (rows or {}).items()}
    data = save(kept)
    name = f"tensors-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    write_bytes(folder / name, data)
    write_json(folder / "state.json", {"format": FORMAT, "tensors": name, "known": _print(known), "told": dict(told or {}), "state": tree})
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load_state(folder: Path, known: Sequence[Weights] = ()) -> Kept:
    """The state in the folder, and what was told with it. ProgramError where the folder holds none that is whole, or one of an agent
    with other known values."""
    try:
        written = json.loads((folder / "state.json").read_text())
        if written.get("format") != FORMAT:
            raise ProgramError(f"{folder} holds no agent of this version", found=written.get("format"), allowed=FORMAT)
        if written["known"] != _print(known):
            raise ProgramError(f"the agent in {folder} began as another network", todo="give the network that it began as")
        tensors = load((folder / Path(written["tensors"]).name).read_bytes())
        state = _unpacked(written["state"], tensors, dict(enumerate(known)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ProgramError(f"the agent in {folder} cannot be read", found=error, todo="delete the folder and begin anew") from error
    if not isinstance(state, AgentState):
        raise ProgramError(f"the agent in {folder} cannot be read", found=type(state).__name__, allowed="AgentState")
    rows = {name.removeprefix("row."): values.clone().numpy() for name, values in tensors.items() if name.startswith("row.")}
    return Kept(state, written["told"], rows)


def copied(state: AgentState, known: Sequence[Weights] = ()) -> AgentState:
    """The state as it would be loaded, without a disk between: its tensors lie in memory as loaded ones do, so that whatever is computed
    from them is the same to the last bit."""
    packer = _Packer(known)
    tree = packer.packed(state)
    return _unpacked(tree, packer.tensors, dict(enumerate(known)))


@final
class _Packer:
    """A tree of values as JSON; every object once."""

    def __init__(self, known: Sequence[Weights]) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.places = {id(value): place for place, value in enumerate(known)}

    def packed(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, np.generic):
            return value.item()
        if id(value) in self.places:
            return {"same": self.places[id(value)]}
        told = self._new(value)
        number = self.places[id(value)] = len(self.places)
        if isinstance(value, Tensor | ndarray):
            self.tensors[str(number)] = _of(value)
        return {**told, "number": number}

    def _new(self, value: Any) -> dict[str, Any]:
        kind = type(value)
        if isinstance(value, Tensor | ndarray):
            return {"holds": "tensor" if isinstance(value, Tensor) else "array"}
        if kind is tuple:
            return {"holds": "tuple", "parts": [self.packed(part) for part in value]}
        if KINDS.get(kind.__name__) is not kind:
            raise InternalError(f"an agent's state holds a {kind.__name__}, which is not kept")
        return {"holds": kind.__name__, "fields": {name: self.packed(getattr(value, name)) for name in _fields(kind)}}


def _unpacked(told: Any, tensors: Mapping[str, Tensor], made: dict[int, Any]) -> Any:
    """The value of a tree; `made` are those with a number so far."""
    if not isinstance(told, dict):
        return told
    if "same" in told:
        return made[told["same"]]
    holds, number = told["holds"], told["number"]
    if holds in ("tensor", "array"):
        value: Any = tensors[str(number)].clone()
        value = value.numpy() if holds == "array" else value
    elif holds == "tuple":
        value = tuple(_unpacked(part, tensors, made) for part in told["parts"])
    else:
        value = KINDS[holds](**{name: _unpacked(part, tensors, made) for name, part in told["fields"].items()})
    made[number] = value
    return value


def _fields(kind: type[Any]) -> Sequence[str]:
    return [part.name for part in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else kind._fields


def _of(value: Tensor | ndarray) -> Tensor:
    """A tensor of its own, its numbers one after the other."""
    tensor = torch.from_numpy(np.array(value)) if isinstance(value, ndarray) else value.detach()
    return tensor.clone(memory_format=torch.contiguous_format)


def _print(known: Sequence[Weights]) -> str:
    """What tells known values from others."""
    digest = hashlib.sha256()
    for tensor in (tensor for weights in known for tensor in weights):
        digest.update(str(tuple(tensor.shape)).encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()
