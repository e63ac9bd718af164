"""Passes: a chain fits before any work, each pass has its own randomness, and what it did not declare it may not touch."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from tests.ir.networks import captured
from torch import nn

from spikeloom.convert import Spike
from spikeloom.errors import InternalError, VerifyError
from spikeloom.ir import Context, Dialect, Pass, PlanRow, Program, calls, check_fit, clone, run, text

A = torch.ops.aten
ANY = frozenset(Dialect)


@dataclass(frozen=True)
class Edit(Pass):
    """Does to a program what it is told, and records it."""

    edit: Callable[[Program], Program]
    takes: ClassVar[frozenset[Dialect]] = ANY

    def __call__(self, program: Program, context: Context) -> Program:
        return self.edit(program).recorded(self.record())


class Nodes(Edit):
    touches: ClassVar[frozenset[str]] = frozenset({"nodes"})


class Tensors(Edit):
    touches: ClassVar[frozenset[str]] = frozenset({"tensors"})


class Neurons(Edit):
    touches: ClassVar[frozenset[str]] = frozenset({"neurons"})


class Rows(Edit):
    touches: ClassVar[frozenset[str]] = frozenset({"plan"})


class ToSpikes(Edit):
    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN, Dialect.QNN})
    gives: ClassVar[Dialect | None] = Dialect.SNN
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors", "neurons"})


@dataclass(frozen=True)
class Draw(Pass):
    """Records a random number of its own."""

    name: str = "draw"
    takes: ClassVar[frozenset[Dialect]] = ANY
    papers: ClassVar[tuple[str, ...]] = ("a paper",)

    def __call__(self, program: Program, context: Context) -> Program:
        return program.recorded(self.record(drawn=float(torch.rand((), generator=context.generator()))))


@pytest.fixture(scope="module")
def ann() -> Program:
    return captured(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)), 2, 3)


@pytest.fixture(scope="module")
def snn(ann: Program) -> Program:
    return Spike()(ann, Context())


def same(program: Program) -> Program:
    return program


def with_tensor(name: str) -> Callable[[Program], Program]:
    """An edit that puts another tensor of the same shape in one's place."""
    return lambda program: program.replaced(tensors={**program.tensors, name: program.tensors[name] + 1})


def as_square(program: Program) -> Program:
    """The activation becomes another operation of the same shape."""
    graph = clone(program.graph)
    next(node for node in calls(graph) if node.name == "relu").target = A.square.default
    return program.replaced(graph=graph)


def with_plan(program: Program) -> Program:
    return program.replaced(plan=(PlanRow("relu", "aten.relu.default", "population", "exact"),))


def to_spiking(program: Program) -> Program:
    return program.replaced(dialect=Dialect.SNN)


def test_neighbours_that_do_not_fit_are_refused_before_any_work(ann: Program) -> None:
    ran: list[str] = []
    chain = [Edit(lambda program: ran.append("first") or program), ToSpikes(to_spiking), ToSpikes(to_spiking)]
    with pytest.raises(VerifyError, match=r"(?s)^ToSpikes cannot follow ToSpikes\s+found: dialect snn\s+allowed: ann, qnn"):
        run(chain, ann, Context())
    with pytest.raises(VerifyError, match=r"(?s)^ToSpikes cannot follow the program\s+found: dialect hw"):
        run([ToSpikes(to_spiking)], ann.replaced(dialect=Dialect.HW), Context())
    assert ran == []


def test_a_chain_that_fits_says_which_dialect_comes_out() -> None:
    assert check_fit([Draw(), ToSpikes(to_spiking), Draw()], Dialect.QNN) is Dialect.SNN
    assert check_fit([Draw()], Dialect.QNN) is Dialect.QNN


def test_each_pass_leaves_one_record_of_its_options_numbers_papers_and_seconds(ann: Program) -> None:
    program = run([Draw("a"), Draw("b")], ann, Context(seed=3))
    assert [(record.name, record.options, record.papers) for record in program.records] == [
        ("Draw", {"name": "a"}, ("a paper",)),
        ("Draw", {"name": "b"}, ("a paper",)),
    ]
    assert all(record.seconds > 0 for record in program.records)
    assert ann.records == ()


def drawn(program: Program) -> list[float]:
    return [record.numbers["drawn"] for record in program.records]


def test_each_place_has_its_own_generator_and_a_resumed_chain_equals_an_unbroken_one(ann: Program) -> None:
    chain = [Draw(), Draw(), Draw()]
    unbroken = drawn(run(chain, ann, Context(seed=3)))
    assert len(set(unbroken)) == 3
    assert drawn(run(chain, ann, Context(seed=3))) == unbroken
    assert drawn(run(chain[1:], run(chain[:1], ann, Context(seed=3)), Context(seed=3))) == unbroken
    assert not set(drawn(run(chain, ann, Context(seed=4)))) & set(unbroken)


@pytest.mark.parametrize(
    ("step", "what"),
    [
        (Edit(as_square), "Edit changed the graph"),
        (Tensors(as_square), "Tensors changed the graph"),
        (Edit(with_tensor("0.weight")), r"Edit changed the tensor 0.weight but does not declare 'tensors'"),
        (Nodes(with_tensor("0.weight")), r"Nodes changed the tensor 0.weight but does not declare 'tensors'"),
        (Neurons(with_tensor("0.weight")), r"Neurons changed the tensor 0.weight but does not declare 'tensors'"),
        (Edit(with_plan), "Edit changed the plan"),
        (Nodes(with_plan), "Nodes changed the plan"),
        (Nodes(lambda program: program.replaced(dialect=Dialect.QNN)), "Nodes gave the dialect qnn"),
        (ToSpikes(same), "ToSpikes gave the dialect ann"),
        (Nodes(lambda program: program.recorded(Draw().record())), "must leave one record, left 2"),
    ],
)
def test_what_a_pass_does_not_declare_it_may_not_touch(step: Pass, what: str, ann: Program) -> None:
    with pytest.raises(InternalError, match=what):
        run([step], ann, Context())


def test_the_tensors_of_populations_are_neurons_and_those_of_layers_are_not(snn: Program) -> None:
    with pytest.raises(InternalError, match=r"Tensors changed the tensor spike_relu.step but does not declare 'neurons'"):
        run([Tensors(with_tensor("spike_relu.step"))], snn, Context())
    with pytest.raises(InternalError, match=r"Neurons changed the tensor 2.weight but does not declare 'tensors'"):
        run([Neurons(with_tensor("2.weight"))], snn, Context())


@pytest.mark.parametrize(
    "step", [Nodes(as_square), Tensors(with_tensor("0.weight")), Rows(with_plan), Nodes(same)], ids=["nodes", "tensors", "plan", "nothing"]
)
def test_what_a_pass_declares_it_may_touch(step: Pass, ann: Program) -> None:
    before = text(ann)
    assert len(run([step], ann, Context()).records) == 1
    assert text(ann) == before


def test_neurons_may_be_touched_by_a_pass_that_says_so(snn: Program) -> None:
    after = run([Neurons(with_tensor("spike_relu.step"))], snn, Context())
    assert after.tensors["spike_relu.step"] is not snn.tensors["spike_relu.step"]


def test_every_pass_is_verified(ann: Program) -> None:
    def broken(program: Program) -> Program:
        return program.replaced(tensors={**program.tensors, "2.weight": torch.zeros(2, 5)})

    with pytest.raises(VerifyError, match="shapes disagree"):
        run([Nodes2(broken)], ann, Context())


class Nodes2(Edit):
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})


def test_a_pass_is_a_value() -> None:
    assert Spike(levels=7) == Spike(levels=7) != Spike(levels=8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spike().levels = 3  # type: ignore[misc]
    assert not set(vars(Spike())) - {field.name for field in dataclasses.fields(Spike)}


def test_progress_and_calibration_are_never_part_of_the_record(ann: Program) -> None:
    seen: list[Any] = []
    context = Context(progress=lambda *told: seen.append(told), calibration=list)
    assert run([Draw()], ann, context).records[0].options == {"name": "draw"}
    assert seen == []
