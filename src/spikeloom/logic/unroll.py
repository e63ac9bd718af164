"""
Unrolling: every element of every tensor of a netlist becomes a bit, a gate or a count of its own.

Elements are numbered, 0 being silence (what lies outside a picture). Moves move the numbers; a convolution reads the numbers of each
window. A move that does more than move (fills in, compares) is found by moving two numberings.
"""

import math
from math import prod
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.errors import ProgramError, UnsupportedError
from spikeloom.ir import Program
from spikeloom.logic.gates import ClassCount, GateList, InputBit, ThresholdGate, swept_gates
from spikeloom.logic.netlist import Compare, Count, Either, Fire, Move, Netlist, Offset, Step, Sum, netlist

MOST_WIRES = 1 << 22
"""Inputs of gates, all together, of a network that is written out."""

Form = dict[int, int]
"""Σ weight·spike: weights by the numbers of spikes; 0 has the offset."""


def written(program: Program) -> GateList:
    """The program as threshold gates, without those that no class depends on.

    Raises ProgramError where it does more than count and compare, UnsupportedError where it has over `MOST_WIRES` wires.
    """
    return unrolled(netlist(program))


def unrolled(given: Netlist) -> GateList:
    """See `written`."""
    wires = sum(wires_of(step, given) for step in given.steps)
    if wires > MOST_WIRES:
        raise UnsupportedError(
            "the network is too large to be written out gate by gate", found=f"{wires:,} wires", allowed=f"at most {MOST_WIRES:,}"
        )
    unroller = _Unroller(given)
    for number, step in enumerate(given.steps, 1):
        unroller.take(number, step)
    return swept_gates(unroller.result())


def wires_of(step: Step, given: Netlist) -> int:
    """The most inputs that a step's gates can have together."""
    if isinstance(step, Count):
        return int((step.codes != 0).sum()) * prod(given.shapes[step.name][2:])
    if isinstance(step, Either):
        return prod(given.shapes[step.name][1:]) * step.kernel**2
    return 0


def moved(step: Move, *values: Any) -> Any:
    """The numbers [1, ...] after a move. Raises ProgramError where it does more than move."""
    found = step.place(*values)
    if not isinstance(found, Tensor):
        return found
    most = 1 + max(int(value.max()) for value in values if isinstance(value, Tensor))
    turned = step.place(*(torch.where(v > 0, most - v, v) if isinstance(v, Tensor) else v for v in values))
    if found.dtype != torch.int64 or not torch.equal(turned, torch.where(found > 0, most - found, found)):
        raise ProgramError("the program does more than count, compare and move", found=step.name, todo="convert with --method logic_gated")
    return found


def along(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One value a channel (or one for all) at every element of [1, C, ...]."""
    return values.view(1, -1, *(1,) * (len(shape) - 2)).expand(shape)


def windows(numbers: Tensor, kernel: tuple[int, int], stride: int, padding: int) -> Tensor:
    """Numbers [B, C, H, W] → those of each window [B, C·KH·KW, positions]."""
    return F.unfold(numbers.double(), kernel, padding=padding, stride=stride).long()


@final
class _Unroller:
    """Numbers of every step's elements, and what they stand for."""

    def __init__(self, given: Netlist) -> None:
        self.netlist = given
        self.shape = tuple(int(size) for size in given.shapes[given.input][1:])
        self.numbers: dict[str, Any] = {given.input: 1 + torch.arange(prod(self.shape)).view(1, *self.shape)}
        self.kinds = {given.input: "values"}
        self.names = [""]
        self.forms: list[Form] = [{}]
        self.bits: list[InputBit] = []
        self.gates: list[ThresholdGate] = []

    def take(self, number: int, step: Step) -> None:
        reads = [self.numbers[read] for read in step.reads]
        kinds = {self.kinds[read] for read in step.reads if self.kinds[read] != "sizes"}
        if isinstance(step, Move):
            found = moved(step, *reads)
            kind = kinds.pop() if isinstance(found, Tensor) and len(kinds) == 1 else "sizes"
            self.numbers[step.name], self.kinds[step.name] = found, kind
            return
        due = {"values", "spikes"} if isinstance(step, Compare) else {"spikes"} if isinstance(step, Count | Either) else {"counts"}
        if not kinds <= due:
            raise ProgramError(f"{step.name} reads {' and '.join(sorted(kinds))}", allowed=" or ".join(sorted(due)))
        self.numbers[step.name] = self._made(number, step, reads, kinds)
        self.kinds[step.name] = "counts" if isinstance(step, Count | Sum | Offset) else "spikes"

    def _made(self, number: int, step: Compare | Count | Fire | Either | Sum | Offset, reads: list[Tensor], kinds: set[str]) -> Tensor:
        if isinstance(step, Compare):
            return self._bits(number, step, reads[0]) if kinds == {"values"} else self._passed(number, step, reads[0])
        if isinstance(step, Fire):
            return self._fired(number, step, reads[0])
        if isinstance(step, Either):
            return self._either(number, step, reads[0])
        if isinstance(step, Count):
            return self._counted(step, reads[0])
        if isinstance(step, Sum):
            return self._added(reads[0], [self.forms[int(n)] for n in reads[1].flatten()])
        return self._added(reads[0], [{0: int(offset)} for offset in step.offsets.expand(reads[0].shape).flatten()])

    def _named(self, number: int, shape: tuple[int, ...], letter: str) -> tuple[Tensor, list[str]]:
        """New numbers for all elements of a shape, and their names."""
        first = len(self.names)
        names = [f"{letter}{number}_{'_'.join(map(str, place))}" for place in np.ndindex(*shape[1:])]
        self.names += names
        return torch.arange(first, first + len(names)).view(shape), names

    def _bits(self, number: int, step: Compare, read: Tensor) -> Tensor:
        made, names = self._named(number, tuple(read.shape), "b")
        thresholds = along(step.thresholds, tuple(read.shape)).flatten().tolist()
        if not bool(read.all()):
            raise ProgramError("a bit of something that is no value of the input", found=step.name)
        rows = zip(names, read.flatten().tolist(), thresholds, strict=True)
        self.bits += [InputBit(name, value - 1, threshold) for name, value, threshold in rows]
        return made

    def _passed(self, number: int, step: Compare, read: Tensor) -> Tensor:
        """A spike compared: itself, always or never."""
        thresholds = along(step.thresholds, tuple(read.shape)).flatten().tolist()
        rows = zip(read.flatten().tolist(), thresholds, strict=True)
        return self._gates(number, tuple(read.shape), [({n: 1} if n else {}, min(max(math.ceil(t), 0), 2)) for n, t in rows])

    def _fired(self, number: int, step: Fire, read: Tensor) -> Tensor:
        thresholds = along(step.thresholds, tuple(read.shape)).flatten().tolist()
        rows = zip(read.flatten().tolist(), thresholds, strict=True)
        return self._gates(number, tuple(read.shape), [(self.forms[n], t) for n, t in rows])

    def _either(self, number: int, step: Either, read: Tensor) -> Tensor:
        shape = tuple(int(size) for size in self.netlist.shapes[step.name])
        each = windows(read.transpose(0, 1), (step.kernel, step.kernel), step.stride, 0)
        rows = [({int(n): 1 for n in window if n}, 1) for window in each.transpose(1, 2).flatten(0, 1)]
        return self._gates(number, (1, *shape[1:]), rows)

    def _gates(self, number: int, shape: tuple[int, ...], rows: list[tuple[Form, int]]) -> Tensor:
        made, names = self._named(number, shape, "g")
        for name, (form, threshold) in zip(names, rows, strict=True):
            self.gates.append(ThresholdGate(name, *self._sides(form), threshold - form.get(0, 0)))
        return made

    def _sides(self, form: Form) -> tuple[tuple[str, ...], tuple[str, ...]]:
        signals = [(self.names[n], weight) for n, weight in form.items() if n]
        plus, minus = ([name for name, weight in signals for _ in range(sign * weight)] for sign in (1, -1))
        return tuple(plus), tuple(minus)

    def _counted(self, step: Count, read: Tensor) -> Tensor:
        outputs, each = step.codes.shape[0], step.codes.shape[0] // step.groups
        if step.codes.dim() == 2:
            rows, shape = read.view(read.shape[-1], 1).numpy(), (1, outputs)
        else:
            kernel = (step.codes.shape[2], step.codes.shape[3])
            shape = (1, *(int(size) for size in self.netlist.shapes[step.name][1:]))
            rows = windows(read, kernel, step.stride, step.padding)[0].numpy()
        codes, part = step.codes.flatten(1).numpy(), step.codes[0].numel()
        forms = list[Form]()
        for output in range(outputs):
            kept = np.flatnonzero(codes[output])
            numbers, weights = rows[output // each * part + kept], codes[output][kept].tolist()
            forms += [_form(column, weights) for column in numbers.T.tolist()]
        return self._hold(forms, shape)

    def _added(self, read: Tensor, more: list[Form]) -> Tensor:
        return self._hold([_sum(self.forms[n], form) for n, form in zip(read.flatten().tolist(), more, strict=True)], tuple(read.shape))

    def _hold(self, forms: list[Form], shape: tuple[int, ...]) -> Tensor:
        first = len(self.forms)
        self.forms += forms
        return torch.arange(first, first + len(forms)).view(shape)

    def result(self) -> GateList:
        """All gates, whether a class depends on them or not."""
        answers = self.numbers[self.netlist.output]
        if answers.dim() != 2:
            raise ProgramError("a network that is written out answers with one count for each class", found=tuple(answers.shape[1:]))
        forms = [self.forms[n] for n in answers.flatten().tolist()]
        classes = [ClassCount(f"class_{k}", *self._sides(form), form.get(0, 0)) for k, form in enumerate(forms)]
        return GateList(self.shape, tuple(self.bits), tuple(self.gates), tuple(classes))


def _form(numbers: list[int], weights: list[int]) -> Form:
    found: Form = {}
    for number, weight in zip(numbers, weights, strict=True):
        if number:
            found[number] = found.get(number, 0) + weight
    return found


def _sum(a: Form, b: Form) -> Form:
    found = dict(a)
    for number, weight in b.items():
        found[number] = found.get(number, 0) + weight
    return found
