"""
A continual learner on disk: it goes on from there exactly as if it had never stopped.

    start/                the network it began with, ready to adapt, as any saved network
    learner.safetensors   all that changes as it learns; in the file's metadata, as JSON, the rules, the seed and the counters

The file is written whole or not at all. No generator is saved: what is drawn is a function of the seed and the number of labels seen.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spikeloom.errors import ProgramError
from spikeloom.ir import Program, Quantised, read, text
from spikeloom.simulate import SpikingModel
from spikeloom.train.checkpoint import write_whole
from spikeloom.train.contexts import Place
from spikeloom.train.continual import ContinualLearner, Tally
from spikeloom.train.homeostasis import Trace
from spikeloom.train.local_rules import LocalRules, adaptable
from spikeloom.train.readout import Memory, Readout
from spikeloom.train.trial import Evidence
from spikeloom.train.worlds import World

FORMAT = "spikeloom-continual-2"
START, FILE = "start", "learner.safetensors"


def save_learner(learner: ContinualLearner, folder: Path) -> None:
    """The learner in `folder`, in place of one that was there. Raises ResourceError where the disk is full or cannot be written."""
    mark, where = digest(learner.start.program), folder / START
    if not where.exists() or _header(folder).get("start") != mark:
        learner.start.save(where)
    header = {
        "format": FORMAT,
        "start": mark,
        "rules": learner.rules.as_json(),
        "seed": learner.seed,
        "labels": learner.memory.labels,
        "tally": asdict(learner.tally),
        "readout": {key: getattr(learner.readout, key) for key in ("constant", "margin", "off", "grown_up")},
        "worlds": [_told(world) for world in learner.worlds],
    }
    tensors = {name: value.detach().clone().contiguous() for name, value in _tensors(learner).items()}
    write_whole(folder / FILE, save(tensors, metadata={"learner": json.dumps(header)}))


def resume_learner(folder: Path) -> ContinualLearner:
    """The learner saved in `folder`. Executes nothing from it; raises ProgramError where it is none, or not whole."""
    header = _header(folder)
    if header.get("format") != FORMAT:
        found = header.get("format", "no learner")
        raise ProgramError(f"{folder} holds no learner of this version", found=found, allowed=FORMAT, todo="begin anew")
    start = aligned(SpikingModel.open(folder / START))
    if digest(start.program) != header["start"]:
        raise ProgramError(f"{folder} holds another network than the learner began with", found=START, todo="begin anew")
    with safe_open(folder / FILE, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
    rules = LocalRules.from_json(header["rules"])
    per = "channel" if rules.homeostasis is None else rules.homeostasis.per
    network = adaptable(start.program, start.timesteps, per)
    names = [knob.population for knob in network.knobs]
    try:
        worlds = [_world(tensors, number, told, names) for number, told in enumerate(header["worlds"])]
        meant = {name: _trace(tensors, f"meant.{name}") for name in names}
        readout = Readout(weight=tensors["readout.weight"], filter=tensors["readout.filter"], **header["readout"])
        memory = Memory(tensors["memory.x"], tensors["memory.y"], header["labels"])
    except KeyError as error:
        raise ProgramError(f"the learner in {folder} is not whole", found=f"no tensor {error}", todo="begin anew") from error
    told: dict[str, Any] = {"start": start, "network": network, "rules": rules, "seed": header["seed"], "spread": tensors["spread"]}
    return ContinualLearner(**told, meant=meant, readout=readout, worlds=worlds, memory=memory, tally=Tally(**header["tally"]))


def aligned(snn: SpikingModel) -> SpikingModel:
    """The network with its tensors where the allocator puts them: sums over numbers that lie anywhere may differ in their last bit."""
    moved = {name: value if isinstance(value, Quantised) else read(value).clone() for name, value in snn.program.tensors.items()}
    return SpikingModel(snn.program.replaced(tensors=moved), timesteps=snn.timesteps, ann=snn.ann, control=snn.control)


def digest(program: Program) -> str:
    """A digest of a program's graph and tensors."""
    total = hashlib.sha256(text(program).encode())
    for name in sorted(program.tensors):
        total.update(read(program.tensors[name]).contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:16]


def _told(world: World) -> dict[str, Any]:
    return {"samples": world.samples, "members": world.place.members, "evidence": list(world.evidence)}


def _tensors(learner: ContinualLearner) -> dict[str, Tensor]:
    made = {"spread": learner.spread, "readout.weight": learner.readout.weight, "readout.filter": learner.readout.filter}
    made |= {"memory.x": learner.memory.x, "memory.y": learner.memory.y}
    made |= _of_traces("meant", learner.meant)
    for number, world in enumerate(learner.worlds):
        first = f"world.{number}"
        made |= {f"{first}.centre": world.place.centre, f"{first}.recent": world.place.recent}
        made |= _of_traces(first, world.traces)
        for kind, knobs in (("gain", world.gains), ("shift", world.shifts)):
            made |= {f"{first}.{name}.{kind}": value for name, value in knobs.items()}
    return made


def _of_traces(first: str, traces: Mapping[str, Trace]) -> dict[str, Tensor]:
    return {f"{first}.{name}.{part}": getattr(trace, part) for name, trace in traces.items() for part in Trace._fields}


def _trace(tensors: Mapping[str, Tensor], first: str) -> Trace:
    return Trace(tensors[f"{first}.mean"], tensors[f"{first}.square"])


def _world(tensors: Mapping[str, Tensor], number: int, told: Mapping[str, Any], names: list[str]) -> World:
    first = f"world.{number}"
    place = Place(tensors[f"{first}.centre"], tensors[f"{first}.recent"], told["members"])
    traces = {name: _trace(tensors, f"{first}.{name}") for name in names}
    gains, shifts = ({name: tensors[f"{first}.{name}.{kind}"] for name in names} for kind in ("gain", "shift"))
    return World(place, told["samples"], traces, gains, shifts, Evidence(*told["evidence"]))


def _header(folder: Path) -> dict[str, Any]:
    """The metadata of a saved learner; empty where there is none. Raises ProgramError for a file that cannot be read."""
    if not (folder / FILE).exists():
        return {}
    try:
        with safe_open(folder / FILE, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("learner", "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise ProgramError(f"the learner in {folder} cannot be read", found=error, todo="begin anew in another folder") from error
