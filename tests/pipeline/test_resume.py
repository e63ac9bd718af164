"""Stopped anywhere and resumed, a conversion ends as an unbroken one: the same numbers, the same tensors."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.cases import data, settings

from spikeloom.ir import Program
from spikeloom.pipeline import convert
from spikeloom.pipeline.phases import Phases
from spikeloom.simulate import SpikingModel

PHASES = [
    ("training the ANN", 5),
    ("observing activations", 3),
    ("compensating layers", 20),
    ("quantising", 0),
    ("evaluating", 1),
    ("counting spikes", 1),
]


def without_seconds(value: Any) -> Any:
    """A JSON value in which no clock is read."""
    if isinstance(value, dict):
        return {key: without_seconds(item) for key, item in value.items() if key != "seconds"}
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def result(folder: Path) -> dict[str, Any]:
    """Everything a conversion left but its clock readings: what people read, and the three programs."""
    snn = SpikingModel.open(folder)
    written = {
        name: without_seconds(json.loads((folder / name).read_text()))
        for name in ("metrics.json", "story.json", "config.json", "records.json")
    }
    return written | {"snn": snn.program, "ann": snn.ann, "control": snn.control}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(equal(a[key], b[key]) if isinstance(a[key], Program) else a[key] == b[key] for key in a)


def equal(a: Program, b: Program) -> bool:
    return set(a.tensors) == set(b.tensors) and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A conversion that was left in peace, and the folder that holds its data."""
    folder = tmp_path_factory.mktemp("unbroken")
    convert(settings(folder, epochs=2))
    return folder, result(folder / "out")


def stopping(phase: str, error: type[BaseException] = KeyboardInterrupt) -> Callable[[str, int, int], None]:
    def report(what: str, done: int, total: int) -> None:
        if what.startswith(phase):
            raise error(what)

    return report


@pytest.mark.parametrize(("phase", "at"), PHASES)
def test_a_conversion_that_was_interrupted_resumes_to_the_same_result(
    phase: str, at: int, unbroken: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    folder, expected = unbroken
    asked = settings(folder, epochs=2, dataset=f"npz:{folder / 'quarters.npz'}", output_dir=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        convert(asked, progress=stopping(phase))
    assert not (tmp_path / "out" / "metrics.json").exists()
    told = list[str]()
    convert(
        settings(folder, epochs=2, dataset=asked.dataset, output_dir=asked.output_dir, resume=True),
        progress=lambda what, *_: told.append(what),
    )
    assert same(result(tmp_path / "out"), expected)
    before = PHASES[: next(place for place, (name, _) in enumerate(PHASES) if name == phase)]
    finished = [name for name, _ in before if name not in ("observing activations", "evaluating")]
    assert not [what for what in told if what.startswith(tuple(finished) or ("none",))]


def test_a_stop_while_the_result_is_put_in_place_is_mended(
    unbroken: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, expected = unbroken
    shutil.copytree(folder / "out", tmp_path / "out")
    moved, replace = list[Path](), Path.replace

    def stopped(path: Path, target: Path) -> Path:
        if target.parent == tmp_path / "out":
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        return replace(path, target)

    asked = settings(folder, epochs=2, dataset=f"npz:{folder / 'quarters.npz'}", output_dir=tmp_path / "out", resume=True)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            convert(asked)
    convert(asked)
    assert same(result(tmp_path / "out"), expected)


def test_other_settings_are_not_taken_for_the_same_conversion(unbroken: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, expected = unbroken
    shutil.copytree(folder / "out", tmp_path / "out")
    told = list[str]()
    asked = settings(folder, epochs=2, levels=3, dataset=f"npz:{folder / 'quarters.npz'}", output_dir=tmp_path / "out", resume=True)
    convert(asked, progress=lambda what, *_: told.append(what))
    found = result(tmp_path / "out")
    assert found["metrics.json"]["levels"] == 3
    assert any(what.startswith("observing") for what in told)
    assert equal(found["ann"], expected["ann"])  # trained to its end before: its checkpoint says so


def test_without_resume_everything_is_made_anew(unbroken: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, expected = unbroken
    shutil.copytree(folder / "out", tmp_path / "out")
    told = list[str]()
    asked = settings(folder, epochs=2, dataset=f"npz:{folder / 'quarters.npz'}", output_dir=tmp_path / "out")
    convert(asked, progress=lambda what, *_: told.append(what))
    for phase, _ in PHASES:
        assert any(what.startswith(phase) for what in told)
    assert same(result(tmp_path / "out"), expected)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_conversion_that_is_killed_in_every_phase_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    address = data(tmp_path)

    def run(folder: str, phase: str, done: int, resume: bool) -> int:
        told = json.dumps([str(tmp_path / folder), address, phase, done, resume])
        return subprocess.run([sys.executable, str(Path(__file__).with_name("killed.py")), told], check=False).returncode

    assert run("whole", "", 0, False) == 0
    for number, (phase, done) in enumerate(PHASES):
        assert run("killed", phase, done, number > 0) == -9
        assert not (tmp_path / "killed" / "metrics.json").exists()
    assert run("killed", "", 0, True) == 0
    assert same(result(tmp_path / "killed"), result(tmp_path / "whole"))


# --- phases -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def program(unbroken: tuple[Path, dict[str, Any]]) -> Program:
    return unbroken[1]["ann"]


def made(phases: Phases, program: Program, options: dict[str, Any], name: str = "1_ann") -> bool:
    """Whether the phase ran, rather than being read back."""
    ran = list[int]()
    phases.program(name, options, lambda: ran.append(1) or program)  # type: ignore[func-returns-value]
    return bool(ran)


def test_a_finished_phase_is_read_back_under_the_same_key_only(program: Program, tmp_path: Path) -> None:
    assert made(Phases(tmp_path, resume=False), program, {"levels": 7})
    assert not made(Phases(tmp_path, resume=True), program, {"levels": 7})
    assert made(Phases(tmp_path, resume=True), program, {"levels": 8})
    assert not made(Phases(tmp_path, resume=True), program, {"levels": 8})
    assert made(Phases(tmp_path, resume=False), program, {"levels": 8})


def test_a_phase_runs_again_when_one_before_it_was_made_under_another_key(program: Program, tmp_path: Path) -> None:
    for resume, seed, expected in ((False, 1, [True, True]), (True, 1, [False, False]), (True, 2, [True, True])):
        phases = Phases(tmp_path, resume=resume)
        assert [made(phases, program, {"seed": seed}), made(phases, program, {}, "2_spiking")] == expected


def test_a_phase_without_its_marker_runs_again(program: Program, tmp_path: Path) -> None:
    made(Phases(tmp_path, resume=False), program, {})
    (tmp_path / "1_ann" / "phase.json").unlink()
    assert made(Phases(tmp_path, resume=True), program, {})
