"""
What a policy does, in rules; what it must not do, as guards; and what a person's rules teach it.

    names          what observations and actions of an environment are called
    expression     `x_dot > 0.5`, read without executing anything;  features: predicates over them
    ruleset        `RuleSet`: rules as a policy, in YAML and in words
    tree           a small tree: grown, pruned best, rounded;  refine: made better at as many leaves;  simplify: from it to rules
    imitate        rules from a policy, asked again on states the rules meet (DAgger, VIPER);  visits: those states
    propose        sums of observations along which a policy's actions separate;  soften: how they are turned
    boolean        a gate network on named bits as exact Boolean rules
    instructions   a person's guards and rules in one file
    guard          constraints that take actions away, with a log of each veto
    difference     two sets of rules beside each other
    corrections    a person's rules as a lesson for the network
"""

from spikeloom.agent.rules.boolean import Gated, Lesson, exact, taught
from spikeloom.agent.rules.corrections import Corrections, corrections, corrections_of
from spikeloom.agent.rules.difference import Difference, Moved, difference
from spikeloom.agent.rules.expression import Expression
from spikeloom.agent.rules.features import Features, load_features, predicates_of
from spikeloom.agent.rules.guard import Constraint, Decision, Guard, Guarded, Log, Veto, guards_from, load_guards
from spikeloom.agent.rules.imitate import Imitation, Recipe, agreement, imitate
from spikeloom.agent.rules.instructions import Instructions, instructions_from, load_instructions, names_within
from spikeloom.agent.rules.names import Names, names_of
from spikeloom.agent.rules.propose import Search, proposed
from spikeloom.agent.rules.ruleset import SILENT, Rule, RuleSet, load_rules, rules_from
from spikeloom.agent.rules.visits import Visits, visits

__all__ = [
    "SILENT",
    "Constraint",
    "Corrections",
    "Decision",
    "Difference",
    "Expression",
    "Features",
    "Gated",
    "Guard",
    "Guarded",
    "Imitation",
    "Instructions",
    "Lesson",
    "Log",
    "Moved",
    "Names",
    "Recipe",
    "Rule",
    "RuleSet",
    "Search",
    "Veto",
    "Visits",
    "agreement",
    "corrections",
    "corrections_of",
    "difference",
    "exact",
    "guards_from",
    "imitate",
    "instructions_from",
    "load_features",
    "load_guards",
    "load_instructions",
    "load_rules",
    "names_of",
    "names_within",
    "predicates_of",
    "proposed",
    "rules_from",
    "taught",
    "visits",
]
