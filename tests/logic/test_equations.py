"""Boolean equations: minimised, equal to the gates; and the proof that what is written equals the network, or a counterexample."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from tests.logic.threshold_networks import frozen

pytest.importorskip("pyeda", reason="needs spikeloom[logic]")
pytest.importorskip("pysat", reason="needs spikeloom[logic]")

from spikeloom.errors import DataError, ResourceError, UnsupportedError
from spikeloom.logic import Equation, Equations, GateList, PackedNetwork, ThresholdGate, compared, equations_of, minimised, table, written
from spikeloom.logic.equations import evaluated, ladder, rows_of
from spikeloom.logic.unroll import written as again

WAYS = ("exhaustive", "sat")


def gate(plus: int, minus: int, threshold: int) -> ThresholdGate:
    return ThresholdGate("g", tuple(f"p{i}" for i in range(plus)), tuple(f"m{i}" for i in range(minus)), threshold)


def column(equations: tuple[Equation, ...], inputs: tuple[str, ...]) -> np.ndarray:
    rows = rows_of(len(inputs)).astype(bool)
    values = {name: rows[:, place] for place, name in enumerate(inputs)}
    for each in equations:
        values[each.name] = evaluated(each, values, len(rows))
    return values[equations[-1].name]


@pytest.mark.parametrize(("plus", "minus", "threshold"), [(3, 2, 1), (7, 0, 4), (0, 5, -2), (4, 4, 0), (2, 1, -1), (2, 1, 3), (6, 6, 1)])
def test_both_forms_of_a_gate_equal_its_table(plus: int, minus: int, threshold: int) -> None:
    made = gate(plus, minus, threshold)
    truth = table(made)
    assert [bool(v) for v in truth] == [
        sum(row[:plus]) - sum(row[plus:]) >= threshold for row in (tuple(map(int, r)) for r in rows_of(plus + minus))
    ]
    least = minimised("g", made.inputs, truth)
    assert (column((least,), made.inputs) == truth).all()
    assert (column(ladder(made), made.inputs) == truth).all()


@pytest.mark.parametrize(("inputs", "least"), [(5, 3), (8, 2), (9, 5), (11, 10)])
def test_a_minimised_gate_has_its_prime_implicants_and_no_more(inputs: int, least: int) -> None:
    made = gate(inputs, 0, least)
    found = minimised("g", made.inputs, table(made))
    assert len(found.products) == math.comb(inputs, least)
    assert all(len(product) == least for product in found.products)


def test_an_input_that_counts_twice_does_so_in_both_forms() -> None:
    made = ThresholdGate("g", ("a", "a", "b"), ("c", "c"), 1)
    expected = [2 * a + b - 2 * c >= 1 for c, b, a in itertools.product((0, 1), repeat=3)]
    assert table(made).tolist() == expected
    assert column(ladder(made), made.inputs).tolist() == expected


@pytest.mark.parametrize("form", ["full", "bits", "residual"])
def test_equations_name_the_class_that_wins(form: str) -> None:
    program = frozen(form)
    gates, x = written(program), torch.rand(300, *program.inputs[0].shape[1:])
    expected = torch.nn.functional.one_hot(PackedNetwork(program)(x).argmax(1).long(), len(gates.classes)).bool()
    for whole in (False, True) if len(gates.bits) <= 12 else (False,):
        assert torch.equal(equations_of(gates, whole)(x), expected)


def test_equal_counts_go_to_the_lowest_class() -> None:
    gates = written(frozen("full"))
    tied = dataclasses.replace(
        gates, classes=tuple(dataclasses.replace(gates.classes[0], name=name, offset=o) for name, o in zip("abc", (1, 2, 2), strict=True))
    )
    assert equations_of(tied, whole=False)(torch.rand(50, 8)).int().argmax(1).unique().tolist() == [1]


@pytest.mark.parametrize("form", ["full", "bits"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_written_equals_the_network(form: str, way: str) -> None:
    program = frozen(form)
    gates = written(program)
    for made in (gates, equations_of(gates), equations_of(gates, whole=False)):
        verdict = compared(program, made, way)
        assert (verdict.equal, verdict.way) == (True, way)
    assert compared(program, gates).tried == {"full": 2**8, "bits": 3**4}[form]


@pytest.mark.parametrize("seed", range(3))
def test_both_ways_find_what_a_broken_gate_changes(seed: int) -> None:
    program = frozen("full", seed)
    gates, network, found = written(program), PackedNetwork(program), 0
    for place, each in enumerate(gates.gates):
        broken = (*gates.gates[:place], dataclasses.replace(each, threshold=each.threshold + 1), *gates.gates[place + 1 :])
        changed = dataclasses.replace(gates, gates=broken)
        made: GateList | Equations
        for made in (changed, equations_of(changed, whole=False)):
            verdicts = [compared(program, made, way) for way in WAYS]
            assert verdicts[0].equal == verdicts[1].equal
            for verdict in verdicts:
                if not verdict.equal:
                    assert verdict.counterexample is not None
                    assert int(network(verdict.counterexample[None]).argmax()) == verdict.network != verdict.written
                    found += 1
    assert found > 4


@pytest.mark.parametrize("way", WAYS)
def test_a_dropped_product_is_found(way: str) -> None:
    program = frozen("full")
    made = equations_of(written(program))
    place = max(range(3), key=lambda k: len(made.equations[k].products))
    fewer = dataclasses.replace(made.equations[place], products=made.equations[place].products[1:])
    broken = dataclasses.replace(made, equations=(*made.equations[:place], fewer, *made.equations[place + 1 :]))
    verdict = compared(program, broken, way)
    assert not verdict.equal
    assert verdict.network == place
    assert verdict.written == -1


def test_above_what_can_be_listed_it_is_proved() -> None:
    program = frozen("wide")
    gates = again(program)
    verdict = compared(program, gates)
    assert (verdict.equal, verdict.way) == (True, "sat")
    broken = dataclasses.replace(
        gates, classes=(dataclasses.replace(gates.classes[0], offset=gates.classes[0].offset + 1), *gates.classes[1:])
    )
    assert compared(program, broken).equal is False
    with pytest.raises(UnsupportedError, match="too many inputs to try them one by one"):
        compared(program, gates, "exhaustive")


def test_what_is_too_much_says_how_much() -> None:
    with pytest.raises(UnsupportedError, match=r"g has too many inputs for a truth table\n  found: 13\n  allowed: at most 12"):
        table(gate(7, 6, 1))
    with pytest.raises(UnsupportedError, match=r"found: 2\d bits, 8 gates"):
        equations_of(written(frozen("wide")), whole=True)
    with pytest.raises(DataError, match="inputs of another shape"):
        compared(frozen("full"), written(frozen("bits")))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyeda.boolalg.espresso", None)
    with pytest.raises(ResourceError, match="spikeloom\\[logic\\]"):
        equations_of(written(frozen("full")))
    monkeypatch.setitem(__import__("sys").modules, "pysat.card", None)
    with pytest.raises(ResourceError, match="spikeloom\\[logic\\]"):
        compared(frozen("full"), written(frozen("full")), "sat")
