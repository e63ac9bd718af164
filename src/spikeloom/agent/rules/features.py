"""
Features: the named observations of a policy, and predicates over them that a person named.

    predicates:
      lean: theta + 0.3 * theta_dot          a number, which a tree may split anywhere
      outward: x * x_dot > 0                 a truth: 0 or 1

A predicate may use the ones above it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from spikeloom.agent.rules.document import Entry, read
from spikeloom.agent.rules.expression import Column, Expression, Kind, parsed
from spikeloom.agent.rules.names import Names, check_identifier, names_of
from spikeloom.errors import DataError, NumericError


@final
@dataclass(frozen=True)
class Features:
    """What rules are written over: observations in their order, then predicates in theirs."""

    names: Names
    predicates: Mapping[str, Expression] = field(default_factory=dict[str, Expression])

    @property
    def kinds(self) -> dict[str, Kind]:
        """Every name, and whether it is a number or a truth."""
        seen: dict[str, Kind] = dict.fromkeys(self.names.observations, "number")
        return {**seen, **{name: each.kind for name, each in self.predicates.items()}}

    def columns(self, observations: NDArray[Any], only: frozenset[str] | None = None) -> dict[str, Column]:
        """The values of all names (or of `only` and what they need) for observations [n, d].

        Raises DataError for another number of observations, NumericError for NaN or infinite ones.
        """
        x = np.asarray(observations, dtype=np.float64)
        size = len(self.names.observations)
        if x.ndim != 2 or x.shape[1] != size:
            raise DataError("observations of another shape than the rules'", found=x.shape, allowed=f"[n, {size}]")
        if not np.isfinite(x).all():
            bad = np.argwhere(~np.isfinite(x))[0]
            raise NumericError("an observation is no number", found=f"{self.names.observations[bad[1]]} of sample {bad[0]}")
        found: dict[str, Column] = {name: x[:, place] for place, name in enumerate(self.names.observations)}
        wanted = self._needed(only)
        for name, each in self.predicates.items():
            if name in wanted:
                found[name] = each(found)
        return found

    def matrix(self, observations: NDArray[Any]) -> Float[np.ndarray, "n f"]:
        """All values as float64; truths are 0 and 1. Errors as of `columns`."""
        return np.stack([column.astype(np.float64) for column in self.columns(observations).values()], 1)

    def _needed(self, only: frozenset[str] | None) -> frozenset[str]:
        if only is None:
            return frozenset(self.predicates)
        wanted = set(only)
        for name in reversed(list(self.predicates)):
            if name in wanted:
                wanted |= self.predicates[name].reads
        return frozenset(wanted)


def predicates_of(given: Mapping[str, object], names: Names, where: str = "predicates") -> Features:
    """Features from predicates by name, each a text. Raises ConfigError for a name that is taken or a text that is no expression."""
    made = Features(names)
    for name, text in given.items():
        made = with_predicate(made, name, text, f"{where}: {name}")
    return made


def with_predicate(features: Features, name: str, text: object, where: str) -> Features:
    """One predicate more, which may use those before it."""
    check_identifier(name, tuple(features.kinds), where)
    return Features(features.names, {**features.predicates, name: parsed(text, features.kinds, where)})


HEAD = ("environment", "observations", "actions", "continuous", "predicates")
"""The keys that say what a file's rules are written over."""


def features_of(fields: Mapping[str, Entry], names: Names | None = None) -> Features:
    """The features that a file's head says: names from the file, else `names`, else those of its environment.

    Raises ConfigError where no names are known, or a predicate is wrong.
    """
    made = Features(_names(fields, names))
    if "predicates" in fields:
        for name, entry in fields["predicates"].fields().items():
            made = with_predicate(made, name, entry.plain, entry.where)
    return made


def load_features(path: Path, names: Names | None = None) -> Features:
    """The names and predicates of a file that has nothing else: what rules are to be learnt over. Errors as of `features_of`."""
    return features_of(read(path).fields(HEAD), names)


def _names(fields: Mapping[str, Entry], names: Names | None) -> Names:
    def listed(key: str) -> tuple[str, ...] | None:
        return tuple(each.text() for each in fields[key].items()) if key in fields else None

    seen, done = listed("observations"), listed("actions")
    continuous = bool(fields["continuous"].plain) if "continuous" in fields else None
    if seen is not None and done is not None:
        return Names(seen, done, bool(continuous))
    if names is None:
        environment = fields["environment"].text() if "environment" in fields else "an environment that the file does not name"
        names = names_of(environment, continuous=continuous)
    return Names(seen or names.observations, done or names.actions, names.continuous)


def head_of(features: Features, environment: str | None) -> dict[str, Any]:
    """The head as a file has it."""
    names = features.names
    head: dict[str, Any] = {"environment": environment} if environment else {}
    head |= {"observations": list(names.observations), "actions": list(names.actions)}
    if names.continuous:
        head["continuous"] = True
    return head | {"predicates": {name: each.text for name, each in features.predicates.items()}}
