"""
A pass is a value with a contract: a frozen dataclass whose fields are its whole configuration, and a pure function
from program to program. `run` checks that neighbours fit before any work, verifies after every pass, and refuses a
pass that touched what it did not declare.
"""

import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor, fx

from spikeloom.errors import InternalError, VerifyError
from spikeloom.ir.mapped import bytes_of, trim
from spikeloom.ir.ops import OPERATIONS
from spikeloom.ir.program import Program, Record
from spikeloom.ir.rules import Dialect
from spikeloom.ir.text import text
from spikeloom.ir.verify import verify

LARGE_BYTES = 2**29
Batches = Callable[[], Iterable[tuple[Tensor, ...]]]
Progress = Callable[[str, int, int], None]
Settle = Callable[[Tensor, Tensor, Tensor, bool], Tensor]
"""Best weights [g, o, i], C = E[x xᵀ] of the layer's inputs [g, i, i], the layer's weights as they are, and whether they are pruned → the
weights it may have that lose least."""


Redrawn = Callable[[int], Mapping[str, Tensor]]
"""A number → tensors of a program by name; the same for the same number."""
Labelled = tuple[tuple[Tensor, ...], Tensor | None]
"""A batch: inputs [B, ...], and what is right for each, where that is known."""


@final
@dataclass(frozen=True)
class Examples:
    """What a network is trained on. `epoch(n)` gives the batches of the n-th epoch, a function of n alone, so that a training that is
    resumed sees the same; `held_out()` gives those that it is judged by and never trained on; an epoch has `steps` batches (None: they
    are counted)."""

    epoch: Callable[[int], Iterable[Labelled]]
    held_out: Callable[[], Iterable[Labelled]]
    steps: int | None = None


def silent(what: str, done: int, total: int) -> None:
    """A progress callback that shows nothing."""


@final
@dataclass(frozen=True)
class Context:
    """What a pass works with; never stored.

    `calibration` gives a fresh stream of input batches each time it is called; `progress(what, done, total)` is
    called as work goes on; `seed` and the pass's place give each pass its own generator; `scratch` is the folder for what does not fit
    into memory (None: the system's). For passes that bring a program closer to what it stands for, `reference` is the ANN with the same
    layers, before its weights were rounded or pruned, and `settle` gives corrected weights back to where such weights may be. `examples`
    are what passes that train learn from, and `checkpoint` is the file that they go on from where it exists; `redrawn` gives tensors of the
    program that they take anew at every step, by the step's number (of another chip, say), and by negative ones where they judge.
    """

    calibration: Batches | None = None
    device: str = "cpu"
    seed: int = 0
    progress: Progress = silent
    place: int = 0
    scratch: Path | None = None
    reference: Program | None = None
    settle: Settle | None = None
    examples: Examples | None = None
    checkpoint: Path | None = None
    redrawn: Redrawn | None = None

    def generator(self) -> torch.Generator:
        """The pass's own random generator, derived from the seed and the pass's place."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self.place)


@dataclass(frozen=True)
class Pass(ABC):
    """A rewriting step. `takes` and `gives` are its dialects (`gives` None: the same); `touches` is what it may change,
    of 'nodes', 'tensors', 'neurons' (tensors of populations), 'plan'; `papers` is what it implements."""

    takes: ClassVar[frozenset[Dialect]]
    gives: ClassVar[Dialect | None] = None
    touches: ClassVar[frozenset[str]] = frozenset()
    papers: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def __call__(self, program: Program, context: Context) -> Program:
        """The program rewritten; the one given is left as it was."""

    def record(self, **numbers: Any) -> Record:
        """A record of this pass with the numbers it found."""
        options = {field.name: _listed(getattr(self, field.name)) for field in dataclasses.fields(self)}
        return Record(type(self).__name__, options, numbers, self.papers)


def _listed(value: Any) -> Any:
    """An option as JSON has it: lists for tuples."""
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value


def check_fit(passes: Sequence[Pass], start: Dialect) -> Dialect:
    """The dialect that comes out of the chain; a VerifyError names the first neighbours that do not fit."""
    dialect, before = start, "the program"
    for step in passes:
        if dialect not in step.takes:
            allowed = ", ".join(sorted(step.takes))
            raise VerifyError(f"{type(step).__name__} cannot follow {before}", found=f"dialect {dialect}", allowed=allowed)
        dialect, before = step.gives or dialect, type(step).__name__
    return dialect


def check_touched(step: Pass, before: Program, after: Program) -> None:
    """Nothing changed but what the pass declared; an InternalError otherwise (a pass's bug, not the user's)."""
    name = type(step).__name__
    if not {"nodes", "neurons"} & step.touches and text(before) != text(after):
        raise InternalError(f"{name} changed the graph but does not declare it")
    if "plan" not in step.touches and before.plan != after.plan:
        raise InternalError(f"{name} changed the plan but does not declare it")
    if after.dialect is not (declared := step.gives or before.dialect):
        raise InternalError(f"{name} gave the dialect {after.dialect} but declares {declared}")
    owners = {str(node.target) for node in after.graph.nodes if node.op == "get_attr" and is_neuron_constant(node)}
    for key, tensor in before.tensors.items():
        same = key not in after.tensors or after.tensors[key] is tensor
        needed = "neurons" if key in owners else "tensors"
        if not same and needed not in step.touches:
            raise InternalError(f"{name} changed the tensor {key} but does not declare '{needed}'")


def is_neuron_constant(node: fx.Node) -> bool:
    """Whether a constant is read by populations alone."""
    return bool(node.users) and all(user.target in OPERATIONS.values() for user in node.users)


def run(passes: Sequence[Pass], program: Program, context: Context) -> Program:
    """The program after every pass, each verified; the chain is checked before any work is done."""
    check_fit(passes, program.dialect)
    for place, step in enumerate(passes, start=len(program.records)):
        began = time.perf_counter()
        after = step(program, dataclasses.replace(context, place=place))
        if len(after.records) != len(program.records) + 1:
            raise InternalError(f"{type(step).__name__} must leave one record, left {len(after.records) - len(program.records)}")
        check_touched(step, program, after)
        verify(after)
        last = dataclasses.replace(after.records[-1], seconds=time.perf_counter() - began)
        program = after.replaced(records=(*after.records[:-1], last))
        if large(program):
            trim()
    return program


def large(program: Program) -> bool:
    """Whether a program has more weights than may be copied without a thought."""
    return sum(map(bytes_of, program.tensors.values())) > LARGE_BYTES
