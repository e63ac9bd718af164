"""
A target: what a back end takes, what it makes of a netlist, and how what it made is compared with the integer reference.

Adding one: a folder here with a `TARGET` of this form, and a line in `targets.py`. Nothing else knows of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from jaxtyping import Int
from numpy import ndarray
from pydantic import BaseModel, ConfigDict

from spikeloom.ir.hardware import Netlist


class TargetOptions(BaseModel):
    """What a person can choose for a target by `--option key=value`; each field has a default and a description."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@final
@dataclass(frozen=True)
class Form:
    """The form of netlist that a target wants.

    `membranes`: "where needed" gives populations of T = 1 without a membrane (their start and bias are in their thresholds, exactly),
    "always" gives each a membrane with equally spaced thresholds. `weight_bits` is the width of signed weights, `input_bits` that of inputs
    from analog values, `value_bits` that of what a function staircase sends. Without `gains` a layer that alone drives a population is
    never followed by a sum: its weights give up some of their resolution, so that the population's quantum is whole in their unit. With
    `fine_bits` a quantum is at least 2^fine_bits of the current's unit, in which biases, leaks and starts are rounded; without, they are as
    fine as weights are, and finer only where a quantum would not be whole.
    """

    membranes: Literal["where needed", "always"] = "where needed"
    weight_bits: int = 8
    input_bits: int = 8
    value_bits: int = 8
    gains: bool = True
    fine_bits: int | None = None


@final
@dataclass(frozen=True)
class Refusal:
    """Why a target cannot take a netlist: the operation's name (or "the network"), what was found, what is allowed, what to do."""

    where: str
    found: str
    allowed: str
    todo: str = ""


@final
@dataclass(frozen=True)
class Golden:
    """Inputs [B, ...] (shown at every tick) or [T, B, ...], and the reference's Σ over the ticks of the output [B, ...]."""

    inputs: Int[ndarray, "..."]
    outputs: Int[ndarray, "b ..."]


@final
@dataclass(frozen=True)
class Verdict:
    """How what was emitted compares with the golden vectors: samples run, samples of which any number differs, and what ran them.
    `numbers` are what was measured on the way (cycles, operations, …)."""

    samples: int
    mismatches: int
    how: str
    numbers: Mapping[str, Any]


@final
@dataclass(frozen=True)
class Target:
    """One back end.

    `refusals` names everything that stands against a netlist, before any work; `emit` gives the files ({relative path: bytes}; the same
    netlist gives the same bytes) and is called only where nothing does; `verify` runs the files of a folder on the golden vectors and
    raises ResourceError where the tool for it is missing; `report` is what a person wants to know of the result (cores used, ROM, LUTs).
    """

    name: str
    title: str
    takes: Mapping[str, str]
    options: type[TargetOptions]
    form: Callable[[Any], Form]
    refusals: Callable[[Netlist, Any], list[Refusal]]
    emit: Callable[[Netlist, Golden, Any], Mapping[str, bytes]]
    verify: Callable[[Path, Netlist, Golden, Any], Verdict]
    report: Callable[[Netlist, Any], Mapping[str, Any]]
