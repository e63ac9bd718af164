"""
A policy on named bits as exact Boolean rules, by way of a logic-gated network.

    bits       truths over observations that a person named: `leans_right: lean > 0`
    taught     a small network of ternary weights and gates (`logic`) learns what the policy does, from the bits alone
    rules      its equations, minimised over the bits: one condition for each action, exactly what the network does
    checked    on every input, or by SAT (`logic.compared`)

Up to 12 bits the equations are over the bits alone (espresso); a network with more has no rules of this form, and its gates are what there
is (`logic.equations_of`). Source: `logic`; Brayton et al. 1984 (espresso).
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Int64
from numpy.typing import NDArray
from torch import nn

from spikeloom.agent.rules.expression import truth
from spikeloom.agent.rules.features import Features
from spikeloom.agent.rules.ruleset import Rule, RuleSet
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Program
from spikeloom.logic import Equations, Verdict, compared, equations_of, freeze, fully_connected, written
from spikeloom.logic.equations import MOST_INPUTS, Equation

BATCH = 256


@final
@dataclass(frozen=True)
class Lesson:
    """How a gate network is taught: `hidden` gates in each layer, `steps` of `BATCH` samples at `rate`."""

    hidden: tuple[int, ...] = (16,)
    steps: int = 1500
    rate: float = 0.01

    def __post_init__(self) -> None:
        if min((self.steps, *self.hidden)) < 1 or self.rate <= 0:
            raise ConfigError("a gate network cannot be taught so", found=self, allowed="1 or more gates and steps, a rate above 0")


@final
@dataclass(frozen=True, eq=False)
class Gated:
    """A gate network, its rules, and the verdict that they are the same: `bits` are the names that both read, in the network's order."""

    program: Program
    equations: Equations
    rules: RuleSet
    verdict: Verdict
    bits: tuple[str, ...]


def bits_of(features: Features) -> tuple[str, ...]:
    """The predicates that are truths. Raises ConfigError where there are none, or too many for equations over them."""
    found = tuple(name for name, each in features.predicates.items() if each.kind == "truth")
    if not 0 < len(found) <= MOST_INPUTS:
        todo = "name them as predicates, such as `leans: theta > 0`"
        raise ConfigError("a gate network reads truths", found=f"{len(found)} of them", allowed=f"1 to {MOST_INPUTS}", todo=todo)
    return found


def bit_columns(features: Features, observations: NDArray[Any]) -> Bool[np.ndarray, "n bits"]:
    """The bits of observations [n, d]."""
    names = bits_of(features)
    values = features.columns(observations, frozenset(names))
    return np.stack([values[name] for name in names], 1).astype(bool)


def taught(
    features: Features,
    observations: NDArray[Any],
    actions: Int64[np.ndarray, " n"],
    lesson: Lesson | None = None,
    *,
    seed: int = 0,
    environment: str | None = None,
) -> Gated:
    """A gate network that does at the observations' bits what `actions` says, as well as it could learn to, and its rules.

    Raises DataError where actions are not one whole number for each observation, ConfigError for bits that are none.
    """
    lesson = lesson or Lesson()
    bits = bit_columns(features, observations)
    y = np.asarray(actions)
    if y.shape != (len(bits),) or y.dtype.kind not in "iu":
        raise DataError(
            "a gate network learns one action for each observation", found=f"{y.dtype} {y.shape}", allowed=f"whole, ({len(bits)},)"
        )
    network = _trained(torch.from_numpy(bits).float(), torch.from_numpy(y.astype(np.int64)), len(features.names.actions), lesson, seed)
    return exact(freeze(network, torch.zeros(2, bits.shape[1])), features, environment)


def exact(program: Program, features: Features, environment: str | None = None) -> Gated:
    """A gate network over the features' truths, in their order, as rules, and whether they are equal on every input.

    Raises DataError where the network has another number of inputs or of classes than there are bits and actions.
    """
    bits, gates = bits_of(features), written(program)
    if gates.shape != (len(bits),) or len(gates.classes) != len(features.names.actions):
        found = f"{gates.shape[0]} inputs, {len(gates.classes)} classes"
        raise DataError("the network and the names do not fit", found=found, allowed=f"{len(bits)} and {len(features.names.actions)}")
    equations = equations_of(gates, whole=True)
    verdict = compared(program, equations)
    return Gated(program, equations, as_rules(equations, features, environment), verdict, bits)


def as_rules(equations: Equations, features: Features, environment: str | None = None) -> RuleSet:
    """Equations over bits as rules: a condition for each action, of the actions with most products the last is `otherwise`.

    Just one action wins for each input, so that the order of the rules does not matter.
    """
    names, where = bits_of(features), {bit.name: bit for bit in equations.bits}
    made = {each.name: each for each in equations.equations}
    wins = [made[name] for name in equations.wins]
    last = max(range(len(wins)), key=lambda action: len(wins[action].products))
    spoken = {name: names[bit.value] for name, bit in where.items()}
    rules = [
        Rule(truth(text_of(each, spoken), features.kinds, "an equation"), action)
        for action, each in enumerate(wins)
        if action != last and each.products
    ]
    return RuleSet(features, tuple(rules), last, environment)


def text_of(equation: Equation, spoken: dict[str, str]) -> str:
    """A sum of products in words; `spoken` are the names of its signals. A product without literals would be always, and stands alone."""
    if any(not product for product in equation.products):
        return f"{next(iter(spoken.values()))} or not {next(iter(spoken.values()))}"
    products = [
        " and ".join(spoken[each.name] if each.positive else f"not {spoken[each.name]}" for each in product)
        for product in equation.products
    ]
    return products[0] if len(products) == 1 else " or ".join(f"({each})" if " and " in each else each for each in products)


def _trained(x: torch.Tensor, y: torch.Tensor, actions: int, lesson: Lesson, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = fully_connected(x.shape[1], lesson.hidden, actions)
    optimiser = torch.optim.Adam(network.parameters(), lesson.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, lesson.steps)
    network.train()
    for _ in range(lesson.steps):
        chosen = torch.randint(len(x), (BATCH,), generator=generator)
        loss = nn.functional.cross_entropy(network(x[chosen]), y[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network.eval()
