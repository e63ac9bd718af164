"""A saved network brought to a chip by fine-tuning, or made for any chip of a kind."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.cases import settings

from spikeloom.errors import ConfigError
from spikeloom.ir import load
from spikeloom.pipeline import Settings, calibrate, convert, finetune
from spikeloom.train import FineTune

CHIP: dict[str, Any] = {"draw": 0, "decay": 0.95, "threshold_bits": 6, "threshold_mismatch": 0.3, "tau_mismatch": 0.2, "dead": 0.02}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """LIF neurons, T = 4."""
    asked = settings(tmp_path_factory.mktemp("chips"), method="lif", timesteps=4)
    convert(asked)
    return asked


def test_one_chip_is_put_under_the_network_and_trained_on(converted: Settings, tmp_path: Path) -> None:
    asked = dataclasses.replace(converted, output_dir=tmp_path / "out", chip=CHIP)
    made = finetune(converted.output_dir, asked, FineTune(epochs=1))
    program = load(tmp_path / "out")
    assert [record.name for record in program.records[-2:]] == ["Device", "FineTune"]
    assert any(name.endswith("device_gain") for name in program.tensors)
    assert "chips" not in made.metrics
    with pytest.raises(ConfigError, match="on a chip already"):
        finetune(tmp_path / "out", dataclasses.replace(asked, output_dir=tmp_path / "again"), FineTune(epochs=1))


def test_a_network_for_any_chip_is_saved_without_one_and_told_on_unseen_ones(converted: Settings, tmp_path: Path) -> None:
    asked = dataclasses.replace(converted, output_dir=tmp_path / "out", chip={**CHIP, "draw": "any"})
    made = finetune(converted.output_dir, asked, FineTune(epochs=1))
    program = load(tmp_path / "out")
    assert not any(name.endswith("device_gain") for name in program.tensors)
    assert [record.name for record in program.records[-2:]] == ["Device", "FineTune"]
    told = made.metrics["chips"]
    assert [len(told[key]) for key in ("before", "after")] == [3, 3]
    assert len(set(told["before"])) > 1  # three chips, not one
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["chips"] == told
    assert "Accuracy on unseen chips, mean" in (tmp_path / "out" / "report.html").read_text()


def test_calibration_is_for_one_chip(converted: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one chip"):
        calibrate(converted.output_dir, dataclasses.replace(converted, output_dir=tmp_path / "o", chip={**CHIP, "draw": "any"}))
    assert not (tmp_path / "o").exists()
