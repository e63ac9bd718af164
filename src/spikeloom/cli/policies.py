"""
What `adapt` begins with: a policy on spikes, from a saved network, an address, or one that is taught on the spot; and what `convert` says
of one beside its network: what becomes of its membranes between decisions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from spikeloom.agent import Act, Policy, acted, in_closed_loop, open_policy, policy_of, with_residue
from spikeloom.agent.policy import RESIDUES
from spikeloom.agent.teacher import ENVIRONMENT, taught_cartpole
from spikeloom.agent.worlds import world
from spikeloom.capture import resolve
from spikeloom.datasets import parse_address
from spikeloom.datasets.environment import environments, spaces_within
from spikeloom.datasets.spaces import Spaces, check_same, spaces_of
from spikeloom.errors import ConfigError
from spikeloom.ir import Progress, write_json
from spikeloom.pipeline import Conversion, Settings, convert_model
from spikeloom.simulate import SpikingModel, primary

FITTED, ROUNDS = 20, 2
"""Episodes, and rounds, of the closed loop in which a policy is converted."""
WORDS = (*RESIDUES, "auto")
ACTS = ("sb3", "policy")
"""Schemes of sources that say what they observe and do."""


def facts_of(source: str | None) -> Mapping[str, Any]:
    """What a source says of itself, without its network: of a saved one its settings."""
    if source is None:
        return {"policy": {"environment": ENVIRONMENT}}
    return SpikingModel.open(Path(source)).program.settings if is_saved(source) else resolve(source).settings


def environment_of(source: str | None, named: str | None) -> str:
    """The environment to act in: the one that is named, or the one that the policy was made for. ConfigError where nobody says."""
    found = named or (facts_of(source).get("policy") or {}).get("environment")
    if not found:
        raise ConfigError("nobody says which environment the policy acts in", found=source, todo="name it: --env CartPole-v1")
    return str(found)


def is_saved(source: str) -> bool:
    """Whether the source is the folder of a converted network."""
    return (Path(source) / "program.json").is_file()


def policy_from(source: str | None, env_id: str, levels: int, seed: int, progress: Progress) -> Policy:
    """The policy at T = 1. Raises a UserError for a source that is none, and for spaces that do not fit the environment's."""
    fitting = world(env_id, 1)
    spaces = spaces_within(fitting, env_id)
    fitting.close()
    if source is not None and is_saved(source):
        return checked(open_policy(Path(source), world(env_id, 1)), spaces, env_id)
    progress("teaching a small policy" if source is None else "reading the policy", 0, 0)
    model: nn.Module | str = taught_cartpole(seed) if source is None else source
    opened = resolve(model, example=torch.zeros(2, *spaces[0].shape)) if isinstance(model, nn.Module) else resolve(model)
    own = spaces_of(opened.settings) if "policy" in opened.settings else spaces
    check_same(own, spaces, env_id)
    progress("converting in the closed loop", 0, 0)

    def made(data: Tensor) -> Policy:
        settings = Settings(timesteps=1, levels=levels, calibration_samples=len(data), seed=seed)
        return policy_of(convert_model(model, data, settings), world(env_id, 1))

    return in_closed_loop(made, acting(opened.model, own), world(env_id, FITTED), rounds=ROUNDS, episodes=FITTED)[0]


def checked(policy: Policy, spaces: Spaces, env_id: str) -> Policy:
    """The policy. DataError where its spaces are not these."""
    check_same((policy.observation, policy.action), spaces, env_id)
    return policy


def acting(run: nn.Module, spaces: Spaces) -> Act:
    """What acts as a network of tensors does."""

    def act(observations: ndarray, fresh: ndarray) -> ndarray:
        with torch.inference_mode():
            return acted(primary(run(torch.from_numpy(np.ascontiguousarray(observations, np.float32)))), spaces[1])

    return act


def check_residue(word: str | None, source: str) -> None:
    """Raises ConfigError for a word that is no residue, and for one that is asked of a network that does not act."""
    if word is None:
        return
    if word not in WORDS:
        raise ConfigError("what becomes of membranes between decisions", found=word, allowed=", ".join(WORDS))
    if source.partition(":")[0] not in ACTS:
        raise ConfigError("membranes between decisions are for policies alone", found=source, todo="leave out --residue")


def with_residue_of(made: Conversion, address: str, word: str | None, progress: Progress) -> dict[str, Any]:
    """The metrics of a converted policy, whose folder says now what becomes of its membranes between decisions: `word`, or, by return, in
    the environment that it was converted on, what brings more. Of other networks, or without an environment, the metrics as they were."""
    parsed = parse_address(address)
    if "policy" not in made.snn.program.settings or (word in (None, "auto") and parsed.scheme != "env"):
        return made.metrics
    env = environments(parsed.place, FITTED) if parsed.scheme == "env" else None
    progress("membranes between decisions: carried or reset", 0, 0)
    policy, means = with_residue(policy_of(made.snn), env, word or "auto", FITTED)
    if env is not None:
        env.close()
    policy.save(made.folder)
    metrics = {**made.metrics, "residue": {"kept": policy.residue, "returns": dict(means)}}
    write_json(made.folder / "metrics.json", metrics)
    return metrics
