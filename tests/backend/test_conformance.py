"""
One suite for every target: random small networks, each operation it takes, equal to the integer reference bit for bit.

A target that refuses a network is right to, if it says why; of each of the `KINDS` it must take some, but for those that take `FEW`.
Hypothesis draws the networks, the same ones in every run; nothing is shrunk, for a network takes a target's tools seconds.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from tests.backend.netlists import golden, made

from spikeloom.backend import TARGETS, Form, Golden, Target
from spikeloom.backend.folder import COMPILED, digests, write_files
from spikeloom.errors import NumericError, ResourceError
from spikeloom.ir.hardware import Affine, Netlist
from spikeloom.pipeline.compilation import emitted as write_compiled

pytestmark = pytest.mark.timeout(600)  # yosys compiles itself at its first call: a minute and a half

KINDS: dict[str, tuple[frozenset[str], int]] = {
    "binary": (frozenset[str](), 4),
    "levels": (frozenset({"levels"}), 1),
    "levels over time": (frozenset({"levels"}), 3),
    "leaky": (frozenset({"levels", "decay", "leak"}), 3),
    "reset to zero": (frozenset({"zero"}), 4),
    "convolution": (frozenset({"convolution", "levels"}), 1),
    "convolution over time": (frozenset({"convolution"}), 3),
    "sum": (frozenset({"convolution", "sum", "levels"}), 1),
    "maximum": (frozenset({"convolution", "max", "levels"}), 1),
    "maximum over time": (frozenset({"convolution", "max"}), 3),
    "residual": (frozenset({"convolution", "residual", "levels"}), 1),
    "route": (frozenset({"route", "levels"}), 1),
    "table": (frozenset({"table", "levels"}), 1),
    "requantise": (frozenset({"requantise", "levels"}), 1),
    "gates": (frozenset({"table"}), 1),
}
FEW = {
    "truenorth": {"binary", "reset to zero", "convolution over time", "maximum over time", "gates"},
    "xylo": {"levels", "route", "requantise", "gates"},
}
"""What targets take that take little: one bit a tick, or one tick of many levels; their own tests draw what is theirs."""
TAKEN = [(name, kind) for name in TARGETS for kind in KINDS if kind in FEW.get(name, KINDS)]
REFUSED = [(name, kind) for name in TARGETS for kind in KINDS if kind not in FEW.get(name, KINDS)]
SEEDS, DEPTHS = st.integers(0, 10**6), st.integers(1, 2)


def drawn(count: int) -> settings:
    """So many networks, the same in every run."""
    checks = [HealthCheck.filter_too_much, HealthCheck.too_slow]
    return settings(max_examples=count, derandomize=True, deadline=None, phases=[Phase.generate], suppress_health_check=checks)


def network(kind: str, seed: int, depth: int) -> Netlist:
    using, timesteps = KINDS[kind]
    return made(seed, using, timesteps, depth)


def takes(target: Target, netlist: Netlist) -> bool:
    """Whether a target takes a network; where it does not, it says why."""
    refusals = target.refusals(netlist, target.options())
    assert all(refusal.where and refusal.found and refusal.allowed for refusal in refusals)
    return not refusals


def first(target: Target) -> Netlist:
    """A network that a target takes."""
    candidates = (network(kind, seed, 1) for kind in KINDS for seed in range(6))
    return next(netlist for netlist in candidates if takes(target, netlist))


def files_of(target: Target, netlist: Netlist, vectors: Golden) -> Mapping[str, bytes]:
    """The target's files; skips where the tools that write them are not installed."""
    try:
        return target.emit(netlist, vectors, target.options())
    except ResourceError as error:
        pytest.skip(f"{target.name} cannot be written here: {error.problem}")


def emitted(target: Target, netlist: Netlist, vectors: Golden, folder: Path) -> Path:
    """The target's files in a folder."""
    folder.mkdir()
    write_files(folder, files_of(target, netlist, vectors))
    return folder


@pytest.mark.parametrize(("name", "kind"), REFUSED)
@given(seed=SEEDS, depth=DEPTHS)
@drawn(6)
def test_what_a_target_does_not_take_is_refused(name: str, kind: str, seed: int, depth: int) -> None:
    assert not takes(TARGETS[name], network(kind, seed, depth))


@pytest.mark.parametrize(("name", "kind"), TAKEN)
@given(seed=SEEDS, depth=DEPTHS)
@drawn(2)
def test_a_target_answers_as_the_reference(name: str, kind: str, tmp_path_factory: pytest.TempPathFactory, seed: int, depth: int) -> None:
    target, netlist = TARGETS[name], network(kind, seed, depth)
    assume(takes(target, netlist))
    vectors = golden(netlist, 4, seed)
    folder = emitted(target, netlist, vectors, tmp_path_factory.mktemp("made") / "net")
    try:
        verdict = target.verify(folder, netlist, vectors, target.options())
    except ResourceError as error:
        pytest.skip(f"{name} cannot be run here: {error.problem}")
    assert (verdict.samples, verdict.mismatches) == (4, 0), verdict.how


@pytest.mark.parametrize("name", TARGETS)
def test_a_wrong_answer_is_found(name: str, tmp_path: Path) -> None:
    """Golden vectors with one number changed: what verifies must see it."""
    target = TARGETS[name]
    netlist = first(target)
    vectors = golden(netlist, 4)
    outputs = vectors.outputs.copy()
    outputs[2, -1] += 1
    spoiled = Golden(vectors.inputs, outputs)
    folder = emitted(target, netlist, spoiled, tmp_path / "net")
    try:
        assert target.verify(folder, netlist, spoiled, target.options()).mismatches == 1
    except ResourceError as error:
        pytest.skip(f"{name} cannot be run here: {error.problem}")


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_netlist_gives_the_same_bytes(name: str) -> None:
    target = TARGETS[name]
    netlist = first(target)
    vectors = golden(netlist, 2)
    once, twice = (digests(files_of(target, netlist, vectors)) for _ in range(2))
    assert once == twice
    assert once


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_describes_itself(name: str) -> None:
    target = TARGETS[name]
    assert target.name == name
    assert target.takes
    assert isinstance(target.form(target.options()), Form)
    assert all(field.description for field in target.options.model_fields.values())
    netlist = first(target)
    assert target.report(netlist, target.options())
    assert np.isscalar(netlist.unit)


def test_files_that_answer_otherwise_are_not_handed_out(tmp_path: Path) -> None:
    """A target that writes another network than it was given: the compilation fails and leaves nothing."""
    target, netlist = TARGETS["c"], made(0, frozenset({"levels"}))
    last = netlist.operations[-1]
    assert isinstance(last, Affine)
    other = netlist.replaced(operations=(*netlist.operations[:-1], dataclasses.replace(last, bias=np.full(len(last.weight), 7))))
    wrong = dataclasses.replace(target, emit=lambda _, vectors, options: target.emit(other, vectors, options))
    with pytest.raises(NumericError, match="does not answer as the integer reference"):
        write_compiled(wrong, target.options(), netlist, golden(netlist, 4), tmp_path / "net", {})
    assert not list(tmp_path.iterdir())
    write_compiled(target, target.options(), netlist, golden(netlist, 4), tmp_path / "net", {})
    assert (tmp_path / "net" / COMPILED).is_file()
