"""
The code as it grows: constants, buffers, kernels in use, functions.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import final

from spikeloom.backend.c.arrays import Constants
from spikeloom.backend.c.layout import Layout
from spikeloom.backend.c.memory import Buffer
from spikeloom.backend.c.numbers import Number
from spikeloom.backend.c.plan import SLACK, Plan, Step


@cache
def template(name: str) -> str:
    """The text of a kernel."""
    return resources.files("spikeloom.backend.c").joinpath("kernels", f"{name}.c").read_text()


@cache
def shipped(name: str) -> str:
    """The text of a file of the emitted folder, with places to fill."""
    return resources.files("spikeloom.backend.c").joinpath("folder", name).read_text()


def words(text: str, limit: int = 60) -> str:
    """A name from elsewhere, safe inside a comment of C."""
    return re.sub(r"[^\w .,:@>()-]", "_", text, flags=re.ASCII)[:limit]


@final
@dataclass
class Code:
    """What is written for a plan. Kernels are kept by name, each once, in the order of first use."""

    plan: Plan
    constants: Constants
    kernels: dict[str, str] = field(default_factory=dict[str, str])
    buffers: list[Buffer] = field(default_factory=list[Buffer])
    functions: list[str] = field(default_factory=list[str])
    resets: list[str] = field(default_factory=list[str])
    takes_input: set[int] = field(default_factory=set[int])

    def kernel(self, source: str, name: str | None = None, /, **tokens: str) -> str:
        """The name under which a kernel stands ready for these types; its text is put in once."""
        name = name or "_".join([source, *(re.sub(r"_t$|int", "", token) for token in tokens.values())])
        if name not in self.kernels:
            text = template(source)
            for token, value in {**tokens, "NAME": name}.items():
                text = re.sub(rf"\b{token}(?=\b|_[a-z])", value, text)
            self.kernels[name] = text
        return name

    def wire_buffer(self, step: Step) -> None:
        """Room for what a step makes."""
        layout, number = self.plan.layout(step.name), self.plan.number(step.name)
        last = self.plan.last_read(step)
        about = f"what {words(step.name)} gives"
        self.buffers.append(Buffer(f"b{step.number}", number, layout.size + SLACK, step.number, last, about=about))

    def scratch(self, step: Step, name: str, number: Number, count: int, about: str) -> str:
        """Room needed in one step only; gives its address."""
        self.buffers.append(Buffer(f"{name}{step.number}", number, count, step.number, step.number, about=about))
        return f"arena.{name}{step.number}.at"

    def state(self, name: str, number: Number, count: int, about: str) -> str:
        """Room that is kept from tick to tick; gives its address."""
        self.buffers.append(Buffer(name, number, count, kept=True, about=about))
        return f"state.{name}"

    def address(self, name: str, user: Step | None = None) -> str:
        """Where a wire's buffer begins."""
        made_by = self.plan.made_by(name)
        if made_by is None:
            if user is not None:
                self.takes_input.add(user.number)
            return "input"
        return f"arena.b{made_by.number}.at"

    def cleared(self, step: Step, plus: int = 0) -> list[str]:
        """Lines that set a framed image to 0, or what stands for it, before it is written."""
        framed = self.plan.layout(step.name).halo != (0, 0)
        return [f"    memset(arena.b{step.number}.at, {plus}, sizeof arena.b{step.number}.at);"] if framed else []


def row_at(layout: Layout, row: str = "r") -> str:
    """The place of a row's first number."""
    parts = [] if layout.rows == 1 else [f"{row} * {layout.pitch}"]
    if layout.origin:
        parts.append(str(layout.origin))
    return " + ".join(parts) or "0"
