"""
A policy: a spiking network that reads observations and whose outputs are actions (`datasets.spaces`).

A decision takes T steps. Between decisions the membranes go back to rest (`reset`), or each population begins with what it has not sent
yet (`carry`): then what it sends over many decisions sums to what it was given, to within one level. Whatever reads running means
begins anew at each decision either way, and so does a network that has nothing else. Observations go in as they are, as analog currents
of the first layer, which is spiking from its activation on.

Source: carrying membranes over is Cross-Step Residual Potential Initialization (CRPI, arXiv 2601.21778).
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from numpy import ndarray
from torch import Tensor

from spikeloom.agent.body import Body, body_of, whole
from spikeloom.agent.embodied import Embodied
from spikeloom.agent.forward import NAME as FORWARD
from spikeloom.agent.forward import Flight, ForwardModel, load_forward
from spikeloom.agent.residue import Memory, decided
from spikeloom.datasets.environment import spaces_within
from spikeloom.datasets.episodes import Act
from spikeloom.datasets.spaces import Action, Discrete, Signal, acted, check_same, readable, spaces_of
from spikeloom.datasets.spaces import facts_of as spaces_told
from spikeloom.errors import ConfigError, DataError
from spikeloom.simulate import SpikingModel, primary

RESIDUES = ("reset", "carry")
"""What becomes of membranes between decisions."""


@final
@dataclass(frozen=True)
class Policy:
    """A network with the spaces it acts between; see the module. `timesteps` None is the network's own T; `body` None the one it was
    taught with; `forward` is there where actions come late."""

    model: SpikingModel
    observation: Signal
    action: Action
    residue: str = "reset"
    timesteps: int | None = None
    body: Body | None = None
    forward: ForwardModel | None = None

    def __post_init__(self) -> None:
        if self.residue not in RESIDUES:
            raise ConfigError("what becomes of membranes between decisions is one of two", found=self.residue, allowed=", ".join(RESIDUES))

    @property
    def steps(self) -> int:
        """T, the steps of a decision."""
        return self.model.timesteps if self.timesteps is None else self.timesteps

    def replaced(self, **fields: Any) -> "Policy":
        """The policy with other fields."""
        return dataclasses.replace(self, **fields)

    def outputs(
        self, observations: ndarray, state: Memory | None = None, fresh: Bool[ndarray, " e"] | None = None
    ) -> tuple[Float[Tensor, "e k"], Memory | None]:
        """The network's outputs for observations [E, ...], on the ANN's scale, and the membranes to go on from (None: at rest).

        Rows that `fresh` marks begin at rest whatever `state` says. DataError where observations have another shape or are not finite.
        """
        x = torch.from_numpy(readable(observations, self.observation))
        if self.residue == "reset":
            with torch.inference_mode():
                return primary(self.model(x, timesteps=self.steps)), None
        mask = None if fresh is None else torch.from_numpy(np.asarray(fresh, bool))
        return decided(self.model, x, state, mask, self.steps)

    def actions(self, outputs: Float[Tensor, "e k"]) -> Num[ndarray, "e *k"]:
        """The best actions: int64 [E], or float32 [E, k]."""
        return acted(outputs, self.action)

    @property
    def embodied(self) -> Embodied:
        """What it acts through."""
        return Embodied(self.body or whole(self.observation, self.action), self.action, self.forward)

    def actor(self) -> Act:
        """What `returns` and `played` take: observations and which environments begin an episode in, actions out. It keeps the membranes
        and what is under way between calls, so that each run of episodes needs one of its own."""
        acting = Acting(self)

        def act(observations: ndarray, fresh: ndarray) -> ndarray:
            actions = self.actions(acting(observations, fresh))
            acting.took(actions)
            return actions

        return act

    def told(self) -> SpikingModel:
        """The network, whose settings say the residue ("policy", "residue"): what `policy_of` reads."""
        facts, model = self.model.program.settings, self.model
        known = facts.get("policy") or {}
        if known.get("residue", RESIDUES[0]) == self.residue:
            return model
        told = {**spaces_told(self.observation, self.action), **known, "residue": self.residue}
        program = model.program.replaced(settings={**facts, "policy": told})
        return SpikingModel(program, timesteps=model.timesteps, ann=model.ann, control=model.control)

    def save(self, folder: Path) -> None:
        """The folder holds the policy: its network, which says its body and its residue, and its forward model where it has one."""
        self.told().save(folder)
        if self.forward is not None:
            self.forward.save(folder)


@final
class Acting:
    """What a policy says in an environment, call by call: outputs, each in the column of the action that has its effect. Of several
    policies that of each environment's `owner`. Whoever acts says what was done (`took`)."""

    def __init__(self, *policies: Policy, owner: Int[ndarray, " e"] | None = None) -> None:
        self.policies, self.owner, self.embodied = policies, owner, [policy.embodied for policy in policies]
        self.memories = list[Memory | None]([None] * len(policies))
        self.flights = list[Flight]()

    def __call__(self, observations: ndarray, fresh: Bool[ndarray, " e"]) -> Float[Tensor, "e k"]:
        """The outputs for observations, of which these begin an episode."""
        flights = self.flights or [each.grounded(len(fresh)) for each in self.embodied]
        self.flights = [flight.begun(fresh) for flight in flights]
        said = [self._said(place, observations, fresh) for place in range(len(self.policies))]
        return said[0] if self.owner is None else torch.stack(said)[self.owner, torch.arange(len(fresh))]

    def took(self, actions: ndarray) -> None:
        """These actions were done in the environment."""
        pairs = zip(self.embodied, self.flights, strict=True)
        self.flights = [each.wanted(each.body.effected(each.placed(actions)), flight) for each, flight in pairs]

    def _said(self, place: int, observations: ndarray, fresh: ndarray) -> Tensor:
        embodied, felt = self.embodied[place], self.embodied[place].felt(observations, self.flights[place])
        outputs, self.memories[place] = self.policies[place].outputs(felt, self.memories[place], fresh)
        return embodied.shown(outputs)


def open_policy(folder: Path, env: Any = None) -> Policy:
    """The policy in a folder that `Policy.save` wrote; `env` as `policy_of` has it. ProgramError where it is not whole."""
    return policy_of(SpikingModel.open(folder), env, forward=load_forward(folder) if (folder / FORWARD).is_file() else None)


def policy_of(
    model: SpikingModel, env: Any = None, *, residue: str | None = None, timesteps: int | None = None, forward: ForwardModel | None = None
) -> Policy:
    """The policy that a converted network is: its spaces are those its source had; of any other network those of `env`, a vector
    environment. `residue` None is the one that its settings say, and reset where they say none.

    DataError where the environment's are others, or nobody says any; where the network's outputs are not as many as the actions need.
    ConfigError where its actions come late and `forward` is missing.
    """
    facts = model.program.settings
    residue = residue or str((facts.get("policy") or {}).get("residue", RESIDUES[0]))
    if "policy" not in facts and env is not None:
        signal, action = spaces_within(env, _named(env))
        policy = Policy(model, signal, action, residue, timesteps)
    else:
        spaces, told = spaces_of(facts), facts["policy"].get("body")
        policy = Policy(model, *spaces, residue, timesteps, None if told is None else body_of(told, *spaces), forward)
    if env is not None:
        check_same((policy.observation, policy.action), spaces_within(env, _named(env)), _named(env))
    check_fits(policy)
    _ = policy.embodied
    return policy


def _named(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return str(getattr(spec, "id", None) or type(env).__name__)


def check_fits(policy: Policy) -> None:
    """Raises DataError where the network does not take the observations, or gives another number of outputs than the actions need."""
    taken = policy.model.program.inputs[0]
    if not taken.fits((2, *policy.observation.shape)):
        found, todo = f"observations of shape {policy.observation.shape}", "name the environment it was made for"
        raise DataError("the environment has other spaces than the policy", found=found, allowed=taken.sample, todo=todo)
    rest = np.zeros((2, *policy.observation.shape), np.float32)
    outputs, _ = policy.replaced(residue="reset").outputs(rest)
    wanted = policy.action.count if isinstance(policy.action, Discrete) else policy.action.size
    if outputs.dim() != 2 or outputs.shape[1] != wanted:
        found = f"outputs of shape {tuple(outputs.shape[1:])}"
        raise DataError("the network is no policy for these actions", found=found, allowed=f"{wanted} numbers for each observation")


def check_learns(policy: Policy) -> None:
    """Raises ConfigError for a policy that an agent cannot teach: one of T > 1, or one that carries membranes between decisions."""
    if policy.steps != 1:
        todo = "convert it at T = 1; its levels stand for steps"
        raise ConfigError("an agent learns at one step for a decision", found=f"T = {policy.steps}", allowed="T = 1", todo=todo)
    if policy.residue != "reset":
        todo = 'convert it with --residue reset, or give policy.replaced(residue="reset")'
        raise ConfigError("an agent learns from decisions that begin at rest", found=policy.residue, allowed="residue reset", todo=todo)
