"""
Acting networks: a chain of linear layers with one activation between them, and what is told of their spaces.

    policy:<folder>   config.json (sizes, hidden_activation, output, env_id) and model.safetensors (layers.{i}.weight, layers.{i}.bias)

Spaces are JSON under "policy" in a source's settings: {"observation": {shape, low, high}, "action": {kind, …}, "environment", "algorithm",
"activation", "said"}, bounds that are infinite as null (`datasets.spaces`).
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spikeloom.capture.opened import Opened, Request, existing_file, path_of, why
from spikeloom.capture.weights import check_finite, read_state_dict
from spikeloom.errors import SourceError, UnsupportedError

TASK = "acting"
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "leakyrelu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
    "selu": nn.SELU,
    "celu": nn.CELU,
    "relu6": nn.ReLU6,
    "mish": nn.Mish,
    "identity": nn.Identity,
}
_SQUASHED = re.compile(r"action = ([0-9.]+) \* tanh\((?:clip\(output, ?-([0-9.]+), ?([0-9.]+)\)|output)\)")
_CLIPPED = re.compile(r"action = clip\(output, ?(-?[0-9.]+), ?(-?[0-9.]+)\)")
OUTPUTS = "argmax over outputs; action = S * tanh(output); action = S * tanh(clip(output,-L,L)); action = clip(output,A,B)"

Layer = tuple[Tensor, Tensor]


def activation_named(name: str, where: str) -> Callable[[], nn.Module]:
    """The activation of that name, however it is spelt. UnsupportedError: none of ours."""
    plain = name.rsplit(".", 1)[-1].replace("_", "").lower()
    if plain not in ACTIVATIONS:
        raise UnsupportedError(f"{where} has an activation that is not known here", found=name, allowed=", ".join(ACTIVATIONS))
    return ACTIVATIONS[plain]


def chain(layers: Sequence[Layer], activation: Callable[[], nn.Module], where: str) -> nn.Sequential:
    """Linear layers, (weight [o, i], bias [o]) each, with the activation between them; in eval mode. SourceError where one does not take
    what the one before gives."""
    modules = list[nn.Module]()
    for place, (weight, bias) in enumerate(layers):
        fits = weight.dim() == 2 and bias.shape == weight.shape[:1] and (place == 0 or weight.shape[1] == layers[place - 1][0].shape[0])
        if not fits:
            shapes = ", ".join(f"{list(each.shape)} + {list(beside.shape)}" for each, beside in layers)
            raise SourceError(f"the layers of {where} do not fit one another", found=shapes, allowed="weights [outputs, inputs] in a chain")
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = weight.float().clone(), bias.float().clone()
        modules += [activation(), linear] if place else [linear]
    return nn.Sequential(*modules).eval()


def discrete(count: int, start: int = 0) -> dict[str, Any]:
    """The space of one action among several."""
    return {"kind": "discrete", "count": count, "start": start}


def continuous(low: Sequence[float], high: Sequence[float], squash: str, limit: float | None = None) -> dict[str, Any]:
    """The space of a row of numbers."""
    return {"kind": "continuous", "size": len(low), "low": _finite(low), "high": _finite(high), "squash": squash, "limit": limit}


def signal(shape: Sequence[int], low: Sequence[float], high: Sequence[float], *, clipped: bool = False) -> dict[str, Any]:
    """The space of observations."""
    return {"shape": list(shape), "low": _finite(low), "high": _finite(high), "clipped": clipped}


def opened_policy(address: str, model: nn.Sequential, weights: str, told: Mapping[str, Any]) -> Opened:
    """A chain as a source that acts. Raises SourceError where its sizes are not those of its spaces, NumericError for weights that are
    not finite."""
    check_finite(model.state_dict(), address)
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    shape, action = tuple(told["observation"]["shape"]), told["action"]
    inputs, outputs = math.prod(shape), action["count"] if action["kind"] == "discrete" else action["size"]
    if (inputs, outputs) != (layers[0].in_features, layers[-1].out_features):
        found = f"{layers[0].in_features} inputs, {layers[-1].out_features} outputs"
        allowed = f"{inputs} inputs for observations {list(shape)}, {outputs} outputs"
        raise SourceError(f"the network of {address} does not fit its spaces", found=found, allowed=allowed)
    module = model if len(shape) == 1 else nn.Sequential(nn.Flatten(), *model).eval()
    return Opened(address, module, weights, shape, task=TASK, facts={"policy": dict(told)})


def open_policy(target: str, request: Request) -> Opened:
    """The policy in a folder. SourceError says what the folder or its config.json lacks; nothing of it is executed."""
    folder = path_of(target)
    config, weights = existing_file(folder / "config.json", "config.json"), existing_file(folder / "model.safetensors", "model.safetensors")
    told = _config(config)
    tensors = read_state_dict(weights)
    count = len(told["sizes"]) - 1
    wanted = [f"layers.{place}.{part}" for place in range(count) for part in ("weight", "bias")]
    if set(wanted) != set(tensors):
        raise SourceError(
            f"{weights} holds other layers than config.json says", found=", ".join(sorted(tensors)), allowed=", ".join(wanted)
        )
    layers = [(tensors[f"layers.{place}.weight"], tensors[f"layers.{place}.bias"]) for place in range(count)]
    model = chain(layers, activation_named(told["hidden_activation"], str(config)), str(weights))
    inputs, outputs = told["sizes"][0], told["sizes"][-1]
    spaces = {
        "observation": signal([inputs], [-math.inf] * inputs, [math.inf] * inputs),
        "action": _action(str(told["output"]), outputs, config),
        "environment": told.get("env_id"),
        "algorithm": told.get("algorithm"),
        "activation": told["hidden_activation"],
        "said": "config.json says the activation",
    }
    return opened_policy(f"policy:{target}", model, str(weights), spaces)


def _config(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read", found=why(error), todo="give the folder of a policy") from error
    sizes = told.get("sizes") if isinstance(told, dict) else None
    sound = isinstance(sizes, list) and len(sizes) > 1 and all(isinstance(size, int) and size > 0 for size in sizes)
    if not sound or told.get("type") != "mlp" or not isinstance(told.get("hidden_activation"), str) or "output" not in told:
        allowed = '{"type": "mlp", "sizes": [inputs, …, outputs], "hidden_activation": "relu", "output": "argmax over outputs"}'
        raise SourceError(f"{path} describes no policy", found=json.dumps(told)[:200], allowed=allowed)
    return told


def _action(output: str, size: int, path: Path) -> dict[str, Any]:
    """What config.json says is done with the outputs."""
    if output == "argmax over outputs":
        return discrete(size)
    if match := _SQUASHED.fullmatch(output):
        scale = float(match[1])
        if match[2] == match[3]:
            return continuous([-scale] * size, [scale] * size, "tanh", None if match[2] is None else float(match[2]))
    if match := _CLIPPED.fullmatch(output):
        return continuous([float(match[1])] * size, [float(match[2])] * size, "clip")
    raise SourceError(f"{path} does not say what becomes of the outputs in a way that is known here", found=output, allowed=OUTPUTS)


def _finite(bounds: Sequence[float]) -> list[float | None]:
    return [float(bound) if math.isfinite(bound) else None for bound in bounds]


def rows_of(state: Mapping[str, Tensor], prefix: str) -> list[Layer]:
    """The linear layers `prefix`.{i}.weight and .bias by ascending i, or `prefix`.weight and .bias. None where the state has none."""
    if f"{prefix}.weight" in state:
        return [(state[f"{prefix}.weight"], state.get(f"{prefix}.bias", torch.zeros(len(state[f"{prefix}.weight"]))))]
    places = sorted({int(key.split(".")[-2]) for key in state if re.fullmatch(re.escape(prefix) + r"\.\d+\.\w+", key)})
    return [
        (state[f"{prefix}.{place}.weight"], state.get(f"{prefix}.{place}.bias", torch.zeros(len(state[f"{prefix}.{place}.weight"]))))
        for place in places
    ]
