"""
Rules as guards: constraints that a person writes take actions away, state by state.

    environment: LunarLander-v3
    guards:
      - name: sinks too fast
        when: vy < -0.3 and y < 0.5
        never: [coast, left engine, right engine]
        instead: main engine                         an action, or next best (the default): the best allowed by the network's outputs
      - when: abs(angle) > 0.4
        bound: {torque: [-1.0, 1.0]}                 where actions are numbers

Guards stand in the order of their weight. Where one would take away the last action that is left, or leave a bound without a number, it
gives way to those before it in that state: it takes nothing, and the state is counted among its `conflicts`. `instead` counts only where
that action is left. The network's own choice stands where no guard takes it. Shielding in this sense: Alshiekh et al. 2018, Safe
reinforcement learning via shielding.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml
from jaxtyping import Bool, Float, Num
from numpy.typing import NDArray

from spikeloom.agent.rules.document import Entry, document, read
from spikeloom.agent.rules.expression import Column, Expression, truth
from spikeloom.agent.rules.features import HEAD, Features, features_of
from spikeloom.agent.rules.names import Names
from spikeloom.errors import ConfigError, DataError, NumericError

logger = logging.getLogger(__name__)
NEXT_BEST = "next best"


@final
@dataclass(frozen=True)
class Constraint:
    """Where `when` holds: `never` these actions (`instead` of them one, or None: the next best), or each number within its bounds."""

    name: str
    when: Expression
    never: frozenset[int] = frozenset()
    instead: int | None = None
    bound: Mapping[int, tuple[float, float]] = field(default_factory=dict[int, tuple[float, float]])


@final
@dataclass(frozen=True)
class Veto:
    """One action that a guard took: in which step and environment, by which guard, what was seen, wanted and done."""

    step: int
    environment: int
    rule: str
    observation: tuple[float, ...]
    wanted: int | tuple[float, ...]
    taken: int | tuple[float, ...]


@final
@dataclass(frozen=True, eq=False)
class Decision:
    """What was wanted and what is done [n], the number of the guard that took it (−1: none), and where each gave way [guards, n]."""

    wanted: NDArray[Any]
    taken: NDArray[Any]
    by: NDArray[np.int64]
    conflicts: Bool[np.ndarray, "g n"]

    def at(self, rows: NDArray[Any]) -> "Decision":
        """Some of the states."""
        return Decision(self.wanted[rows], self.taken[rows], self.by[rows], self.conflicts[:, rows])

    def only(self, rows: Bool[np.ndarray, " n"]) -> "Decision":
        """In the other states nothing was taken."""
        taken = np.where(rows.reshape(-1, *[1] * (self.taken.ndim - 1)), self.taken, self.wanted)
        return Decision(self.wanted, taken, np.where(rows, self.by, -1), self.conflicts & rows)


@final
@dataclass(frozen=True)
class Guard:
    """Constraints over named observations; `Guarded(guard, outputs)` is a policy that keeps to them."""

    features: Features
    constraints: tuple[Constraint, ...]

    def wrap(self, outputs: Any, keep: int = 10_000) -> "Guarded":
        """A policy `act(observations [n, d]) → actions` that keeps to the guards, from the outputs [n, k] of a network: for discrete
        actions the more the better, else the actions themselves. The log holds the last `keep` vetoes."""
        return Guarded(self, outputs, Log(self, keep))

    def allowed(self, values: Mapping[str, Column], samples: int) -> tuple[Bool[np.ndarray, "n k"], Bool[np.ndarray, "g n"]]:
        """Which actions are left in each state, and where each guard gave way to those before it."""
        left = np.ones((samples, len(self.features.names.actions)), dtype=bool)
        conflicts = np.zeros((len(self.constraints), samples), dtype=bool)
        for number, each in enumerate(self.constraints):
            holds = each.when(values)
            fewer = left.copy()
            fewer[:, sorted(each.never)] = False
            conflicts[number] = holds & ~fewer.any(1)
            takes = holds & fewer.any(1)
            left[takes] = fewer[takes]
        return left, conflicts

    def actions(
        self, observations: NDArray[Any], outputs: NDArray[Any], wanted: NDArray[Any] | None = None, log: "Log | None" = None
    ) -> Any:
        """Actions int64 [n] or float32 [n, k] that keep to the guards. `wanted` is what the policy chose (for discrete actions by default
        the one of the largest output): it stands where no guard takes it.

        Raises DataError for shapes that do not fit, NumericError for NaN observations or outputs.
        """
        found = self.decided(observations, outputs, wanted)
        if log is not None:
            log.note(np.asarray(observations), found)
        return found.taken

    def decided(self, observations: NDArray[Any], outputs: NDArray[Any], wanted: NDArray[Any] | None = None) -> "Decision":
        """As `actions`, with what was wanted and which guard took it."""
        names, samples = self.features.names, len(observations)
        outputs = np.asarray(outputs)
        if outputs.shape != (samples, len(names.actions)):
            raise DataError("outputs of another shape than the guard's actions", found=outputs.shape, allowed=(samples, len(names.actions)))
        if np.isnan(outputs).any():
            raise NumericError("an output of the policy is no number", found=f"sample {int(np.argwhere(np.isnan(outputs))[0, 0])}")
        values = self.features.columns(observations, frozenset[str]().union(*(each.when.reads for each in self.constraints)))
        decide = self._bounded if names.continuous else self._chosen
        return decide(values, outputs, wanted)

    def _chosen(self, values: Mapping[str, Column], outputs: NDArray[Any], wanted: NDArray[Any] | None) -> "Decision":
        samples, rows = len(outputs), np.arange(len(outputs))
        chosen = np.asarray(outputs.argmax(1) if wanted is None else wanted).astype(np.int64)
        left, conflicts = self.allowed(values, samples)
        taken, by = np.where(left, outputs, -np.inf).argmax(1).astype(np.int64), np.full(samples, -1)
        for number in reversed(range(len(self.constraints))):
            each = self.constraints[number]
            holds = each.when(values) & ~conflicts[number] & np.isin(chosen, sorted(each.never))
            by[holds] = number
            if each.instead is not None:
                instead = holds & left[:, each.instead]
                taken[instead] = each.instead
        free = left[rows, chosen]
        taken[free], by[free] = chosen[free], -1
        return Decision(chosen, taken, by, conflicts)

    def _bounded(self, values: Mapping[str, Column], outputs: NDArray[Any], wanted: NDArray[Any] | None) -> "Decision":
        chosen = np.asarray(outputs if wanted is None else wanted, dtype=np.float32)
        low, high = np.full(chosen.shape, -np.inf), np.full(chosen.shape, np.inf)
        conflicts, by = np.zeros((len(self.constraints), len(chosen)), dtype=bool), np.full(len(chosen), -1)
        for number, each in enumerate(self.constraints):
            holds, new_low, new_high = each.when(values), low.copy(), high.copy()
            for place, (least, most) in each.bound.items():
                new_low[:, place], new_high[:, place] = np.maximum(low[:, place], least), np.minimum(high[:, place], most)
            fits = (new_low <= new_high).all(1)
            conflicts[number] = holds & ~fits
            takes = holds & fits
            low[takes], high[takes] = new_low[takes], new_high[takes]
            outside = takes & ((chosen < new_low) | (chosen > new_high)).any(1) & (by < 0)
            by[outside] = number
        return Decision(chosen, np.clip(chosen, low, high).astype(np.float32), by, conflicts)


@final
class Log:
    """What guards did: `steps` and `states` seen, vetoes and conflicts of each guard, and the last vetoes in full."""

    def __init__(self, guard: Guard, keep: int, told: Mapping[str, Any] | None = None, write: Callable[[Veto], None] | None = None) -> None:
        """`told` is what an earlier log of the same guards wrote; `write` takes every veto, kept or not."""
        none = dict.fromkeys((each.name for each in guard.constraints), 0)
        told = told or {"steps": 0, "states": 0, "counts": none, "conflicts": none, "vetoes": []}
        self.guard, self.keep, self.write = guard, keep, write
        self.steps, self.states = int(told["steps"]), int(told["states"])
        self.vetoes = [_veto(*each) for each in told["vetoes"]]
        self.counts, self.conflicts = ({name: int(told[key][name]) for name in none} for key in ("counts", "conflicts"))

    def told(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        vetoes = [list(dataclasses.astuple(each)) for each in self.vetoes]
        return {"steps": self.steps, "states": self.states, "counts": self.counts, "conflicts": self.conflicts, "vetoes": vetoes}

    def note(self, seen: NDArray[Any], decision: Decision) -> None:
        """One step of all environments: what was seen, and what was decided."""
        names = [each.name for each in self.guard.constraints]
        for place in np.flatnonzero(decision.by >= 0).tolist():
            rule = names[decision.by[place]]
            wanted, taken = _plain(decision.wanted[place]), _plain(decision.taken[place])
            self.counts[rule] += 1
            veto = Veto(self.steps, place, rule, tuple(seen[place].tolist()), wanted, taken)
            self.vetoes.append(veto)
            if self.write is not None:
                self.write(veto)
            logger.debug("veto: %s", veto)
        for name, gave_way in zip(names, decision.conflicts.sum(1).tolist(), strict=True):
            self.conflicts[name] += gave_way
        del self.vetoes[: max(0, len(self.vetoes) - self.keep)]
        self.steps, self.states = self.steps + 1, self.states + len(seen)

    def text(self) -> str:
        """A line for each guard."""
        total = max(self.states, 1)
        return "\n".join(
            f"{name}: {count} vetoes ({count / total:.2%} of states), gave way in {self.conflicts[name]}"
            for name, count in self.counts.items()
        )


@final
@dataclass(frozen=True)
class Guarded:
    """A policy that keeps to its guards: `act(observations)`. `log` says what they did."""

    guard: Guard
    outputs: Any
    log: Log

    def __call__(self, observations: NDArray[Any]) -> Num[np.ndarray, "n *k"]:
        """Actions; see `Guard.actions`."""
        found: Float[np.ndarray, "n k"] = np.asarray(self.outputs(observations))
        return self.guard.actions(observations, found, log=self.log)


def _veto(step: int, environment: int, rule: str, observation: Any, wanted: Any, taken: Any) -> Veto:
    return Veto(step, environment, rule, tuple(observation), _plain(wanted), _plain(taken))


def _plain(value: Any) -> int | tuple[float, ...]:
    return tuple(float(v) for v in value) if np.ndim(value) else int(value)


def load_guards(path: Path, names: Names | None = None) -> Guard:
    """The guards in a YAML file; `names` where its environment has none in the table.

    Raises ConfigError (file, line, found, allowed) for what is no YAML, unknown keys, names or actions, and expressions that are none.
    """
    return guards_of(read(path), names)


def guards_from(text: str, names: Names | None = None) -> Guard:
    """The guards in a text; as `load_guards`."""
    return guards_of(document(text), names)


def guards_of(root: Entry, names: Names | None = None) -> Guard:
    """The guards in a document; as `load_guards`."""
    fields = root.fields((*HEAD, "guards"), ("guards",))
    return guards_in(fields["guards"], features_of(fields, names))


def guards_in(given: Entry, features: Features) -> Guard:
    """The guards in a list; as `load_guards`."""
    entries = given.items()
    made = [_constraint(entry, features, number) for number, entry in enumerate(entries, 1)]
    for number, each in enumerate(made):
        if each.name in {other.name for other in made[:number]}:
            raise ConfigError(f"{entries[number].where}: two guards have one name", found=each.name, allowed="a name for each")
    return Guard(features, tuple(made))


def _constraint(entry: Entry, features: Features, number: int) -> Constraint:
    names = features.names
    fields = entry.fields(
        ("name", "when", "bound" if names.continuous else "never", *(() if names.continuous else ("instead",))), ("when",)
    )
    when = truth(fields["when"].plain, features.kinds, fields["when"].where)
    name = fields["name"].text() if "name" in fields else f"guard {number}"
    if names.continuous:
        return Constraint(name, when, bound=_bounds(entry.fields(None, ("bound",))["bound"], names))
    given = entry.fields(None, ("never",))["never"]
    listed = given.items() if isinstance(given.node, yaml.SequenceNode) else [given]
    never = frozenset(names.action(each.plain, each.where) for each in listed)
    if len(never) == len(names.actions):
        raise ConfigError(f"{given.where}: a guard cannot take all actions", found=given.plain, allowed="all but one, or fewer")
    instead = _instead(fields["instead"], names) if "instead" in fields else None
    if instead in never:
        raise ConfigError(f"{fields['instead'].where}: what is done instead is what is never done", found=names.actions[instead or 0])
    return Constraint(name, when, never, instead)


def _instead(entry: Entry, names: Names) -> int | None:
    return None if entry.plain == NEXT_BEST else names.action(entry.plain, entry.where)


def _bounds(entry: Entry, names: Names) -> dict[int, tuple[float, float]]:
    found: dict[int, tuple[float, float]] = {}
    for name, limits in entry.fields(names.actions).items():
        ends = [each.number() for each in limits.items()]
        if len(ends) != 2 or ends[0] > ends[1]:
            raise ConfigError(f"{limits.where}: bounds are two numbers", found=limits.plain, allowed="[least, most]")
        found[names.actions.index(name)] = (ends[0], ends[1])
    return found
