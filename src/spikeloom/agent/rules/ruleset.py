"""
A policy as rules: the first whose condition holds says what to do.

    environment: CartPole-v1
    predicates:
      lean: theta + 0.3 * theta_dot
    rules:
      - when: lean > 0.01 and x <= 1.5
        then: push right
    otherwise: push left

Learnt rules and those that a person writes have this one form. A rule's action is a name; where actions are numbers, a number or one for
each. Without `otherwise` the rules say nothing of a state in which none holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml
from jaxtyping import Int64, Num
from numpy.typing import NDArray

from spikeloom.agent.rules.document import Entry, document, read
from spikeloom.agent.rules.expression import Column, Expression, truth
from spikeloom.agent.rules.features import HEAD, Features, features_of, head_of
from spikeloom.agent.rules.names import Names
from spikeloom.agent.rules.tree import Answer
from spikeloom.errors import ConfigError, DataError

SILENT = -1
"""Stands for the rule that fired where none did."""


@final
@dataclass(frozen=True)
class Rule:
    """Where `when` holds, `then`. `weight` is what it counts for as a correction (`corrections`)."""

    when: Expression
    then: Answer
    weight: float = 1.0


@final
@dataclass(frozen=True)
class RuleSet:
    """Rules in the order of their weight: `rules(observations)` are the actions; see the module's text for its form in a file."""

    features: Features
    rules: tuple[Rule, ...]
    otherwise: Answer | None = None
    environment: str | None = None

    @property
    def names(self) -> Names:
        """What observations and actions are called."""
        return self.features.names

    def fired(self, observations: NDArray[Any]) -> Int64[np.ndarray, " n"]:
        """The number of the first rule that holds, `SILENT` where none does. Errors as of `Features.columns`."""
        values = self.features.columns(observations, frozenset[str]().union(*(rule.when.reads for rule in self.rules)))
        return self.fired_by(values, len(observations))

    def fired_by(self, values: Mapping[str, Column], samples: int) -> Int64[np.ndarray, " n"]:
        """As `fired`, from the columns of all names."""
        found = np.full(samples, SILENT, dtype=np.int64)
        for number in reversed(range(len(self.rules))):
            found[self.rules[number].when(values)] = number
        return found

    def __call__(self, observations: NDArray[Any]) -> Num[np.ndarray, "n *k"]:
        """Actions: int64 [n], or float32 [n, k]. Raises DataError where no rule holds and there is no `otherwise`."""
        fired = self.fired(observations)
        silent = np.flatnonzero(fired == SILENT)
        if len(silent) and self.otherwise is None:
            state = dict(zip(self.names.observations, np.asarray(observations)[silent[0]].tolist(), strict=True))
            raise DataError("no rule says what to do", found=state, todo="add `otherwise: ACTION` to the rules")
        given = [rule.then for rule in self.rules] + [self.otherwise if self.otherwise is not None else self.rules[0].then]
        return np.array(given, dtype=np.float32 if self.names.continuous else np.int64)[fired]

    def said(self, answer: Answer) -> str:
        """An action in words."""
        if isinstance(answer, int):
            return self.names.actions[answer]
        return ", ".join(f"{name} {value:g}" for name, value in zip(self.names.actions, answer, strict=True))

    def text(self, observations: NDArray[Any] | None = None) -> str:
        """The rules, a line each; with observations, the share of them that each decides."""
        fired = self.fired(observations) if observations is not None else None

        def share(number: int) -> str:
            return f"    [{np.mean(fired == number):.1%}]" if fired is not None and len(fired) else ""

        lines = [f"if {rule.when.text} then {self.said(rule.then)}{share(number)}" for number, rule in enumerate(self.rules)]
        if self.otherwise is not None:
            lines.append(f"otherwise {self.said(self.otherwise)}{share(SILENT)}")
        used = self.features.predicates if not self.rules else self._used()
        return "\n".join([*lines, *(f"where {name} = {each.text}" for name, each in used.items())])

    def _used(self) -> dict[str, Expression]:
        read = set[str]().union(*(rule.when.reads for rule in self.rules))
        for name in reversed(list(self.features.predicates)):
            read |= self.features.predicates[name].reads if name in read else set()
        return {name: each for name, each in self.features.predicates.items() if name in read}

    def as_data(self) -> dict[str, Any]:
        """What a file holds, in plain values."""

        def then(answer: Answer) -> Any:
            if isinstance(answer, int):
                return self.names.actions[answer]
            return answer[0] if len(answer) == 1 else list(answer)

        rules = [
            {"when": rule.when.text, "then": then(rule.then)} | ({"weight": rule.weight} if rule.weight != 1.0 else {})
            for rule in self.rules
        ]
        end = {} if self.otherwise is None else {"otherwise": then(self.otherwise)}
        return head_of(self.features, self.environment) | {"rules": rules} | end

    def save(self, path: Path) -> Path:
        """Written as YAML (JSON is YAML too, and is what a name that ends with .json gets)."""
        if path.suffix == ".json":
            import json

            path.write_text(json.dumps(self.as_data(), indent=1) + "\n", encoding="utf-8")
        else:
            path.write_text(self.yaml(), encoding="utf-8")
        return path

    def yaml(self) -> str:
        """What a YAML file holds."""
        return yaml.safe_dump(self.as_data(), sort_keys=False, width=140, allow_unicode=True)


def load_rules(path: Path, names: Names | None = None) -> RuleSet:
    """The rules in a YAML or JSON file; `names` where the file's environment has none in the table.

    Raises ConfigError (file, line, found, allowed) for what is no YAML, unknown keys, names or actions, and expressions that are none.
    """
    return rules_of(read(path), names)


def rules_from(text: str, names: Names | None = None) -> RuleSet:
    """The rules in a text; as `load_rules`."""
    return rules_of(document(text), names)


def rules_of(root: Entry, names: Names | None = None) -> RuleSet:
    """The rules in a document; as `load_rules`."""
    fields = root.fields((*HEAD, "rules", "otherwise"), ("rules",))
    return rules_in(fields, features_of(fields, names))


def rules_in(fields: Mapping[str, Entry], features: Features) -> RuleSet:
    """The rules among a document's fields; as `load_rules`."""
    rules = tuple(_rule(entry, features) for entry in fields["rules"].items())
    otherwise = answer_of(fields["otherwise"], features.names) if "otherwise" in fields else None
    if not rules and otherwise is None:
        raise ConfigError(f"{fields['rules'].where}: there are no rules", allowed="one or more, or `otherwise`")
    return RuleSet(features, rules, otherwise, fields["environment"].text() if "environment" in fields else None)


def _rule(entry: Entry, features: Features) -> Rule:
    fields = entry.fields(("when", "then", "weight"), ("when", "then"))
    weight = fields["weight"].number(0.0) if "weight" in fields else 1.0
    when = truth(fields["when"].plain, features.kinds, fields["when"].where)
    return Rule(when, answer_of(fields["then"], features.names), weight)


def answer_of(entry: Entry, names: Names) -> Answer:
    """The action that an entry names, or where actions are numbers, the numbers it gives."""
    if not names.continuous:
        return names.action(entry.plain, entry.where)
    given = entry.items() if isinstance(entry.node, yaml.SequenceNode) else [entry]
    if len(given) != len(names.actions):
        raise ConfigError(f"{entry.where}: a number for each action is wanted", found=entry.plain, allowed=", ".join(names.actions))
    return tuple(each.number() for each in given)
