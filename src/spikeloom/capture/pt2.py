"""
`pt2:<file>`: programs saved by torch.export, read as plain data: JSON and raw bytes. Nothing in the archive is unpickled or executed.

What torch lays into an archive, and what is done with it here:

    models/<name>.json, */<name>_*_config.json      JSON; read by `pt2_graph` and below
    data/weights/weight_*, data/constants/tensor_*  raw bytes, unless the configuration says they are pickled
    data/sample_inputs/<name>.pt                    a pickle; loaded weights_only, which gives tensors or refuses
    data/constants/custom_obj_*, opaque_obj_*       pickles
    data/weights/<name>.pt, serialized_*.pt         pickles of older torches
    data/aotinductor/                               compiled code; never touched
    extra/, .data/, byteorder, archive_*            not read; torch does not unpickle them either

An archive with pickled payloads that weights_only refuses, or that torch would load without it, is refused as a whole, unless the user
trusts it: then torch.export.load reads it.

Source: torch/export/pt2_archive/_package.py of torch 2.13.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from spikeloom.capture.opened import Opened, Request, existing_file, path_of, why
from spikeloom.capture.pt2_graph import DAMAGES, DTYPES, Taken, qualified, read_graph
from spikeloom.errors import SourceError, UserError

Members = Mapping[str, bytes]
LEGACY = "serialized_exported_program.json"
PROTOCOL = 5  # the highest a pickle can begin with


def open_pt2(target: str, request: Request) -> Opened:
    """
    The module of an exported program, with example inputs of its own shapes.

    SourceError: no such file, damaged, pickled payloads without `allow_pickle`, exported in training mode; UnsupportedError: operations
    outside the allow-list.
    """
    path = existing_file(path_of(target), "an archive saved by torch.export.save")
    if request.allow_pickle:
        return _trusted(path)
    members = _members(path)
    try:
        _refuse_pickles(path, members)
        return _opened(path, members)
    except DAMAGES as error:
        todo = "save it again with torch.export.save of torch 2.13"
        raise SourceError(f"{path} is a damaged archive", found=why(error), todo=todo) from error


def _refuse_pickles(path: Path, members: Members) -> None:
    if pickles := pickled(members):
        raise SourceError(
            f"{path} holds pickled payloads, which can run code when they are loaded",
            found=", ".join(pickles[:8]) + (f", and {len(pickles) - 8} more" if len(pickles) > 8 else ""),
            allowed="JSON, raw tensors, and sample inputs that are tensors only",
            todo="where you trust the file give --allow-pickle; else have it saved again by torch.export.save of torch 2.13",
        )


def _members(path: Path) -> Members:
    """The contents of an archive by name, its root folder dropped. SourceError: no archive, damaged, or two members of one name."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            wanted = {_without_root(info.filename): info for info in infos}
            if not wanted.keys() & {"archive_format", LEGACY}:
                raise zipfile.BadZipFile("a zip without archive_format")
            if len(wanted) != len(infos):
                raise SourceError(f"{path} holds two members of one name", todo="do not trust this file")
            return {name: archive.read(info) for name, info in wanted.items() if not name.startswith("data/aotinductor/")}
    except UserError:
        raise
    except Exception as error:  # zipfile raises many things on a damaged archive
        raise SourceError(f"{path} is not an archive of torch.export, or a damaged one", found=why(error), todo="save it again") from error


def _without_root(name: str) -> str:
    return name.partition("/")[2] or name


def pickled(members: Members) -> list[str]:
    """The members that torch would unpickle and that hold, or may hold, more than tensors. Executes nothing."""
    raw = {f"data/{kind}/{said['path_name']}" for kind, said in _payloads(members) if not said.get("use_pickle", True)}
    return sorted(name for name, data in members.items() if name not in raw and _is_pickle(name, data) and not _is_plain_sample(name, data))


def _payloads(members: Members) -> list[tuple[str, Mapping[str, Any]]]:
    """What the configurations say of each weight and constant, with the kind it is."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for kind in ("weights", "constants"):
        for name, data in members.items():
            if name.startswith(f"data/{kind}/") and name.endswith("_config.json"):
                found += [(kind, said) for said in json.loads(data)["config"].values()]
    return found


def _is_pickle(name: str, data: bytes) -> bool:
    if name.startswith(("extra/", ".data/")):
        return False
    if name.startswith(("data/weights/", "data/constants/")) and not name.endswith("_config.json"):
        return True  # not named as raw by the configuration
    return data[:4] == b"PK\x03\x04" or (len(data) > 1 and data[0] == 0x80 and data[1] <= PROTOCOL) or name.endswith((".pt", ".pkl"))


def _is_plain_sample(name: str, data: bytes) -> bool:
    return name.startswith("data/sample_inputs/") and _samples(data) is not None


def _samples(data: bytes) -> list[Any] | None:
    """The leaves of an archive's sample inputs; None where weights_only refuses them."""
    try:
        return pytree.tree_leaves(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except Exception:  # whatever the restricted reader stumbles over is refused alike
        return None


def _opened(path: Path, members: Members) -> Opened:
    models = [name for name in members if name.startswith("models/") and name.endswith(".json")]
    if len(models) != 1:
        found = models or "no models/*.json"
        raise SourceError(
            f"{path} holds no program, or several", found=found, allowed="one", todo="save one program with torch.export.save"
        )
    graph, taken = read_graph(json.loads(members[models[0]]))
    model = models[0].removeprefix("models/").removesuffix(".json")
    tensors = _tensors(members, "weights", model) | _tensors(members, "constants", model)
    module = fx.GraphModule(dict[str, Any](tensors), graph)
    samples = _samples(members.get(f"data/sample_inputs/{model}.pt", b""))
    return Opened(f"pt2:{path}", module.eval(), str(path), example=_example(taken, samples))


def _tensors(members: Members, kind: str, model: str) -> dict[str, Tensor]:
    config = json.loads(members[f"data/{kind}/{model}_{kind}_config.json"])["config"]
    return {qualified(name): _tensor(members[f"data/{kind}/{said['path_name']}"], said) for name, said in config.items()}


def _tensor(data: bytes, said: Mapping[str, Any]) -> Tensor:
    meta = said["tensor_meta"]
    dtype = DTYPES[meta["dtype"]]
    sizes, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
    flat = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
    try:
        tensor = flat.as_strided(sizes, strides, int(meta["storage_offset"]["as_int"]))
    except RuntimeError as error:
        raise ValueError(f"{said['path_name']}: {error}") from error
    return nn.Parameter(tensor, requires_grad=meta["requires_grad"]) if said["is_param"] and tensor.is_floating_point() else tensor


def _example(taken: tuple[Taken, ...], samples: list[Any] | None) -> tuple[Tensor, ...]:
    """Inputs to run the program with: its own samples where they are tensors of its shapes, else random floats and zeros."""
    tensors = [sample for sample in samples or [] if isinstance(sample, Tensor)]
    if [tuple(sample.shape) for sample in tensors] == [one.example for one in taken]:
        return tuple(tensors)
    generator = torch.Generator().manual_seed(0)
    floating = [one.dtype.is_floating_point for one in taken]
    return tuple(
        torch.randn(one.example, generator=generator).to(one.dtype) if is_float else torch.zeros(one.example, dtype=one.dtype)
        for one, is_float in zip(taken, floating, strict=True)
    )


def _trusted(path: Path) -> Opened:
    """The program as torch itself reads it, unpickling what is pickled."""
    try:
        with path.open("rb") as stream:
            exported = torch.export.load(io.BytesIO(stream.read()))
    except Exception as error:  # unpickling can raise anything
        raise SourceError(
            f"{path} cannot be loaded by torch {torch.__version__}", found=why(error), todo="save it again with this torch"
        ) from error
    args, kwargs = exported.example_inputs or ((), {})
    return Opened(f"pt2:{path}", exported.module(check_guards=False), str(path), example=tuple(pytree.tree_leaves((args, kwargs))))
