"""Threshold gates: what is unrolled counts as the packed network does; text and JSON hold all of it."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.logic.threshold_networks import FORMS, frozen
from torch import Tensor
from torch.nn import functional

from spikeloom import ir, logic
from spikeloom.errors import DataError, ProgramError, UnsupportedError
from spikeloom.logic import ClassCount, GateList, InputBit, ThresholdGate, as_data, as_text, equations_of, parsed, written
from spikeloom.logic.netlist import Compare, Count, Fire, Move, Netlist, Offset, Sum
from spikeloom.logic.unroll import moved, unrolled

TEXT = """spikeloom gates 1
# a remark
input 1 2
bit a = value 0 >= 0.5
bit b = value 1 >= -1.5e-3

gate g = + a - b >= 0
class no = + 3
class yes = + g + g - b - 2
"""
READ = GateList(
    (1, 2),
    (InputBit("a", 0, 0.5), InputBit("b", 1, -1.5e-3)),
    (ThresholdGate("g", ("a",), ("b",), 0),),
    (ClassCount("no", (), (), 3), ClassCount("yes", ("g", "g"), ("b",), -2)),
)


@pytest.mark.parametrize("form", FORMS)
def test_gates_count_as_the_packed_network_does(form: str) -> None:
    program = frozen(form)
    gates, x = written(program), torch.rand(300, *program.inputs[0].shape[1:])
    expected = logic.PackedNetwork(program)(x)
    assert torch.equal(gates(x), expected)
    assert len(expected.unique(dim=0)) > 5
    assert parsed(as_text(gates)) == gates


@pytest.mark.parametrize("form", FORMS)
def test_names_are_defined_once_and_before_they_are_read(form: str) -> None:
    gates = written(frozen(form))
    known = {bit.name for bit in gates.bits}
    for gate in gates.gates:
        assert set(gate.inputs) <= known
        assert gate.name not in known
        known.add(gate.name)
    read = {name for each in (*gates.gates, *gates.classes) for name in (*each.plus, *each.minus)}
    assert read == known
    assert gates.wires == sum(len(each.plus + each.minus) for each in (*gates.gates, *gates.classes))


def test_text_says_what_the_format_says() -> None:
    assert parsed(TEXT) == READ
    assert parsed(as_text(READ)) == READ
    assert READ(torch.tensor([[[1.0, -1.0]], [[0.0, 0.0]]])).tolist() == [[3, 0], [3, -3]]


def test_json_holds_the_same() -> None:
    data = json.loads(json.dumps(as_data(READ)))
    assert data["format"] == "spikeloom gates 1"
    assert data["gates"] == [{"name": "g", "plus": ["a"], "minus": ["b"], "threshold": 0}]
    assert data["classes"][1] == {"name": "yes", "plus": ["g", "g"], "minus": ["b"], "offset": -2}


def test_equations_come_back_from_their_text() -> None:
    made = equations_of(written(frozen("bits")), whole=False)
    assert parsed(as_text(made)) == made


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("spikeloom gates 1", "spikeloom gates 2", "line 1: this is no list"),
        ("+ a - b", "+ a - c", "line 7: c is not defined"),
        ("+ a - b", "+ a b", "line 7: a sum is"),
        ("gate g", "gate a", "line 7: a is defined twice"),
        ("gate g", "gate 1g", "line 7: a name"),
        (">= 0\n", ">= 0.5\n", "line 7: '0.5' is no whole number"),
        ("value 1", "value 2", "line 5: a sample has no value 2"),
        ("input 1 2", "input 0", "line 3: this is no shape"),
        ("# a remark", "input 3", "line 3: the line `input`"),
        ("gate g", "door g", "line 7: unknown word 'door'"),
        (TEXT[TEXT.index("class") :], "", "the text ends before the first class"),
    ],
)
def test_a_bad_line_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        parsed(TEXT.replace(old, new, 1))


def test_inputs_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match="another shape"):
        READ(torch.zeros(1, 2))


def test_a_network_too_large_says_how_large_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.logic.unroll.MOST_WIRES", 100)
    with pytest.raises(UnsupportedError, match=r"found: [\d,]+ wires\n  allowed: at most 100"):
        written(frozen("pooled"))


@pytest.mark.parametrize("place", [lambda x: functional.pad(x, (1, 0), value=1), lambda x: x * (x > 2), lambda x: x > 1, lambda x: 1 - x])
def test_what_does_more_than_move_is_refused(place: Callable[[Tensor], Tensor]) -> None:
    numbers = torch.tensor([[1, 2, 3, 0]])
    with pytest.raises(ProgramError, match="more than count, compare and move"):
        moved(Move("pad", ("x",), place), numbers)


def test_what_moves_or_is_silent_is_taken() -> None:
    numbers = torch.tensor([[1, 2, 3, 0]])
    found = moved(Move("pad", ("x",), lambda x: functional.pad(x.flip(1), (1, 0))), numbers)
    assert found.tolist() == [[0, 0, 3, 2, 1]]


def test_a_written_program_survives_saving(tmp_path: Path) -> None:
    program = frozen("residual")
    ir.save(program, tmp_path / "net")
    assert written(ir.load(tmp_path / "net")) == written(program)


def by_hand() -> Netlist:
    """Three bits; counts with offsets before their gates; spikes compared again: always, as they are, never."""
    codes = torch.tensor([[1, 1, -1], [-1, 0, 1], [1, -1, 1]], dtype=torch.int8)
    steps = (
        Compare("bits", ("x",), torch.tensor([0.5])),
        Count("c", ("bits",), codes),
        Offset("o", ("c",), torch.tensor([2, -1, 0], dtype=torch.int32)),
        Fire("g", ("o",), torch.tensor([3, 0, 1], dtype=torch.int32)),
        Compare("again", ("g",), torch.tensor([-0.5, 0.5, 1.5])),
        Sum("twice", ("o", "o")),
        Fire("h", ("twice",), torch.tensor([5, -1, 2], dtype=torch.int32)),
        Count("d", ("again",), codes),
        Count("e", ("h",), codes),
        Sum("y", ("d", "e")),
    )
    return Netlist("x", steps, "y", dict.fromkeys(("x", *(step.name for step in steps)), (2, 3)))


def answered_by_hand(x: Tensor) -> Tensor:
    codes = torch.tensor([[1, 1, -1], [-1, 0, 1], [1, -1, 1]])
    o = x.long() @ codes.T + torch.tensor([2, -1, 0])
    again = ((o >= torch.tensor([3, 0, 1])).float() >= torch.tensor([-0.5, 0.5, 1.5])).long()
    return again @ codes.T + (2 * o >= torch.tensor([5, -1, 2])).long() @ codes.T


def test_offsets_sums_of_one_count_and_spikes_compared_again() -> None:
    x = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
    expected = answered_by_hand(x)
    gates = unrolled(by_hand())
    assert torch.equal(gates(x).long(), expected)
    assert len(expected.unique(dim=0)) > 3


def test_clauses_say_of_them_what_happens() -> None:
    pytest.importorskip("pysat", reason="needs spikeloom[logic]")
    from spikeloom.logic.clauses import Clauses, network_clauses

    for row in itertools.product((0.0, 1.0), repeat=3):
        clauses = Clauses((3,))
        _, wins = network_clauses(clauses, by_hand())
        for value, on in enumerate(row):
            clauses.add(clauses.bit(value, 0.5) * (1 if on else -1))
        never = clauses.every([]) * -1
        won = [clauses.apart(win, -never) is None for win in wins]
        assert won.index(True) == int(answered_by_hand(torch.tensor([row])).argmax())
        assert sum(won) == 1
