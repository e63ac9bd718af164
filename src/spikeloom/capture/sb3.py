"""
`sb3:<zip>`: the acting network of a Stable-Baselines3 model (MlpPolicy of A2C, PPO, DQN, SAC, TD3, DDPG), read without running code.

    data         JSON; its values that are pickled (":serialized:") are never unpickled: what is printed beside them is read as text
    policy.pth   a state dict, by torch.load(weights_only=True)

The architecture is that of the tensors:

    A2C, PPO     [mlp_extractor.shared_net] → mlp_extractor.policy_net → action_net        tanh unless told
    DQN          q_net.q_net                                                                relu unless told
    SAC          actor.latent_pi → actor.mu, then tanh (generalised SDE: of outputs within ± clip_mean)
    TD3, DDPG    actor.mu, then tanh

Statistics of VecNormalize are a pickle: they are refused, and read of a `vecnormalize.npz` (mean, var, epsilon, clip_obs) beside the zip;
scale and offset go into the first layer, and observations are clipped where the statistics say.

Source: Raffin et al. 2021, JMLR 22(268) (Stable-Baselines3, `common/save_util.py`, `common/policies.py`).
"""

import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from spikeloom.capture.acting import Layer, activation_named, chain, continuous, discrete, opened_policy, rows_of, signal
from spikeloom.capture.opened import Opened, Request, existing_file, path_of, why
from spikeloom.errors import SourceError, UnsupportedError

DATA, POLICY = "data", "policy.pth"
MOST_BYTES = 1 << 30
"""A member of the zip that unpacks to more is refused."""
STATISTICS = ("vecnormalize.pkl", "vec_normalize.pkl")
ARCHIVE = "vecnormalize.npz"
NPZ = (
    "where you trust the pickle: v = VecNormalize.load(path, venv); numpy.savez('vecnormalize.npz', mean=v.obs_rms.mean, "
    "var=v.obs_rms.var, epsilon=v.epsilon, clip_obs=v.clip_obs), beside the zip"
)
KINDS = "MlpPolicy of A2C, PPO, DQN, SAC, TD3 or DDPG"
_NUMBER = re.compile(r"[-+]?(?:inf|nan|\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?)", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Head:
    """How a kind of algorithm acts: its layers, the activation between them where nobody says, and what squashes its outputs."""

    algorithm: str
    layers: list[Layer]
    activation: str
    squash: str
    limit: float | None = None


def open_sb3(target: str, request: Request) -> Opened:
    """The acting network of a zip. SourceError: no such file, a damaged one, or spaces it does not say; UnsupportedError: a policy of
    another architecture."""
    path = existing_file(path_of(target), "a zip of Stable-Baselines3")
    data, state = _data(path), _state(path)
    kwargs = _policy_kwargs(data)
    head = head_of(state, data, kwargs, str(path))
    said, name = _activation(kwargs, head)
    observation, action = _observation(data, path), _action(data, head, path)
    layers, seen = head.layers, observation
    if (statistics := _statistics(path)) is not None:
        layers, seen = normalised(head.layers, observation, statistics)
    told = {
        "observation": seen,
        "action": action,
        "environment": None,
        "algorithm": head.algorithm,
        "activation": name,
        "said": said,
    }
    return opened_policy(f"sb3:{target}", chain(layers, activation_named(name, str(path)), str(path)), f"{path}/{POLICY}", told)


def head_of(state: Mapping[str, Tensor], data: Mapping[str, Any], kwargs: Mapping[str, Any], where: str) -> Head:
    """How the tensors act. UnsupportedError lists them where they are of no architecture that is read here."""
    strange = sorted({key.rsplit(".", 1)[0] for key, value in state.items() if _is_extractor(key) and value.numel() > 0})
    if strange:
        found = f"a feature extractor with weights: {', '.join(strange[:6])}"
        raise UnsupportedError(f"{where} is no policy of plain layers", found=found, allowed=KINDS, todo="give the network itself: py:")
    if "action_net.weight" in state:
        layers = [*rows_of(state, "mlp_extractor.shared_net"), *rows_of(state, "mlp_extractor.policy_net"), *rows_of(state, "action_net")]
        squash = "tanh" if str(kwargs.get("squash_output")) == "True" else "clip"
        return Head("PPO" if "clip_range" in data else "A2C", _sound(layers, where), "tanh", squash)
    if any(key.startswith("q_net.q_net.") for key in state):
        return Head("DQN", _sound(rows_of(state, "q_net.q_net"), where), "relu", "argmax")
    if "actor.mu.weight" in state:
        layers = [*rows_of(state, "actor.latent_pi"), *rows_of(state, "actor.mu")]
        return Head("SAC", _sound(layers, where), "relu", "tanh")
    if any(key.startswith("actor.latent_pi.") for key in state):  # generalised SDE: mu is followed by a clip
        layers, limit = [*rows_of(state, "actor.latent_pi"), *rows_of(state, "actor.mu")], float(kwargs.get("clip_mean", 2.0))
        return Head("SAC", _sound(layers, where), "relu", "tanh", limit if limit > 0 else None)
    if any(key.startswith("actor.mu.") for key in state):
        name = "TD3" if "critic.qf1.0.weight" in state else "DDPG"
        return Head(name, _sound(rows_of(state, "actor.mu"), where), "relu", "tanh")
    raise UnsupportedError(f"{where} holds no policy that is known here", found=", ".join(sorted(state)[:8]) or "no tensors", allowed=KINDS)


def normalised(layers: list[Layer], observation: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[list[Layer], dict[str, Any]]:
    """Layers on observations as they come, for layers on clip((o - mean)/√(var + epsilon), ± clip_obs); and the signal that is clipped
    where that clips."""
    mean, scale = told["mean"].reshape(-1), np.sqrt(told["var"].reshape(-1) + told["epsilon"])
    weight, bias = (each.double() for each in layers[0])
    if len(mean) != weight.shape[1]:
        found, allowed = f"statistics of {len(mean)} numbers", f"{weight.shape[1]}"
        raise SourceError(f"{ARCHIVE} is of other observations than the policy's", found=found, allowed=allowed)
    folded = weight / torch.from_numpy(scale)
    first = (folded.float(), (bias - folded @ torch.from_numpy(mean)).float())
    low, high = mean - told["clip_obs"] * scale, mean + told["clip_obs"] * scale
    return [first, *layers[1:]], signal(observation["shape"], low.tolist(), high.tolist(), clipped=True)


def _is_extractor(key: str) -> bool:
    return "features_extractor" in key and not key.startswith(("critic", "q_net_target", "actor_target"))


def _sound(layers: list[Layer], where: str) -> list[Layer]:
    """The layers, where they are linear ones alone."""
    if not layers or any(weight.dim() != 2 for weight, _ in layers):
        raise UnsupportedError(f"{where} has layers that are not linear", found=[list(weight.shape) for weight, _ in layers], allowed=KINDS)
    return layers


def _member(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(name).file_size
            if size > MOST_BYTES:
                raise SourceError(f"{name} in {path} is too large", found=f"{size} bytes", allowed=f"{MOST_BYTES}")
            return archive.read(name)
    except KeyError as error:
        raise SourceError(
            f"{path} is no model of Stable-Baselines3", found=f"no member {name!r}", todo="give what model.save wrote"
        ) from error
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"{path} cannot be read", found=why(error), allowed="a zip, as model.save writes it") from error


def _data(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_member(path, DATA))
    except ValueError as error:
        raise SourceError(f"{DATA} in {path} is no JSON", found=why(error), todo="save the model again") from error
    if not isinstance(data, dict):
        raise SourceError(f"{DATA} in {path} is no JSON object", found=type(data).__name__)
    return data


def _state(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(io.BytesIO(_member(path, POLICY)), map_location="cpu", weights_only=True)
    except SourceError:
        raise
    except Exception as error:  # torch.load raises whatever its readers raise
        problem = f"{POLICY} in {path} is damaged, or holds more than tensors; none of it was run"
        raise SourceError(problem, found=why(error), allowed="a state dict: names and tensors") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise SourceError(f"{POLICY} in {path} is no state dict", found=type(loaded).__name__, allowed="names and tensors")
    return {str(key): value for key, value in loaded.items()}


def _policy_kwargs(data: Mapping[str, Any]) -> Mapping[str, Any]:
    found = data.get("policy_kwargs")
    return found if isinstance(found, dict) else {}


def _activation(kwargs: Mapping[str, Any], head: Head) -> tuple[str, str]:
    """(who says so, the activation's name)."""
    told = kwargs.get("activation_fn")
    if isinstance(told, Mapping):
        told = told.get(":type:") if told.get(":type:") not in (None, "<class 'type'>") else told.get("__module__")
    match = re.search(r"[\w.]+(?='>)|^\w+$", str(told)) if told is not None else None
    if match is None:
        return f"the default of {head.algorithm}: the file names none", head.activation
    return "policy_kwargs name the activation", match[0].rsplit(".", 1)[-1]


def _space(data: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    space = data.get(name)
    if not isinstance(space, dict) or not isinstance(space.get(":type:"), str):
        raise SourceError(f"{path} does not say its {name}", found=type(space).__name__, todo="save the model again with stable-baselines3")
    return space


def _observation(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    space = _space(data, "observation_space", path)
    shape = space.get("_shape") or space.get("shape")
    if not str(space[":type:"]).endswith("Box'>") or not isinstance(shape, list):
        raise UnsupportedError(f"the observations of {path} are no array of numbers", found=space[":type:"], allowed="a Box")
    count = math.prod(shape)
    return signal(shape, _bounds(space, "low", count, path), _bounds(space, "high", count, path))


def _action(data: Mapping[str, Any], head: Head, path: Path) -> dict[str, Any]:
    space = _space(data, "action_space", path)
    kind = str(space[":type:"])
    if kind.endswith("Discrete'>") and "Multi" not in kind:
        return discrete(_whole(space, "n", path), _whole(space, "start", path) if "start" in space else 0)
    shape = space.get("_shape") or space.get("shape")
    if not kind.endswith("Box'>") or not isinstance(shape, list) or len(shape) != 1:
        raise UnsupportedError(f"{path} takes actions that no policy here gives", found=kind, allowed="Discrete, or a Box of one axis")
    low, high = (_bounds(space, side, shape[0], path) for side in ("low", "high"))
    return continuous(low, high, head.squash, head.limit)


def _whole(space: Mapping[str, Any], key: str, path: Path) -> int:
    match = re.fullmatch(r"\s*(-?\d+)\s*", str(space.get(key)))
    if match is None:
        raise SourceError(f"{path} does not say how many actions there are", found=f"{key}: {space.get(key)}", allowed="a whole number")
    return int(match[1])


def _bounds(space: Mapping[str, Any], side: str, count: int, path: Path) -> list[float]:
    """Bounds as they are printed: an array, or, of a large one, the one number that all share."""
    for text in (space.get(side), space.get(f"{side}_repr")):
        if not isinstance(text, str) or "..." in text:
            continue
        numbers = [float(number) for number in _NUMBER.findall(text)]
        if len(numbers) in (1, count) and not any(math.isnan(number) for number in numbers):
            return numbers if len(numbers) == count else numbers * count
    raise SourceError(
        f"the bounds of a space in {path} cannot be read", found=f"{side}: {str(space.get(side))[:80]}", allowed=f"{count} numbers"
    )


def _statistics(path: Path) -> dict[str, Any] | None:
    """The statistics beside a zip, None where there are none. SourceError for a pickle alone."""
    archive = path.parent / ARCHIVE
    if not archive.is_file():
        pickled = [name for name in STATISTICS if (path.parent / name).is_file()]
        if pickled:
            found = f"{pickled[0]}, a pickle: loading it could run code"
            raise SourceError(f"the observations of {path} are normalised by statistics beside it", found=found, todo=NPZ)
        return None
    try:
        with np.load(archive, allow_pickle=False) as told:
            found = {key: np.asarray(told[key], np.float64) for key in ("mean", "var")}
            return {**found, "epsilon": float(told["epsilon"]), "clip_obs": float(told["clip_obs"])}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise SourceError(f"{archive} holds no statistics", found=why(error), allowed="mean, var, epsilon, clip_obs", todo=NPZ) from error
