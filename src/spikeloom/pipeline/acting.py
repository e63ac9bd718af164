"""
Policies and what they observe: the task of networks that act.

    env:<id>     observations of the network's own episodes in that environment: of the ANN's, of seeds from 0, to calibrate on; of the
                 SNN's, of seeds from 1000, to judge on
    npz:<file>   observations x [n, ...] that somebody kept
    agreement    the share of decisions a network has in common with the ANN; of actions that are numbers, within a twentieth of their range

Returns take an environment for every network: `spikeloom adapt` and `benchmarks/agents.py` tell them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from spikeloom import datasets
from spikeloom.datasets import parse_address
from spikeloom.datasets.environment import environments, spaces_within
from spikeloom.datasets.episodes import Act, gathered
from spikeloom.datasets.npz import read_inputs
from spikeloom.datasets.spaces import Action, acted, check_same, readable, same, spaces_of
from spikeloom.datasets.splits import Wanted, choose
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Dialect, Program
from spikeloom.pipeline.evaluation import NETWORKS, Batch, Evaluation, Tally, check_some
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.samples import Samples
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.task import Facts, Task
from spikeloom.simulate import SpikingModel, primary

JUDGED = "a policy is judged by what it does: by the decisions it has in common with its ANN, and by its return (`spikeloom adapt`)"
EPISODES = 16
"""Episodes, each in an environment of its own, whose observations there are to draw from."""
SEEDS: Mapping[str, int] = {"train": 0, "calibration": 0, "test": 1000}


def facts_of(facts: Facts, settings: Settings) -> dict[str, Any]:
    """Nothing beyond what the source says: observations go in as they are."""
    return {}


def check(facts: Facts, settings: Settings) -> None:
    """Raises DataError where data and policy do not fit, ConfigError for what policies have none of."""
    if settings.length is not None:
        raise ConfigError("text.length is for models that read texts", found=settings.length, allowed="none", todo="leave out --length")
    spaces, parsed = spaces_of(facts), parse_address(settings.dataset)
    if parsed.scheme == "env":
        check_same(spaces, spaces_within(environments(parsed.place), parsed.place), parsed.place)
    elif parsed.scheme != "npz":
        known = (facts.get("policy") or {}).get("environment") or "CartPole-v1"
        todo = f"--dataset env:{known}, whose observations are those of the policy's own episodes"
        raise DataError("a policy is converted on observations", found=settings.dataset, allowed="env:<id>, npz:<file>", todo=todo)


def samples(address: str, split: Wanted, program: Program, settings: Settings, limit: int | None) -> Samples:
    """Observations, in an order drawn from the seed."""
    parsed = parse_address(address)
    if parsed.scheme == "env":
        kept, note = met(parsed.place, split, program, settings.timesteps), f"observations of {EPISODES} episodes of its own"
    else:
        names, read = read_inputs(Path(parsed.place).expanduser())
        choice = choose(parsed, names, split, len(read(names[0])) if len(names) == 1 else None)
        kept, note = read(choice.split)[choice.rows], choice.note
    x = readable(kept, spaces_of(program.settings)[0])
    x = x[np.random.default_rng(settings.seed).permutation(len(x))[:limit]]
    if len(x) == 0:
        raise DataError(f"{address} holds no observations to take as {split}", found="none")

    def read_batches(size: int, limit: int | None) -> Iterator[Batch]:
        for batch in datasets.as_batches(torch.from_numpy(x), limit, size=size):
            yield (batch,), None

    return Samples(len(x), read_batches, None, note)


def met(name: str, split: Wanted, program: Program, timesteps: int) -> Float[ndarray, "n ..."]:
    """What a network observes in its own episodes in an environment."""
    env, seed = environments(name, EPISODES), SEEDS[split]
    try:
        return gathered(env, actor(program, timesteps), EPISODES, seed)
    finally:
        env.close()


def actor(program: Program, timesteps: int) -> Act:
    """What acts as a program does, each decision from rest."""
    signal, action = spaces_of(program.settings)
    run = SpikingModel(program, timesteps=timesteps) if program.dialect is Dialect.SNN else program.module()

    def act(observations: ndarray, fresh: ndarray) -> ndarray:
        with torch.inference_mode():
            return acted(primary(run(torch.from_numpy(readable(observations, signal)))), action)

    return act


def at_once(program: Program, batch_size: int, timesteps: int) -> int:
    """Observations are small: four times the batch, over the steps."""
    return max(1, batch_size * 4 // timesteps)


@final
class Decisions(Tally):
    """What each network does, at every step of the curve."""

    def __init__(self, networks: Networks, classes: int | None = None, margin: float | None = None) -> None:
        self.networks = networks
        self.action: Action = spaces_of(networks.snn.program.settings)[1]
        self.parts: dict[str | int, list[Tensor]] = {key: [] for key in (*networks.modules, *networks.points)}

    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch of observations through every network."""
        outputs = self.networks.run(inputs)
        for name, values in outputs.others.items():
            self.parts[name].append(self._actions(values))
        for point in self.networks.points:
            self.parts[point].append(self._actions(outputs.snn[point - 1]))

    def evaluation(self) -> Evaluation:
        """How often networks do what the ANN does. Raises DataError where there was no batch."""
        last = self.networks.timesteps
        check_some(self.parts[last])
        found = {key: torch.cat(parts).numpy() for key, parts in self.parts.items()}
        shared = {key: float(same(value, found["ann"], self.action).mean()) for key, value in found.items() if "ann" in found}
        measures: dict[str, Any] = {"accuracy": dict.fromkeys(NETWORKS), "agreement": shared.get(last), "mcnemar": None}
        if "control" in shared:
            measures["of_control"] = {"agreement": shared["control"]}
        curve = tuple({"timesteps": point} | ({"agreement": shared[point]} if point in shared else {}) for point in self.networks.points)
        return Evaluation(
            measures=measures,
            curve=curve,
            seconds=self.networks.per_sample(len(found[last])),
            timesteps=last,
            samples=len(found[last]),
            reasons=self.networks.missing() | {"accuracy": JUDGED},
        )

    def _actions(self, outputs: Tensor) -> Tensor:
        return torch.from_numpy(acted(outputs, self.action))


ACTING = Task(
    unit="observations",
    profiled=128,
    exits=False,
    facts=facts_of,
    check=check,
    samples=samples,
    at_once=at_once,
    tally=Decisions,
)
