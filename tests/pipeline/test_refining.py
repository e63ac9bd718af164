"""Refining a saved network: smaller or better, beside what it was; what cannot be is one clear error and nothing is lost."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tests.pipeline.cases import settings

from spikeloom.compress import bits_kept, quantised_layers
from spikeloom.errors import ConfigError, ProgramError, UserError
from spikeloom.evolve import Evolve
from spikeloom.ir import Record, bytes_of, calls, kwargs_of, load, note, weighted, weights_of
from spikeloom.pipeline import Settings, calibrate, compress, convert, evaluate, finetune, tune
from spikeloom.pipeline.bio import NEAR, said_of
from spikeloom.train import FineTune


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


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"sparsity": 0.6}, 0.42),
        ({"sparsity": 0.5, "pattern": "2:4"}, 0.52),
        ({"sparsity": 0.5, "prune_by": "magnitude"}, 0.52),
        ({"sparsity": 0.5, "compress": "4"}, 0.52),
        ({"sparsity": 0.3, "pattern": "channels"}, 1.0),
    ],
)
def test_fewer_connections(converted: Path, tmp_path: Path, options: dict[str, object], left: float) -> None:
    found = compress(converted, asked(tmp_path / "out", **options))
    program, before = load(tmp_path / "out"), load(converted)
    pruned = [node for node in calls(program.graph) if "pruned" in note(node)]
    weights = [weights_of(node, program.tensors)[0] + 0 for node in pruned]
    if options.get("pattern") == "channels":
        size = lambda each: sum(weights_of(n, each.tensors)[0].numel() for n in calls(each.graph) if weighted(n))  # noqa: E731
        assert size(program) < 0.9 * size(before)
    else:
        assert sum(int((w != 0).sum()) for w in weights) <= left * sum(w.numel() for w in weights)
    if "compress" in options:
        assert bits_kept(program) == 4
    assert found.metrics["synaptic_operations"] < 0.9 * found.metrics["before"]["synaptic_operations"]
    assert found.metrics["accuracy"]["snn"] > found.metrics["before"]["accuracy"]["snn"] - 0.05
    assert evaluate(tmp_path / "out", samples=300)["accuracy"] == found.metrics["accuracy"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"sparsity": 1.0}, "out of range"),
        ({"sparsity": -0.1}, "out of range"),
        ({"sparsity": 0.5, "prune_by": "luck"}, "unknown"),
        ({"sparsity": 0.5, "pattern": "channels", "compress": "4"}, "not together"),
        ({"sparsity": 0.5, "compress": "hybrid"}, "cannot be had together"),
        ({"sparsity": 0.5, "pattern": "4:2"}, "pattern"),
    ],
)
def test_compression_that_cannot_be_is_refused(converted: Path, tmp_path: Path, options: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        compress(converted, asked(tmp_path / "out", **options))
    assert not (tmp_path / "out" / "program.json").exists()


def test_a_network_that_lost_channels_is_calibrated_too(converted: Path, tmp_path: Path) -> None:
    compress(converted, asked(tmp_path / "a", sparsity=0.3, pattern="channels"))
    found = calibrate(tmp_path / "a", asked(tmp_path / "b"), steps=10)
    assert found.metrics["accuracy"]["snn"] > found.metrics["before"]["accuracy"]["snn"] - 0.05


def test_in_place_it_replaces_the_old_one(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(converted, folder)
    compress(folder, asked(folder, compress="ternary"))
    assert bits_kept(load(folder)) == 2
    assert "before" in json.loads((folder / "metrics.json").read_text())


def test_what_cannot_be_refined_is_refused_and_nothing_is_lost(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    shutil.copytree(converted, folder)
    with pytest.raises(ConfigError, match="nothing to compress"):
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


def test_tuning_never_loses_on_what_it_searched(converted: Path, tmp_path: Path) -> None:
    evolve = Evolve(population_size=6, generations=2, groups=1)
    found = tune(converted, dataclasses.replace(asked(tmp_path / "out"), calibration_samples=64), evolve)
    record = found.snn.program.records[-1]
    assert record.numbers["best"]["divergence"] <= record.numbers["start"]["divergence"]
    assert len(record.numbers["history"]) == 2
    story = json.loads((tmp_path / "out" / "story.json").read_text())
    assert [row["step"] for row in story["history"]] == [0, 1, 2]
    assert story["history"][0]["best"] == record.numbers["start"]["divergence"]
    assert found.metrics["accuracy"]["snn"] > found.metrics["before"]["accuracy"]["snn"] - 0.03
    assert not (tmp_path / "out" / "tune").exists()


def test_fine_tuning_onto_ternary_weights(converted: Path, tmp_path: Path) -> None:
    recipe = FineTune(epochs=3, grid="ternary", weight_rate=0.01, neuron_rate=0.004)
    found = finetune(converted, asked(tmp_path / "out"), recipe)
    program = load(tmp_path / "out")
    assert bits_kept(program) == 2
    assert len(quantised_layers(program)) == len([node for node in calls(program.graph) if weighted(node)])
    assert found.metrics["accuracy"]["snn"] > 0.9
    assert len(program.records[-1].numbers["history"]) == 3
    told, before = (json.loads((folder / "story.json").read_text()) for folder in (tmp_path / "out", converted))
    assert [(row["node"], row["sqnr_db"]) for row in told["before"]] == [(row["node"], row["sqnr_db"]) for row in before["fidelity"]]
    assert [row["step"] for row in told["history"]] == [0, 1, 2, 3]
    assert told["metrics"]["before"] == found.metrics["before"]
    assert not before["before"]
    assert not (tmp_path / "out" / "finetune.safetensors").exists()


def test_fine_tuning_without_labels_follows_the_ann(converted: Path, tmp_path: Path) -> None:
    found = finetune(converted, asked(tmp_path / "out"), FineTune(epochs=1, labels=0.0, distil=1.0))
    assert found.metrics["agreement"] > found.metrics["before"]["agreement"] - 0.02
    with pytest.raises(UserError):
        finetune(converted, asked(tmp_path / "none"), FineTune(labels=0.0, distil=0.0))


def test_bio_calibration_in_a_conversion_resumes_to_the_same(tmp_path: Path) -> None:
    asked_for = dataclasses.replace(settings(tmp_path), bio_calibration=True, population_size=5, generations=1)
    made = convert(asked_for)
    names = [record.name for record in made.snn.program.records]
    assert names[-3:] == ["Compensate", "LearnCompensation", "Evolve"]
    plain = convert(dataclasses.replace(settings(tmp_path), output_dir=tmp_path / "plain"))
    assert made.metrics["before"]["accuracy"] == plain.metrics["accuracy"]
    told = [json.loads((folder / "story.json").read_text()) for folder in (tmp_path / "out", tmp_path / "plain")]
    assert [row["sqnr_db"] for row in told[0]["before"]] == [row["sqnr_db"] for row in told[1]["fidelity"]]
    again = convert(dataclasses.replace(asked_for, resume=True))
    assert again.metrics["accuracy"] == made.metrics["accuracy"]
    assert (tmp_path / "out" / "phases" / "3_calibrated" / "phase.json").is_file()


@pytest.mark.parametrize(("near", "done"), [(1e-6, True), (0.1, False)])
def test_bio_calibration_is_done_where_it_is_worthwhile(tmp_path: Path, near: float, done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEAR, "kl", near)
    asked_for = dataclasses.replace(settings(tmp_path), population_size=5, generations=1)
    made = convert(dataclasses.replace(asked_for, bio_calibration=True, bio_when="worthwhile"))
    last = made.snn.program.records[-1]
    assert last.name == ("Evolve" if done else "BioCalibration")
    assert ("before" in made.metrics) == done
    if not done:
        assert "of its ANN, less than 0.1" in made.metrics["bio_calibration"]["left_out"]
        plain = convert(dataclasses.replace(asked_for, output_dir=tmp_path / "plain"))
        assert plain.metrics["accuracy"] == made.metrics["accuracy"]


def test_a_search_that_found_nothing_that_holds_says_so(converted: Path) -> None:
    program = load(converted)
    assert said_of(program) is None
    for kept in (False, True):
        searched = program.recorded(Record("Evolve", {}, {"judged": {"kept": kept, "samples": 9}}))
        assert said_of(searched) == (None if kept else {"discarded": "what HSEO found is no better on 9 samples that it did not search on"})


def test_a_search_that_takes_long_is_left_to_who_asks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.pipeline.bio.MOST", 1e6)
    asked_for = dataclasses.replace(settings(tmp_path), timesteps=1, levels=1, bio_calibration=True, bio_when="worthwhile")
    left_out = convert(asked_for).snn.program.records[-1].numbers["left_out"]
    assert "200 evaluations" in left_out
    assert "--bio-calibration asks for it all the same" in left_out


def test_a_chip_is_refused_where_it_would_be_ignored(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a chip is for calibrate"):
        convert(dataclasses.replace(settings(tmp_path), chip={"dead": 0.1}))
    assert not (tmp_path / "out" / "program.json").exists()


def test_neurons_of_two_thresholds_are_evolved_and_trained_like_others(tmp_path: Path) -> None:
    asked_for = dataclasses.replace(settings(tmp_path), method="if", timesteps=4, dual_threshold=True, population_size=5, generations=1)
    convert(dataclasses.replace(asked_for, bio_calibration=True))
    out = dataclasses.replace(asked_for, output_dir=tmp_path / "tuned")
    found = finetune(tmp_path / "out", out, FineTune(epochs=1, chunk_steps=2, parts=2))
    gated = [node for node in calls(found.snn.program.graph) if kwargs_of(node).get("reset") == "gated"]
    assert gated
    assert found.metrics["agreement"] > found.metrics["before"]["agreement"] - 0.1
    history = found.snn.program.records[-1].numbers["history"]
    assert history[-1]["loss"] < 10
