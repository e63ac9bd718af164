"""
A network and its equations as clauses of one SAT problem, over the same input bits.

Of the equations: s ↔ p_1 ∨ … ∨ p_n and p ↔ l_1 ∧ … ∧ l_m for each product (Tseitin). Of the network, with nothing in common with how it
was written: a layer's weights are read off its response to one spike at a time, and a gate g with at least k of n literals is a cardinality
constraint each way, g → at least k and ¬g → at most k − 1, as a sequential counter in the order of its inputs: a solver
proves that equal to a ladder of eighty inputs in seconds, while it finds no proof for a totalizer of thirty in minutes.

Sources: Tseitin 1968; Sinz 2005 (sequential counters) through PySAT (Ignatiev, Morgado & Marques-Silva 2018).
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.errors import ResourceError, UnsupportedError
from spikeloom.logic.equations import Equation, Equations
from spikeloom.logic.gates import InputBit, representatives
from spikeloom.logic.netlist import Compare, Count, Either, Fire, Move, Netlist, Step, Sum
from spikeloom.logic.unroll import along, moved

MOST_WEIGHTS = 1 << 24
"""Entries of a layer's response that are read, zeros included."""
CONFLICTS = 1_000_000
"""Conflicts after which the solver gives up on one question."""

Form = tuple[tuple[int, int], ...]
"""A count: weights of literals; literal 0 has the offset."""


@final
class Clauses:
    """A growing set of clauses and the solver that holds them. Raises ResourceError where PySAT is missing."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        try:
            from pysat.card import CardEnc, EncType  # pyright: ignore[reportMissingImports]
            from pysat.solvers import Glucose4  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ResourceError(
                "proving by SAT needs the library 'python-sat'", found=str(error), todo="pip install 'spikeloom[logic]'"
            ) from error
        self._encode, self._encoding, self._solver = CardEnc, EncType.seqcounter, Glucose4(incr=False)
        self.shape, self.last = shape, 0
        self.bits: dict[tuple[int, float], int] = {}

    def fresh(self) -> int:
        """A new variable."""
        self.last += 1
        return self.last

    def add(self, *literals: int) -> None:
        """A clause."""
        self._solver.add_clause(list(literals))

    def bit(self, value: int, threshold: float) -> int:
        """The variable of an input bit, the same for both sides; what reaches a threshold reaches all lower ones."""
        if (value, threshold) not in self.bits:
            made = self.fresh()
            for (other, level), literal in self.bits.items():
                if other == value:
                    self.add(*((-made, literal) if level < threshold else (made, -literal)))
            self.bits[value, threshold] = made
        return self.bits[value, threshold]

    def equations(self, given: Equations) -> dict[str, int]:
        """The equations' clauses; the variables by name."""
        known = {bit.name: self.bit(bit.value, bit.threshold) for bit in given.bits}
        for each in given.equations:
            known[each.name] = self._equation(each, known)
        return known

    def _equation(self, equation: Equation, known: Mapping[str, int]) -> int:
        made, terms = self.fresh(), list[int]()
        for product in equation.products:
            literals = [known[literal.name] * (1 if literal.positive else -1) for literal in product]
            terms.append(literals[0] if len(literals) == 1 else self.every(literals))
        self.add(-made, *terms)
        for term in terms:
            self.add(made, -term)
        return made

    def every(self, literals: list[int]) -> int:
        """The variable that is 1 where all literals hold."""
        made = self.fresh()
        self.add(made, *(-literal for literal in literals))
        for literal in literals:
            self.add(-made, literal)
        return made

    def gate(self, form: Iterable[tuple[int, int]], threshold: int) -> int:
        """The variable that is 1 where a count reaches a threshold."""
        made, net = self.fresh(), dict[int, int]()
        for literal, weight in form:
            net[literal] = net.get(literal, 0) + weight
        offset = net.pop(0, 0)
        plus, minus = ([sign * n for n, weight in net.items() for _ in range(sign * weight)] for sign in (1, -1))
        literals, least = [*plus, *minus], threshold - offset + len(minus)
        if least <= 0 or least > len(literals):
            self.add(made if least <= 0 else -made)
            return made
        self._bound(self._encode.atleast(literals, least, self.last, encoding=self._encoding), -made)
        self._bound(self._encode.atmost(literals, least - 1, self.last, encoding=self._encoding), made)
        return made

    def _bound(self, encoded: Any, unless: int) -> None:
        for clause in encoded.clauses:
            self.add(*clause, unless)
        self.last = max(self.last, encoded.nv)

    def same(self, one: int, other: int) -> bool:
        """Whether two variables are equal for every input; the solver then knows it."""
        if self._asked(one, -other) or self._asked(-one, other):
            return False
        self.add(one, -other)
        self.add(-one, other)
        return True

    def apart(self, one: int, other: int) -> Tensor | None:
        """A sample where two variables differ; None where there is none."""
        for signed in ((one, -other), (-one, other)):
            if self._asked(*signed):
                return self._sample()
        return None

    def _asked(self, *literals: int) -> bool:
        self._solver.conf_budget(CONFLICTS)
        found = self._solver.solve_limited(assumptions=list(literals))
        if found is None:
            raise ResourceError("the SAT solver gives up on this network", found=f"{CONFLICTS:,} conflicts", todo="check a smaller one")
        return bool(found)

    def _sample(self) -> Tensor:
        true = {literal for literal in self._solver.get_model() or () if literal > 0}
        bits = [InputBit("", value, threshold) for value, threshold in self.bits]
        high = [0] * prod(self.shape)
        for (value, _), literal in self.bits.items():
            high[value] += literal in true
        ways = representatives(bits, self.shape)
        return torch.tensor([each[level] for each, level in zip(ways, high, strict=True)]).view(self.shape)


def network_clauses(clauses: Clauses, given: Netlist) -> tuple[dict[str, int], list[int]]:
    """The network's clauses: its gates' variables by the names `unroll` gives them, and for each class the one that says it wins."""
    side = _Network(clauses, given)
    for number, step in enumerate(given.steps, 1):
        side.found[step.name] = side.take(number, step)
    return side.gates, side.wins(side.forms_of(side.found[given.output]))


@final
class _Network:
    """Values of every step: numbers of the sample's values, variables of spikes, or numbers of counts."""

    def __init__(self, clauses: Clauses, given: Netlist) -> None:
        shape = tuple(int(size) for size in given.shapes[given.input][1:])
        self.clauses, self.input = clauses, {given.input}
        self.found: dict[str, Any] = {given.input: 1 + torch.arange(prod(shape)).view(1, *shape)}
        self.counts: list[Form] = [()]
        self.gates: dict[str, int] = {}

    def forms_of(self, numbers: Tensor) -> list[Form]:
        """The counts with these numbers."""
        return [self.counts[n] for n in numbers.flatten().tolist()]

    def wins(self, counts: list[Form]) -> list[int]:
        """For each class what is 1 where it wins: the lowest of those with the most."""
        over = dict[tuple[int, int], int]()
        for (a, one), (b, other) in itertools.combinations(enumerate(counts), 2):
            over[a, b] = self.clauses.gate((*one, *((literal, -weight) for literal, weight in other)), 0)
            self.gates[f"class_{a}_over_class_{b}"] = over[a, b]
        return [self.clauses.every([lit if k == a else -lit for (a, b), lit in over.items() if k in (a, b)]) for k in range(len(counts))]

    def take(self, number: int, step: Step) -> Any:
        """What a step gives."""
        reads = [self.found[read] for read in step.reads]
        if isinstance(step, Move):
            if set(step.reads) & self.input:
                self.input.add(step.name)
            return moved(step, *reads)
        read = reads[0]
        if isinstance(step, Compare):
            return self._compared(number, step, read)
        if isinstance(step, Fire):
            return self._fired(number, self.forms_of(read), along(step.thresholds, tuple(read.shape)), tuple(read.shape))
        if isinstance(step, Either):
            response = self._response(read, lambda x: F.max_pool2d(x, step.kernel, step.stride))
            return self._fired(number, response[0], torch.ones(response[1]), response[1])
        if isinstance(step, Count):
            return self._held(*self._response(read, lambda x: _counted(step, x)))
        if isinstance(step, Sum):
            return self._held([(*a, *b) for a, b in zip(self.forms_of(read), self.forms_of(reads[1]), strict=True)], tuple(read.shape))
        offsets = step.offsets.expand(read.shape).flatten().tolist()
        return self._held([(*form, (0, o)) for form, o in zip(self.forms_of(read), offsets, strict=True)], tuple(read.shape))

    def _compared(self, number: int, step: Compare, read: Tensor) -> Tensor:
        thresholds = along(step.thresholds, tuple(read.shape))
        if not set(step.reads) & self.input:
            forms: list[Form] = [((n, 1),) if n else () for n in read.flatten().tolist()]
            return self._fired(number, forms, thresholds.ceil().clamp(0, 2), tuple(read.shape))
        pairs = zip(read.flatten().tolist(), thresholds.flatten().tolist(), strict=True)
        return torch.tensor([self.clauses.bit(n - 1, threshold) for n, threshold in pairs]).view(read.shape)

    def _fired(self, number: int, forms: list[Form], thresholds: Tensor, shape: tuple[int, ...]) -> Tensor:
        made = [self.clauses.gate(form, int(threshold)) for form, threshold in zip(forms, thresholds.flatten().tolist(), strict=True)]
        found = torch.tensor(made).view(shape)
        places = torch.ones(shape[1:]).nonzero().tolist()
        self.gates |= {f"g{number}_{'_'.join(map(str, place))}": literal for place, literal in zip(places, made, strict=True)}
        return found

    def _response(self, read: Tensor, layer: Callable[[Tensor], Tensor]) -> tuple[list[Form], tuple[int, ...]]:
        """What each output of a layer takes of each input: its response to one spike at a time."""
        inputs = read.numel()
        if inputs * inputs > MOST_WEIGHTS:
            raise UnsupportedError(
                "the network is too large for a proof by SAT", found=f"{inputs:,} inputs of a layer", allowed="at most 4,096"
            )
        out = layer(torch.eye(inputs).view(inputs, *read.shape[1:]))
        names = read.flatten().tolist()
        forms: list[Form] = []
        for column in out.flatten(1).T:
            rows = column.nonzero().flatten().tolist()
            forms.append(tuple((names[row], int(column[row])) for row in rows if names[row]))
        return forms, (1, *out.shape[1:])

    def _held(self, forms: list[Form], shape: tuple[int, ...]) -> Tensor:
        first = len(self.counts)
        self.counts += forms
        return torch.arange(first, first + len(forms)).view(shape)


def _counted(step: Count, x: Tensor) -> Tensor:
    if step.codes.dim() == 2:
        return F.linear(x, step.codes.float())
    return F.conv2d(x, step.codes.float(), None, step.stride, step.padding, 1, step.groups)
