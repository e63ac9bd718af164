"""
Whether what was written out answers as the network does, for every input.

    exhaustively   all inputs, up to 2^20: `PackedNetwork` beside the gates or equations
    by SAT         above: both as clauses, and a solver that looks for an input where they differ

Clauses and both sides' ways into them: `clauses`. Gates of one name are proved equal one after another, each by those before it (SAT
sweeping), and at the end that no class wins on one side alone.

Source: Kuehlmann & Krohm 1997 (sweeping).
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, final

import torch
from torch import Tensor

from spikeloom.errors import DataError, UnsupportedError
from spikeloom.ir import Program
from spikeloom.logic.clauses import Clauses, network_clauses
from spikeloom.logic.equations import Equations, ladder
from spikeloom.logic.gates import GateList, InputBit, representatives, winning_gates
from spikeloom.logic.netlist import Compare, Move, Netlist, netlist
from spikeloom.logic.packed import PackedNetwork
from spikeloom.logic.unroll import along, moved

MOST_LISTED = 1 << 20
"""Inputs that are tried one by one."""
AT_ONCE = 4096


@final
@dataclass(frozen=True, eq=False)
class Verdict:
    """`equal`, or a `counterexample`: a sample where the network answers `network` and what was written answers `written` (−1: no class,
    or several). `way` is "exhaustive" or "sat"; `tried` inputs were listed, or gates proved."""

    equal: bool
    way: str
    tried: int
    counterexample: Tensor | None = None
    network: int | None = None
    written: int | None = None


def compared(program: Program, written: GateList | Equations, way: str | None = None) -> Verdict:
    """Whether the written form gives the program's answer for every input: exhaustively up to `MOST_LISTED` inputs, else by SAT, or `way`.

    Raises DataError for samples of another shape, UnsupportedError where that way is out of reach, ResourceError where PySAT is missing or
    gives up.
    """
    network, given = PackedNetwork(program), netlist(program)
    if network.shape != written.shape:
        raise DataError("what was written takes inputs of another shape", found=written.shape, allowed=network.shape)
    ways = representatives((*written.bits, *_own_bits(given)), written.shape)
    inputs = prod(len(each) for each in ways)
    chosen = way or ("exhaustive" if inputs <= MOST_LISTED else "sat")
    if chosen == "sat":
        return _by_sat(network, given, written)
    if inputs > MOST_LISTED:
        raise UnsupportedError(
            "too many inputs to try them one by one", found=f"{inputs:,}", allowed=f"at most {MOST_LISTED:,}", todo="use SAT"
        )
    return _by_listing(network, written, ways)


def answers(written: GateList | Equations, x: Tensor) -> Tensor:
    """The class that wins for each sample, −1 where equations name none or several."""
    found = written(x)
    if isinstance(written, GateList):
        return found.argmax(1)
    return torch.where(found.sum(1) == 1, found.int().argmax(1), -1)


def _by_listing(network: PackedNetwork, written: GateList | Equations, ways: Sequence[tuple[float, ...]]) -> Verdict:
    every, tried = itertools.product(*ways), 0
    while part := list(itertools.islice(every, AT_ONCE)):
        x = torch.tensor(part).view(-1, *written.shape)
        verdict = _differing(network, written, x, tried)
        if verdict is not None:
            return verdict
        tried += len(part)
    return Verdict(True, "exhaustive", tried)


def _differing(network: PackedNetwork, written: GateList | Equations, x: Tensor, tried: int) -> Verdict | None:
    ours, theirs = network(x).argmax(1), answers(written, x)
    apart = (ours != theirs).nonzero().flatten().tolist()
    if not apart:
        return None
    first = apart[0]
    return Verdict(False, "exhaustive", tried + first + 1, x[first], int(ours[first]), int(theirs[first]))


def _own_bits(given: Netlist) -> Iterator[InputBit]:
    """The network's bits, read off its own comparisons of input values."""
    numbers: dict[str, Any] = {given.input: 1 + torch.arange(prod(given.shapes[given.input][1:])).view(1, *given.shapes[given.input][1:])}
    for step in given.steps:
        if isinstance(step, Move) and all(read in numbers for read in step.reads):
            numbers[step.name] = moved(step, *(numbers[read] for read in step.reads))
        if isinstance(step, Compare) and step.reads[0] in numbers:
            read = numbers[step.reads[0]]
            for value, threshold in zip(read.flatten().tolist(), along(step.thresholds, tuple(read.shape)).flatten().tolist(), strict=True):
                yield InputBit(step.name, value - 1, threshold)


def _by_sat(network: PackedNetwork, given: Netlist, written: GateList | Equations) -> Verdict:
    if len(wanted := _as_equations(written).wins) != given.shapes[given.output][-1]:
        raise DataError("what was written has another number of classes", found=len(wanted))
    clauses = Clauses(written.shape)
    theirs = clauses.equations(_as_equations(written))
    gates, wins = network_clauses(clauses, given)
    proved = sum(clauses.same(literal, theirs[name]) for name, literal in gates.items() if name in theirs)
    for win, name in zip(wins, wanted, strict=True):
        if (sample := clauses.apart(win, theirs[name])) is not None:
            return Verdict(False, "sat", proved, sample, int(network(sample[None]).argmax()), int(answers(written, sample[None])))
    return Verdict(True, "sat", proved)


def _as_equations(written: GateList | Equations) -> Equations:
    """Gates as ladders: nothing is minimised, so that nothing but this module is trusted."""
    if isinstance(written, Equations):
        return written
    pairs, wins = winning_gates(written)
    found = tuple(equation for gate in (*written.gates, *pairs, *wins) for equation in ladder(gate))
    return Equations(written.shape, written.bits, found, tuple(gate.name for gate in wins))
