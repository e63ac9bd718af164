"""
Placement: one network over several devices, by an Accelerate device map.

    {"model.layers.0": 0, "model.layers.1": 1, "lm_head": "cpu"}      the longest prefix of a tensor's name says where it lies

An operation runs where its weights are; populations, and whatever has no weights, where their input is. Values cross over where the next
operation runs elsewhere, outputs come back to where the inputs were. What the map leaves on "disk" is read from there when it is needed:
it stays a handle on its file.

Source: Accelerate's big model inference (https://huggingface.co/docs/accelerate/usage_guides/big_modeling).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from spikeloom.errors import ConfigError, ResourceError
from spikeloom.ir import Handle, Program

DeviceMap = Mapping[str, int | str]


def auto_map(program: Program, max_memory: Mapping[int | str, int | str] | None = None) -> dict[str, int | str]:
    """Accelerate's map of a program's tensors to the devices there are: whole blocks in turn, as much on each as it holds.

    `max_memory` is what each device may take (0: "20GiB"). Raises ResourceError where Accelerate is not installed.
    """
    try:
        from accelerate import infer_auto_device_map
    except ModuleNotFoundError as error:
        todo = "pip install 'spikeloom[large]', or give the map itself"
        raise ResourceError("a device map by itself needs the library 'accelerate'", found=str(error), todo=todo) from error
    found = infer_auto_device_map(_skeleton(program), dict(max_memory or {}) or None, no_split_module_classes=[_Block.__name__])
    return {name: device if isinstance(device, int) else str(device) for name, device in found.items()}


class _Part(nn.Module):
    """What a name's part before a dot stands for."""


class _Block(nn.Module):
    """One of several alike (its name is a number): it stays on one device."""


def _skeleton(program: Program) -> nn.Module:
    """Modules named as the program's tensors are, without any numbers in them."""
    root = _Part()
    for name, tensor in program.tensors.items():
        *parents, last = name.split(".")
        place: nn.Module = root
        for part in parents:
            if not hasattr(place, part):
                place.add_module(part, _Block() if part.isdigit() else _Part())
            place = getattr(place, part)
        kept = tensor.stored if isinstance(tensor, Handle) else tensor
        place.register_buffer(last, torch.empty(kept.shape, dtype=kept.dtype, device="meta"))
    return root


def device_of(name: str, devices: DeviceMap) -> torch.device | None:
    """Where a tensor lies by the longest prefix of its name that the map knows; None where it knows none."""
    parts = name.split(".")
    for end in range(len(parts), -1, -1):
        found = devices.get(".".join(parts[:end]))
        if found is not None:
            return torch.device("cuda", found) if isinstance(found, int) else torch.device("cpu" if found == "disk" else found)
    return None


def check_map(program: Program, devices: DeviceMap) -> None:
    """Raises ConfigError for a map that places none of the program's tensors, or names no device."""
    try:
        placed = [device_of(name, devices) for name in program.tensors]
    except RuntimeError as error:
        found = str(error).splitlines()[0]
        raise ConfigError("a device map names no device", found=found, allowed="cpu, disk, a number, cuda:<number>") from error
    if not any(placed):
        known = sorted({name.split(".")[0] for name in program.tensors if not name.startswith("spike_")})
        raise ConfigError("a device map places nothing", found=", ".join(map(str, devices)) or "an empty map", allowed=", ".join(known[:8]))


def placed(module: fx.GraphModule, devices: DeviceMap, home: torch.device) -> fx.GraphModule:
    """The module, changed: its tensors are where the map says, and values come to where they are read. Inputs and outputs are at `home`."""
    at: dict[fx.Node, torch.device] = {}
    copies: dict[tuple[fx.Node, torch.device], fx.Node] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            continue
        device = home if node.op in ("placeholder", "output") else _runs_at(node, at, devices, home)
        for operand in node.all_input_nodes:
            if operand.op == "get_attr" and operand not in at:
                at[operand] = device_of(str(operand.target), devices) or device
                _move(module, operand, at[operand])
            if at[operand] != device and "spec" in operand.meta:
                node.replace_input_with(operand, _copy(operand, device, copies))
        if node.op == "call_module":
            module.get_submodule(str(node.target)).to(device)
        at[node] = device
    module.graph.lint()
    module.recompile()
    return module


def _runs_at(node: fx.Node, at: Mapping[fx.Node, torch.device], devices: DeviceMap, home: torch.device) -> torch.device:
    constants = [device_of(str(operand.target), devices) for operand in node.all_input_nodes if operand.op == "get_attr"]
    values = [at[operand] for operand in node.all_input_nodes if operand.op != "get_attr"]
    return next((device for device in (*constants, *values) if device is not None), home)


def _copy(operand: fx.Node, device: torch.device, copies: dict[tuple[fx.Node, torch.device], fx.Node]) -> fx.Node:
    """The value on another device, made once."""
    if (operand, device) not in copies:
        with operand.graph.inserting_after(operand):
            copies[operand, device] = operand.graph.call_method("to", (operand, device))
    return copies[operand, device]


def _move(module: fx.GraphModule, constant: fx.Node, device: torch.device) -> None:
    *parents, last = str(constant.target).split(".")
    place = module.get_submodule(".".join(parents))
    tensor: Tensor = getattr(place, last)
    if tensor.device != device:
        moved = Handle(tensor.stored.to(device), tensor.dtype) if isinstance(tensor, Handle) else tensor.to(device)
        delattr(place, last)
        place.register_buffer(last, moved)
