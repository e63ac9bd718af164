"""
Verification: a program obeys its dialect's rule table, its shapes agree, and in the SNN dialect every edge carries
what its reader takes.

An edge of an SNN carries one of three things (DESIGN.md §5):

    spike    at most 2N+1 values per scale group: the output of a population, moved, selected or max-pooled
    input    analog values as they come in; the first layer pays multiply-accumulates for them
    current  what affine operations, sums and declared floating exceptions give; goes into populations, sums, or out

An affine operation, a product or a maximum that reads current is illegal: a population is missing there.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode

from spikeloom.errors import VerifyError
from spikeloom.ir.graph import calls, dynamic, kind
from spikeloom.ir.layers import weighted, weights_of
from spikeloom.ir.program import Program
from spikeloom.ir.quantised import Quantised
from spikeloom.ir.rules import RULES, Dialect, Kind, name_of
from spikeloom.ir.signals import Signal, needs_spikes, note, signals
from spikeloom.ir.text import line, spec_text


def shapes(program: Program, inputs: Sequence[torch.Size] | None = None) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of every tensor-valued node at the example batch, or for inputs of other shapes, by running the graph on fake
    tensors.

    Raises VerifyError naming the operation whose shapes do not agree.
    """
    with FakeTensorMode(allow_non_fake_inputs=False), torch.no_grad():
        runner = _Shapes(program)
        given = [spec.shape for spec in program.inputs] if inputs is None else inputs
        values = [torch.empty(shape, dtype=getattr(torch, spec.dtype)) for shape, spec in zip(given, program.inputs, strict=True)]
        runner.run(*values)
    return runner.found


class _Shapes(fx.Interpreter):
    """Runs a graph on fake tensors and keeps each value's shape and dtype."""

    def __init__(self, program: Program) -> None:
        super().__init__(torch.nn.Module(), graph=program.graph)
        self.program = program
        self.found: dict[str, tuple[tuple[int, ...], str]] = {}

    def fetch_attr(self, target: str) -> Any:
        held = self.program.tensors[target]
        return torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device=held.device)  # made fake by the mode

    def run_node(self, n: fx.Node) -> Any:
        try:
            value = super().run_node(n)
        except Exception as error:
            raise VerifyError("shapes disagree", found=f"{line(n)}: {str(error).splitlines()[0]}") from error
        if isinstance(value, torch.Tensor):
            self.found[n.name] = (tuple(int(size) for size in value.shape), str(value.dtype).removeprefix("torch."))
        return value


def shaped(program: Program) -> Program:
    """The program with every node's shape and dtype in `meta["spec"]`."""
    found = shapes(program)
    for node in program.graph.nodes:
        node.meta.pop("spec", None)
        if node.name in found:
            node.meta["spec"] = found[node.name]
    return program


def illegal(program: Program) -> list[str]:
    """The operations that may not stand in the program's dialect, one line each."""
    rows = [(node, RULES.get(name_of(node.target))) for node in calls(program.graph)]
    return [line(node) for node, rule in rows if rule is None or program.dialect not in rule.dialects]


def miswired(program: Program) -> list[str]:
    """The edges of an SNN that carry current where spikes are needed, and activations left undeclared, one line each."""
    live, carried, bad = dynamic(program.graph), signals(program.graph), list[str]()
    for node in calls(program.graph):
        what = kind(node, live)
        if node not in live or "floating" in note(node):
            continue
        if what in (Kind.ACTIVATION, Kind.NORM):
            bad.append(f"{line(node)}: neither a population nor a declared exception")
        if needs_spikes(node, live, carried):
            bad += [f"{line(node)}: reads current from %{x.name}" for x in node.all_input_nodes if carried.get(x) is Signal.CURRENT]
    return bad


def check_shapes(program: Program) -> None:
    """The shapes that the graph gives equal those written on its nodes."""
    found = shapes(program)
    for node in program.graph.nodes:
        spec, now = node.meta.get("spec"), found.get(node.name)
        if spec is not None and now != spec:
            raise VerifyError(
                f"the shape of %{node.name} disagrees", found=spec_text(*now) if now else "no tensor", allowed=spec_text(*spec)
            )


def unrounded(program: Program) -> list[str]:
    """The layers of a QNN whose weights lie on no grid, one line each."""
    layers = [node for node in calls(program.graph) if weighted(node)]
    return [line(node) for node in layers if not isinstance(weights_of(node, program.tensors)[0], Quantised)]


def verify(program: Program) -> None:
    """The program is legal in its dialect; a VerifyError lists everything that is not."""
    missing = [str(node.target) for node in program.graph.nodes if node.op == "get_attr" and str(node.target) not in program.tensors]
    if missing:
        raise VerifyError("the graph reads constants the program does not hold", found=", ".join(missing[:8]))
    if bad := illegal(program):
        raise VerifyError(
            f"not legal in the dialect {program.dialect}", found="\n    ".join(bad), todo="run `spikeloom check` for what to do"
        )
    check_shapes(program)
    if program.dialect is Dialect.QNN and (bad := unrounded(program)):
        raise VerifyError("weights on no grid", found="\n    ".join(bad), todo="quantise the program")
    if program.dialect is Dialect.SNN and (bad := miswired(program)):
        raise VerifyError("edges that carry no spikes where spikes are needed", found="\n    ".join(bad))
