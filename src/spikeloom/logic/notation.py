"""
The text form of a gate list and of Boolean equations, one item a line; a person reads it, a parser needs no more than this.

    spikeloom gates 1                        what it is, and the version of this notation; or `spikeloom equations 1`
    # anything                               a remark
    input 1 8 8                              the shape of one sample
    bit b1_0_0_3 = value 3 >= 0.5            1 where value 3 of the sample, in flat order, is at least 0.5
    gate g3_0 = + b1_0_0_3 - b1_0_0_4 >= 1   1 where the inputs after + that are 1, less those after -, are at least 1
    class class_0 = + g3_0 - g3_1 + 7        its count; the class with the most wins, the lowest of equals
    let g3_0 = b1_0_0_3 & !b1_0_0_4 | b2     of equations: products joined by |, of names joined by &, ! before what must be 0
    win class_0_wins                         of equations: 1 where class 0 wins; one line a class, in their order

Words are parted by spaces. Names are letters, digits and _, not first a digit; each is defined before it is read. A sum may have no
inputs. `0` and `1` stand alone for what is never and always 1. JSON holds the same by the same names (`as_data`).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, NoReturn, final

from spikeloom.errors import ProgramError
from spikeloom.logic.equations import Equation, Equations, Literal
from spikeloom.logic.gates import ClassCount, GateList, InputBit, ThresholdGate

VERSION = 1
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KINDS = {"gates": GateList, "equations": Equations}


def as_text(given: GateList | Equations) -> str:
    """The text form, with a newline at its end."""
    kind = "gates" if isinstance(given, GateList) else "equations"
    lines = [f"spikeloom {kind} {VERSION}", " ".join(("input", *map(str, given.shape)))]
    lines += [f"bit {bit.name} = value {bit.value} >= {bit.threshold!r}" for bit in given.bits]
    if isinstance(given, GateList):
        lines += [f"gate {gate.name} = {_signed(gate)}>= {gate.threshold}" for gate in given.gates]
        lines += [f"class {each.name} = {_signed(each)}{'-' if each.offset < 0 else '+'} {abs(each.offset)}" for each in given.classes]
    else:
        lines += [f"let {each.name} = {_products(each)}" for each in given.equations]
        lines += [f"win {name}" for name in given.wins]
    return "\n".join(lines) + "\n"


def as_data(given: GateList | Equations) -> dict[str, Any]:
    """The same for JSON: the fields of the dataclasses by their names; a literal is its name, with ! before what must be 0."""
    kind = "gates" if isinstance(given, GateList) else "equations"
    data = {"format": f"spikeloom {kind} {VERSION}", **asdict(given)}
    if isinstance(given, Equations):
        data["equations"] = [{"name": each.name, "products": [[str(lit) for lit in p] for p in each.products]} for each in given.equations]
    return data


def parsed(text: str) -> GateList | Equations:
    """What a text form says. Raises ProgramError, naming the line, for what is none."""
    return _Reader(text).result()


def _signed(each: ThresholdGate | ClassCount) -> str:
    return "".join(f"{sign} {name} " for sign, names in (("+", each.plus), ("-", each.minus)) for name in names)


def _products(each: Equation) -> str:
    if not each.products:
        return "0"
    return " | ".join(" & ".join(map(str, product)) or "1" for product in each.products)


@final
class _Reader:
    """Reads line by line, remembering what is defined."""

    def __init__(self, text: str) -> None:
        self.number, self.line = 0, ""
        self.kind, self.shape = "", tuple[int, ...]()
        self.bits, self.gates, self.classes = list[InputBit](), list[ThresholdGate](), list[ClassCount]()
        self.equations, self.wins = list[Equation](), list[str]()
        self.defined = set[str]()
        for number, line in enumerate(text.splitlines(), 1):
            self.number, self.line = number, line.strip()
            if self.line and not self.line.startswith("#"):
                self._take(self.line.split())

    def wrong(self, problem: str, allowed: str | None = None) -> NoReturn:
        raise ProgramError(f"line {self.number}: {problem}", found=self.line[:120], allowed=allowed)

    def _take(self, words: list[str]) -> None:
        if not self.kind:
            if len(words) != 3 or words[0] != "spikeloom" or words[1] not in _KINDS or words[2] != str(VERSION):
                self.wrong(
                    "this is no list of gates or equations that can be read", f"spikeloom gates {VERSION}, spikeloom equations {VERSION}"
                )
            self.kind = words[1]
            return
        ways: Mapping[str, Callable[[list[str]], None]] = {
            "input": self._input,
            "bit": self._bit,
            **({"gate": self._gate, "class": self._class} if self.kind == "gates" else {"let": self._let, "win": self._win}),
        }
        if words[0] not in ways:
            self.wrong(f"unknown word {words[0]!r}", ", ".join(ways))
        if (words[0] == "input") == bool(self.shape):
            self.wrong("the line `input` comes once, before all others")
        ways[words[0]](words[1:])

    def _input(self, words: list[str]) -> None:
        self.shape = tuple(self._whole(word) for word in words)
        if not self.shape or min(self.shape) < 1:
            self.wrong("this is no shape of one sample", "positive whole numbers")

    def _whole(self, word: str) -> int:
        if not re.fullmatch(r"-?[0-9]+", word):
            self.wrong(f"{word!r} is no whole number")
        return int(word)

    def _define(self, words: list[str]) -> str:
        if len(words) < 2 or words[1] != "=" or not _NAME.fullmatch(words[0]):
            self.wrong("a name, = and what it is are due", "names of letters, digits and _")
        if words[0] in self.defined:
            self.wrong(f"{words[0]} is defined twice")
        return words[0]

    def _known(self, name: str) -> str:
        if name not in self.defined:
            self.wrong(f"{name} is not defined by then")
        return name

    def _bit(self, words: list[str]) -> None:
        name = self._define(words)
        if len(words) != 6 or words[2] != "value" or words[4] != ">=" or not re.fullmatch(r"-?[0-9.]+(e[-+]?[0-9]+)?", words[5]):
            self.wrong("this is no bit", "bit NAME = value NUMBER >= THRESHOLD")
        value, size = self._whole(words[3]), 1
        for side in self.shape:
            size *= side
        if not 0 <= value < size:
            self.wrong(f"a sample has no value {value}", f"0 to {size - 1}")
        self.bits.append(InputBit(name, value, float(words[5])))
        self.defined.add(name)

    def _sides(self, words: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if len(words) % 2 or any(sign not in "+-" for sign in words[::2]):
            self.wrong("a sum is + or - before each name")
        pairs = [(sign, self._known(name)) for sign, name in zip(words[::2], words[1::2], strict=True)]
        return tuple(name for sign, name in pairs if sign == "+"), tuple(name for sign, name in pairs if sign == "-")

    def _gate(self, words: list[str]) -> None:
        name = self._define(words)
        if len(words) < 4 or words[-2] != ">=":
            self.wrong("this is no gate", "gate NAME = + INPUT - INPUT >= THRESHOLD")
        self.gates.append(ThresholdGate(name, *self._sides(words[2:-2]), self._whole(words[-1])))
        self.defined.add(name)

    def _class(self, words: list[str]) -> None:
        name = self._define(words)
        if len(words) < 4 or words[-2] not in ("+", "-"):
            self.wrong("this is no count of a class", "class NAME = + INPUT - INPUT + OFFSET")
        offset = self._whole(words[-1]) * (1 if words[-2] == "+" else -1)
        self.classes.append(ClassCount(name, *self._sides(words[2:-2]), offset))

    def _let(self, words: list[str]) -> None:
        name = self._define(words)
        right = " ".join(words[2:])
        products = () if right == "0" else tuple(self._product(part.strip()) for part in right.split("|"))
        self.equations.append(Equation(name, products))
        self.defined.add(name)

    def _product(self, text: str) -> tuple[Literal, ...]:
        if text == "1":
            return ()
        literals = [part.strip() for part in text.split("&")]
        return tuple(Literal(self._known(part.removeprefix("!")), not part.startswith("!")) for part in literals)

    def _win(self, words: list[str]) -> None:
        if len(words) != 1:
            self.wrong("one name is due", "win NAME")
        self.wins.append(self._known(words[0]))

    def result(self) -> GateList | Equations:
        """What was read. Raises ProgramError where it answers nothing."""
        if not (self.classes or self.wins):
            raise ProgramError("the text ends before the first class", found=f"{self.number} lines", todo="take the whole file")
        if self.kind == "gates":
            return GateList(self.shape, tuple(self.bits), tuple(self.gates), tuple(self.classes))
        return Equations(self.shape, tuple(self.bits), tuple(self.equations), tuple(self.wins))
