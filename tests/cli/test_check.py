"""`spikeloom check`: on a real model of a few layers."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spikeloom import pipeline
from spikeloom.cli import app
from spikeloom.errors import SourceError, UnsupportedError

MODELS = """
import torch
from torch import nn

class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x):
        return self.inner(x)[0][:, -1]

def good():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.zeros(2, 4)

def recurrent():
    return Recurrent(), torch.zeros(2, 5, 4)
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["check", *arguments], env={"COLUMNS": "160"})


def test_a_model_that_can_be_converted(models: Path) -> None:
    result = run(f"py:{models}:good")
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert any(row[1:2] == ["linear"] and "exact" in row and row[-2:] == ["40", "32"] for row in rows)
    assert any(row[1:2] == ["relu"] and "approximate" in row for row in rows)
    assert "3 operations: 2 exact, 1 approximate, 0 floating, 0 unsupported" in result.stdout
    assert "42.9% of 56 MACs spike-driven, 67 parameters" in result.stdout
    assert "can be converted" in result.stdout


def test_what_is_unsupported_is_named_with_its_reason_and_what_to_do(models: Path) -> None:
    result = run(f"py:{models}:recurrent")
    assert result.exit_code == 3
    (row,) = [line for line in result.stdout.splitlines() if "unsupported" in line and "lstm" in line]
    assert "recurrent" in row
    assert "unroll" in result.stdout
    assert "cannot be converted" in result.stdout


def test_json_holds_the_whole_plan(models: Path) -> None:
    result = run(f"py:{models}:good", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert found["convertible"] is True
    assert found["counts"] == {"exact": 2, "approximate": 1, "floating": 0, "unsupported": 0}
    assert (found["macs"], found["parameters"], found["classes"], found["input_shape"]) == (56, 67, 3, [4])
    assert [row["operation"] for row in found["rows"]] == ["aten.linear.default", "aten.relu.default", "aten.linear.default"]


def test_json_of_an_unsupported_model_still_leaves_with_3(models: Path) -> None:
    result = run(f"py:{models}:recurrent", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["convertible"] is False


def test_options_reach_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def check(source: str, **options: Any) -> Any:
        seen.update(options, source=source)
        raise UnsupportedError("cannot be captured")

    monkeypatch.setattr(pipeline, "check", check)
    options = "--weights w.pt --classes 7 --input-shape 3,32x32 --random-weights --allow-pickle"
    result = run("zoo:lenet", *options.split())
    assert result.exit_code == 3
    assert "error: cannot be captured" in result.stderr
    expected = {"source": "zoo:lenet", "weights": Path("w.pt"), "classes": 7, "input_shape": (3, 32, 32)}
    assert seen == {**expected, "allow_pickle": True, "random_weights": True}


@pytest.mark.parametrize("shape", ["", "3,,32", "0,4", "a", "-1,3", "²"])
def test_a_shape_that_is_none(shape: str) -> None:
    result = run("zoo:lenet", f"--input-shape={shape}")
    assert result.exit_code == 2
    assert "--input-shape" in result.stderr


def test_a_source_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(source: str, **options: Any) -> Any:
        raise SourceError("nothing is called so")

    monkeypatch.setattr(pipeline, "check", check)
    result = run("so", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: nothing is called so")
