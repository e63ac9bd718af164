"""Refining a saved network: smaller or better, beside what it was; what cannot be is one clear error and nothing is lost."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tests.pipeline.cases import settings

from spikeloom.compress import bits_kept, quantised_layers
from spikeloom.errors import ConfigError, ProgramError, UserError
from spikeloom.ir import bytes_of, load
from spikeloom.pipeline import Settings, calibrate, compress, convert, evaluate


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, T = 1, N = 3: something is left to be gained."""
    folder = tmp_path_factory.mktemp("refine") / "out"
    asked = Settings(train=True, epochs=6, samples=300, calibration_samples=256, timesteps=1, levels=3, output_dir=folder)
    convert(asked)
    shutil.rmtree(folder / "phases")
    return folder


def asked(out: Path, **more: object) -> Settings:
    return Settings(dataset="", samples=300, calibration_samples=256, output_dir=out, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", ["8", "4", "ternary", "hybrid"])
def test_weights_of_fewer_bits(converted: Path, tmp_path: Path, weights: str) -> None:
    found = compress(converted, asked(tmp_path / "out", compress=weights, bits=3.0))
    program = load(tmp_path / "out")
    layers = quantised_layers(program)
    assert bits_kept(program) <= {"8": 8, "4": 4, "ternary": 2, "hybrid": 3}[weights]
    assert sum(map(bytes_of, layers.values())) < 0.5 * sum(4 * one.numel() for one in layers.values())
    assert found.metrics["accuracy"]["snn"] > found.metrics["before"]["accuracy"]["snn"] - 0.05
    assert found.metrics["accuracy"]["snn"] >= found.metrics["accuracy"]["control"] - 0.01
    again = evaluate(tmp_path / "out", samples=300)
    assert again["accuracy"] == found.metrics["accuracy"]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["before"] == found.metrics["before"]
    energies = found.metrics["energy_pj"], found.metrics["before"]["energy_pj"]
    assert energies[0]["snn"] < energies[1]["snn"]


def test_a_compressed_network_can_be_compressed_again(converted: Path, tmp_path: Path) -> None:
    compress(converted, asked(tmp_path / "a", compress="8"))
    compress(tmp_path / "a", asked(tmp_path / "b", compress="4"))
    compress(converted, asked(tmp_path / "c", compress="4"))
    first, second = (quantised_layers(load(tmp_path / name)) for name in "bc")
    assert all(bool((first[name].codes() == second[name].codes()).all()) for name in second)


def test_calibration_brings_it_closer_to_the_ann(tmp_path: Path) -> None:
    """IF neurons of few steps: what they send is not what the closed form takes them to send."""
    convert(dataclasses.replace(settings(tmp_path), method="if", timesteps=4, output_dir=tmp_path / "net"))
    found = calibrate(tmp_path / "net", dataclasses.replace(settings(tmp_path), output_dir=tmp_path / "out"), steps=60)
    blocks = found.snn.program.records[-1].numbers["blocks"]
    assert all(row["after"] < row["before"] for row in blocks if row["kept"])
    assert len(blocks) == 4
    assert found.metrics["agreement"] >= found.metrics["before"]["agreement"] - 0.02


def test_in_place_it_replaces_the_old_one(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(converted, folder)
    compress(folder, asked(folder, compress="ternary"))
    assert bits_kept(load(folder)) == 2
    assert "before" in json.loads((folder / "metrics.json").read_text())


def test_what_cannot_be_refined_is_refused_and_nothing_is_lost(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(converted, folder)
    with pytest.raises(ConfigError, match="what weights are kept in"):
        compress(folder, asked(folder))
    with pytest.raises(ConfigError, match="unknown"):
        compress(folder, asked(folder, compress="5"))
    assert evaluate(folder, samples=100)["samples"] == 100
    shutil.rmtree(folder / "ann")
    with pytest.raises(ProgramError, match="no ANN"):
        calibrate(folder, asked(folder))
    with pytest.raises(UserError):
        compress(tmp_path / "nowhere", asked(tmp_path / "out", compress="8"))
    assert not (tmp_path / "out").exists()


def test_conversion_with_compressed_weights_is_compression_after_it(converted: Path, tmp_path: Path) -> None:
    """The same passes in the same order: the same codes."""
    made = convert(dataclasses.replace(settings(tmp_path), compress="4", timesteps=1))
    assert bits_kept(made.snn.program) == 4
    assert made.snn.control is not None
    assert quantised_layers(made.snn.control)
