"""
What a person tells a policy, in one file: guards that it keeps to, and rules that it is taught.

    environment: CartPole-v1
    predicates:
      lean: theta + 0.25 * theta_dot
    guards:
      - when: x > 2.2
        never: push right
    rules:
      - when: x > 1.5 and lean > -0.02
        then: push right
        weight: 2

The keys are those of `guard` and `ruleset`; one of the two lists is enough. A file of rules that were learnt from a network, with some of
them corrected, is such a file.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import final

from spikeloom.agent.rules.document import Entry, document, read
from spikeloom.agent.rules.features import HEAD, Features, features_of
from spikeloom.agent.rules.guard import Guard, guards_in
from spikeloom.agent.rules.names import Names, names_of
from spikeloom.agent.rules.ruleset import RuleSet, rules_in
from spikeloom.datasets.spaces import Discrete, Spaces
from spikeloom.errors import ConfigError


@final
@dataclass(frozen=True)
class Instructions:
    """Guards, and rules to teach; None where the file has none."""

    guard: Guard | None = None
    rules: RuleSet | None = None

    @property
    def features(self) -> Features | None:
        """What they are written over."""
        return self.guard.features if self.guard is not None else self.rules.features if self.rules is not None else None

    @property
    def text(self) -> str:
        """All of it in words: two with the same text ask the same."""
        said = list[str]()
        if self.guard is not None:
            said += [str(each) for each in self.guard.constraints]
        if self.rules is not None:
            said += [f"{rule.when.text} -> {rule.then} ({rule.weight:g})" for rule in self.rules.rules] + [str(self.rules.otherwise)]
        head = self.features
        return "\n".join([*said, *(f"{name} = {each.text}" for name, each in (head.predicates if head else {}).items())])


def names_within(spaces: Spaces, environment: str) -> Names:
    """What an environment of these spaces calls its observations and actions. ConfigError where observations are no vector."""
    signal, action = spaces
    if len(signal.shape) != 1:
        found, todo = f"observations of shape {signal.shape}", "rules are for observations that are a row of numbers"
        raise ConfigError(f"{environment} cannot be ruled", found=found, allowed="a vector", todo=todo)
    discrete = isinstance(action, Discrete)
    return names_of(environment, signal.shape[0], action.count if discrete else action.size, continuous=not discrete)


def load_instructions(path: Path, spaces: Spaces, environment: str) -> Instructions:
    """The instructions in a YAML file for an environment of these spaces.

    Raises ConfigError (file, line, found, allowed) for what is no YAML, unknown keys, names or actions, expressions that are none, a file
    for another environment, and one with neither guards nor rules.
    """
    return instructions_in(read(path), spaces, environment)


def instructions_from(text: str, spaces: Spaces, environment: str) -> Instructions:
    """The instructions in a text; as `load_instructions`."""
    return instructions_in(document(text), spaces, environment)


def instructions_in(root: Entry, spaces: Spaces, environment: str) -> Instructions:
    """The instructions in a document; as `load_instructions`."""
    fields = root.fields((*HEAD, "guards", "rules", "otherwise"))
    if "guards" not in fields and "rules" not in fields:
        raise ConfigError(f"{root.where}: it says nothing", found=", ".join(fields), allowed="guards, rules, or both")
    names = names_within(spaces, environment)
    if "environment" in fields and _family(fields["environment"].text()) != _family(environment):
        where, found = fields["environment"].where, fields["environment"].text()
        raise ConfigError(f"{where}: the file is for another environment", found=found, allowed=environment)
    features = features_of(fields, names)
    _check_sizes(root, features.names, names)
    guard = guards_in(fields["guards"], features) if "guards" in fields else None
    rules = rules_in(fields, features) if "rules" in fields else None
    return Instructions(guard, rules)


def _check_sizes(root: Entry, said: Names, due: Names) -> None:
    for what, found, wanted in (("observations", said.observations, due.observations), ("actions", said.actions, due.actions)):
        if len(found) != len(wanted):
            raise ConfigError(f"{root.where}: not the environment's {what}", found=", ".join(found), allowed=f"{len(wanted)} of them")
    if said.continuous != due.continuous:
        kinds = ("names", "numbers")
        raise ConfigError(f"{root.where}: actions of another kind", found=kinds[said.continuous], allowed=kinds[due.continuous])


def _family(environment: str) -> str:
    """An environment's id without its version."""
    return environment.rpartition("-v")[0] or environment
