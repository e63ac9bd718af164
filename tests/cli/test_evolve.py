"""`spikeloom evolve`: a policy's neurons evolved from the command line, gone on with, and what is refused before any work."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.agent.balancing import balancing
from typer.testing import CliRunner

from spikeloom import load
from spikeloom.cli import app, evolved

TINY = ["--shift", "sign=-1", "--population-size", "6", "--generations", "2", "--episodes", "4", "--judged", "8", "--environments", "2"]
LIVING = ["--search", "plasticity", "--adaptation", "8", "--lives", "2"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["evolve", *arguments], env={"COLUMNS": "140"})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a converted policy."""
    folder = tmp_path_factory.mktemp("policy") / "snn"
    balancing().model.save(folder)
    return folder


def test_a_stopped_evolution_goes_on_to_the_same_network(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (str(saved), "--env", "CartPole-v1", *TINY)
    whole = run(*command, "--output", str(tmp_path / "whole"), "--json")
    assert whole.exit_code == 0, whole.stderr
    out, judge = tmp_path / "out", evolved.judgement_of

    def stopped(*told: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(evolved, "judgement_of", stopped)
    first = run(*command, "--output", str(out))
    assert first.exit_code == 130
    assert "--resume goes on" in first.stderr
    assert not (out / "metrics.json").exists()
    monkeypatch.setattr(evolved, "judgement_of", judge)
    again = run(*command, "--output", str(out), "--resume")
    assert again.exit_code == 0, again.stderr
    assert "mean return in 8 new episodes" in again.stdout
    metrics = json.loads((out / "metrics.json").read_text())
    assert {**metrics, "seconds": 0} == {**json.loads(whole.stdout), "seconds": 0}
    assert metrics["before"]["return"] < 15
    assert metrics["evaluations"] >= 12
    assert load(out).program.records[-1].name == "EvolveAgent"
    other = run(*command, "--seed", "1", "--output", str(out), "--resume")
    assert other.exit_code == 2
    assert "another evolution" in other.stderr
    assert "seed: 0, now 1" in other.stderr


@pytest.mark.slow
def test_numbers_of_plasticity_are_found_and_told(saved: Path, tmp_path: Path) -> None:
    found = run(str(saved), "--env", "CartPole-v1", *TINY, *LIVING, "--generations", "1", "--output", str(tmp_path), "--json")
    assert found.exit_code == 0, found.stderr
    metrics = json.loads(found.stdout)
    assert (metrics["judged"], metrics["judged_what"]) == (2, "lives")
    assert {"rate", "discount", "trace", "steps", "divergence"} <= set(metrics["learning"])
    assert 0.2 <= metrics["exploration"] <= 0.98


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--shift", "lenght=2"], "no shift 'lenght'"),
        (["--env", "Acrobot-v1"], "other spaces"),
        (["--search", "weights"], "what evolves"),
        (["--search", "plasticity", "--adaptation", "0"], "judged by what it learns"),
        (["--adaptation", "40", "--lives", "1"], "in pairs of lives"),
        (["--executor", "slurm"], "unknown executor"),
        (["--resume"], "nothing to go on from"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(saved: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    out = tmp_path / "out"
    result = run(str(saved), "--env", "CartPole-v1", *arguments, "--output", str(out))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
