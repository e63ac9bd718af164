"""`spikeloom logic` on a saved network: what it writes, and what it says of the check."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from spikeloom import ir, logic
from spikeloom.cli import app

pytest.importorskip("pyeda", reason="needs spikeloom[logic]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ir.save(logic.freeze(logic.fully_connected(6, (5,), 3), torch.rand(2, 6)), tmp_path / "net")
    return tmp_path / "net"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["logic", *map(str, arguments)], env={"COLUMNS": "120"})


@pytest.mark.parametrize("options", [(), ("--equations",)])
def test_text_goes_to_stdout(folder: Path, options: tuple[str, ...]) -> None:
    result = run(folder, *options)
    assert result.exit_code == 0, result.stderr
    gates = logic.written(ir.load(folder))
    assert logic.parsed(result.stdout) == (logic.equations_of(gates) if options else gates)


def test_a_file_is_written_and_checked(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "--output", tmp_path / "gates.txt", "--check")
    assert result.exit_code == 0, result.stderr
    assert "equals the network: all 64 inputs tried" in result.stdout
    assert logic.parsed((tmp_path / "gates.txt").read_text()) == logic.written(ir.load(folder))
    told = json.loads(run(folder, "--output", tmp_path / "gates.json", "--check", "--json").stdout)
    assert told["check"]["equal"] is True
    assert json.loads((tmp_path / "gates.json").read_text())["shape"] == [6]
    assert len(json.loads(run(folder, "--json").stdout)["gates"]) == told["threshold_gates"]


def test_a_difference_is_an_error_with_its_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = logic.Verdict(False, "sat", 3, torch.tensor([0.0, 1, 0, 0, 1, 1]), 2, 1)
    monkeypatch.setattr(logic, "compared", lambda *_: verdict)
    result = run(folder, "--check")
    assert result.exit_code == 1
    assert "class 1 where the network answers 2" in result.stderr
    assert "input: 0 1 0 0 1 1" in result.stderr


def test_another_program_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 2
    result = run(tmp_path / "absent", "--output", tmp_path / "x")
    assert result.exit_code == 2
