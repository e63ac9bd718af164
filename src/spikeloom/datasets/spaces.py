"""
What a policy reads and what it does: its observations and actions as plain values, and actions from a network's outputs o.

    discrete    a = start + argmax o                                                              (1)
    continuous  a = clip(o, low, high)                                                            (2)
                a = low + (high - low)·(tanh(clip(o, -limit, limit)) + 1)/2, where it is squashed (3)

As JSON they lie in a program's settings under "policy": {"observation": {shape, low, high}, "action": {kind, …}, …}, bounds that are
infinite as null.

Sources: (3) is the acting head of SAC (arXiv 1812.05905) as Stable-Baselines3 has it; spaces are those of Gymnasium (arXiv 2407.17032).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.errors import DataError

Squash = Literal["clip", "tanh"]
CLOSE = 1e-4
"""Bounds of actions that differ by less of their size are the same."""
NEAR = 0.05
"""Actions that differ by at most this part of their range are the same decision."""


@final
@dataclass(frozen=True)
class Signal:
    """Observations of a shape, each number within [low, high] (in the order of the flattened shape; infinite where it has no bound).

    Numbers outside count as the bound where the policy was taught so (`clipped`); else they are taken as they are."""

    shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    clipped: bool = False


@final
@dataclass(frozen=True)
class Discrete:
    """One of `count` actions, numbered from `start`; the network has an output for each (1)."""

    count: int
    start: int = 0


@final
@dataclass(frozen=True)
class Continuous:
    """`size` numbers within [low, high] each, an output for each: clipped (2), or squashed by tanh (3) with outputs beyond ± `limit`
    counting as these."""

    size: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    squash: Squash = "clip"
    limit: float | None = None


Action = Discrete | Continuous
Spaces = tuple[Signal, Action]


def spaces_of(facts: Mapping[str, Any]) -> Spaces:
    """The spaces in a program's settings (its "policy"). DataError where it is none that acts."""
    told = facts.get("policy")
    if not isinstance(told, Mapping) or "observation" not in told or "action" not in told:
        raise DataError(
            f"{facts.get('source', 'this network')} does not say what it observes and does",
            todo="convert a policy from sb3:<zip> or policy:<folder>, or name the environment whose spaces it has",
        )
    seen, done = told["observation"], told["action"]
    signal = Signal(tuple(seen["shape"]), _bounds(seen["low"], -1), _bounds(seen["high"], 1), bool(seen.get("clipped", False)))
    if done["kind"] == "discrete":
        return signal, Discrete(int(done["count"]), int(done.get("start", 0)))
    low, high = _bounds(done["low"], -1), _bounds(done["high"], 1)
    return signal, Continuous(int(done["size"]), low, high, done["squash"], done["limit"])


def facts_of(signal: Signal, action: Action) -> dict[str, Any]:
    """Spaces as JSON: `spaces_of` backwards."""
    seen = {"shape": list(signal.shape), "low": _finite(signal.low), "high": _finite(signal.high), "clipped": signal.clipped}
    if isinstance(action, Discrete):
        return {"observation": seen, "action": {"kind": "discrete", "count": action.count, "start": action.start}}
    bounds = {"low": _finite(action.low), "high": _finite(action.high), "squash": action.squash, "limit": action.limit}
    return {"observation": seen, "action": {"kind": "continuous", "size": action.size, **bounds}}


def check_same(policy: Spaces, environment: Spaces, name: str) -> None:
    """Nothing where a policy can act in an environment of these spaces; else one DataError of all that is different. Bounds of
    observations may differ: a network reads what it is given."""
    (seen, done), (shown, taken) = policy, environment
    wrong = list[tuple[str, str]]()
    if seen.shape != shown.shape:
        wrong.append((f"observations of shape {shown.shape}", f"observations of shape {seen.shape}"))
    if not _same(done, taken):
        wrong.append((worded(taken), worded(done)))
    if wrong:
        found, allowed = ("; ".join(words) for words in zip(*wrong, strict=True))
        raise DataError(
            f"the environment {name} has other spaces than the policy",
            found=found,
            allowed=allowed,
            todo="name the environment it was made for",
        )


def worded(action: Action) -> str:
    """Actions in a few words."""
    if isinstance(action, Discrete):
        return f"{action.count} actions from {action.start}"
    return f"{action.size} numbers within {list(action.low)} and {list(action.high)}"


def _same(policy: Action, other: Action) -> bool:
    if isinstance(policy, Discrete) or isinstance(other, Discrete):
        return policy == other
    if policy.size != other.size:
        return False
    return all(np.allclose(ours, theirs, rtol=CLOSE) for ours, theirs in ((policy.low, other.low), (policy.high, other.high)))


def readable(observations: ndarray, signal: Signal) -> Float[ndarray, "e ..."]:
    """Observations as float32 [E, ...], within the signal's bounds where it is clipped. DataError where they have another shape than the
    signal's, or hold what is no number."""
    x = np.ascontiguousarray(observations, np.float32)
    if x.ndim == 0 or x.shape[1:] != signal.shape:
        raise DataError("observations have another shape than the policy's", found=x.shape, allowed=("environments", *signal.shape))
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))[0])
        raise DataError(
            "observations hold what is no number",
            found=f"environment {row}: {x[row].tolist()}",
            todo="mend the environment, or what wraps it: a policy has no answer to NaN or infinity",
        )
    if signal.clipped:
        low, high = (np.asarray(bound, np.float32).reshape(signal.shape) for bound in (signal.low, signal.high))
        return x.clip(low, high)
    return x


def acted(outputs: Float[Tensor, "e k"], action: Action) -> Num[ndarray, "e *k"]:
    """(1) as int64 [E]; (2) or (3) as float32 [E, k]."""
    if isinstance(action, Discrete):
        return outputs.argmax(1).numpy() + action.start
    low, high = (torch.tensor(bound, dtype=torch.float32) for bound in (action.low, action.high))
    if action.squash == "clip":
        return torch.minimum(torch.maximum(outputs, low), high).numpy()
    kept = outputs if action.limit is None else outputs.clamp(-action.limit, action.limit)
    return (low + (high - low) * (torch.tanh(kept) + 1) / 2).numpy()


def same(actions: Num[ndarray, "e *k"], others: Num[ndarray, "e *k"], action: Action) -> Bool[ndarray, " e"]:
    """Which decisions are the same ones: of numbers those within a twentieth of their range (of unbounded ones: of 1)."""
    if isinstance(action, Discrete):
        return np.asarray(actions == others)
    width = np.subtract(action.high, action.low)
    near = np.abs(actions - others) <= NEAR * np.where(np.isfinite(width), width, 1.0)
    return np.asarray(near.all(axis=1))


def _finite(bounds: Sequence[float]) -> list[float | None]:
    return [bound if math.isfinite(bound) else None for bound in bounds]


def _bounds(told: Sequence[float | None], sign: int) -> tuple[float, ...]:
    return tuple(sign * math.inf if bound is None else float(bound) for bound in told)
