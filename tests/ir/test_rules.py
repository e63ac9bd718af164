"""The rule tables: every row is a real operation under one name, and nothing outside them is ever resolved."""

import operator

import pytest
import torch

from spikeloom.ir import OPERATIONS, RULES, Dialect, Kind, name_of, resolve
from spikeloom.ir.rules import _OPERATORS, _TABLE


def test_every_name_resolves_to_an_operation_of_that_name() -> None:
    unresolved = [name for name in RULES if resolve(name) is None]
    assert unresolved == []
    assert [name for name in RULES if name_of(resolve(name)) != name] == []
    assert all(callable(resolve(name)) and RULES[name].name == name for name in RULES)


def test_no_operation_stands_in_two_rows() -> None:
    assert len(RULES) == sum(len(names.split()) for names in _TABLE.values()) + len(_OPERATORS) + len(OPERATIONS)


@pytest.mark.parametrize(
    "name",
    [
        "aten.from_file.default",
        "aten.set_.source_Storage",
        "aten.relu",
        "aten.relu.default.default",
        "aten.relu_.default",
        "operator.attrgetter",
        "operator.call",
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.ops.aten.relu.default",
        "spikeloom.capture",
        "",
    ],
)
def test_a_name_outside_the_tables_resolves_to_nothing(name: str) -> None:
    assert resolve(name) is None


def test_each_dialect_takes_what_it_can_run() -> None:
    kinds = {dialect: {rule.kind for rule in RULES.values() if dialect in rule.dialects} for dialect in Dialect}
    assert kinds[Dialect.ANN] == kinds[Dialect.QNN] == set(Kind) - {Kind.NEURON}
    assert kinds[Dialect.SNN] == set(Kind) - {Kind.RECURRENT}
    assert kinds[Dialect.HW] == set()
    assert {rule.name for rule in RULES.values() if rule.kind is Kind.NEURON} == {"spikeloom.population", "spikeloom.staircase"}


def test_names_are_public_and_a_stranger_has_its_module_in_front() -> None:
    assert name_of(torch.ops.aten.conv2d.default) == "aten.conv2d.default"
    assert name_of(operator.getitem) == "operator.getitem"
    assert name_of(torch.sym_max) == "torch.sym_max"
    assert name_of(operator.concat) == "_operator.concat"
