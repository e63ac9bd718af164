"""`convert --method logic_gated --noise`: gates taught on disturbed pictures by an ANN that sees clean ones; how all three bear it."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spikeloom import datasets
from spikeloom.datasets import Preprocessing
from spikeloom.errors import ConfigError, DataError
from spikeloom.ir import Context, Program, silent
from spikeloom.pipeline import Settings, convert, convert_model, logic_gated
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.conversion import candidate, network_of
from spikeloom.pipeline.gated_noise import MEASURED_AT, inputs_of, measured, noise_of, pictures_of
from spikeloom.pipeline.ingest import ingest
from spikeloom.pipeline.logic_gated import Rows
from spikeloom.report import Story
from spikeloom.simulate import SpikingModel

ASKED = Settings(train=True, epochs=4, samples=200, timesteps=1, method="logic_gated", gates=2, gate_epochs=8)
WAY = Preprocessing(None, (0.5,), (0.25,), channels=1)


@pytest.fixture(scope="module")
def ann(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The digits CNN."""
    return ingest(ASKED, tmp_path_factory.mktemp("ann") / "training", silent)


def taught(ann: Program, settings: Settings, where: Path) -> Program:
    context = Context(calibration_stream(ann, settings.dataset, settings, 64))
    return logic_gated.logic_gated(settings, ann, context, where / "teaching")


# --- what a sample is ----------------------------------------------------------------------------------------------------------


def test_pictures_are_what_inputs_are_made_of() -> None:
    data = datasets.load("digits", "test", WAY, limit=40)
    rows = torch.arange(40)
    x, y = data.gather(rows)
    pictures, labels = pictures_of(data).gather(rows)
    assert (float(pictures.min()), float(pictures.max())) == (0.0, 1.0)
    assert float(x.min()) == -2.0
    assert torch.equal(inputs_of(data)(pictures), x)
    assert torch.equal(labels, y)
    assert torch.equal(pictures_of(data, as_bits=True).gather(rows)[0], (pictures >= 0.5).float())


def test_values_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "wide.npz", x=np.linspace(-3, 3, 60, dtype=np.float32).reshape(10, 6), y=np.arange(10) % 2)
    data = datasets.load(f"npz:{tmp_path / 'wide.npz'}", "train", None)
    assert inputs_of(data)(torch.ones(2, 6)).equal(torch.ones(2, 6))
    with pytest.raises(DataError, match="values outside 0 to 1"):
        pictures_of(data)


def test_bits_are_cut_only_where_bits_are_turned_over() -> None:
    noisy = dataclasses.replace(ASKED, noise=True, noise_range=(0.1, 0.2), curriculum=False)
    noise = noise_of(noisy)
    assert noise is not None
    assert (noise.low, noise.high, noise.curriculum, noise.bits_at) == (0.1, 0.2, False, 0.5)
    other = noise_of(dataclasses.replace(noisy, noise_kinds=("gaussian",)))
    assert other is not None
    assert other.bits_at is None
    assert noise_of(ASKED) is None


# --- teaching -------------------------------------------------------------------------------------------------------------------


def test_the_gates_see_noise_and_the_ann_answers_on_clean_pictures(ann: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def looked(network: nn.Module, learn: Rows, judge: Rows, **options: Any) -> Any:
        seen.update(options, learn=learn, judge=judge)
        raise KeyboardInterrupt

    monkeypatch.setattr(logic_gated, "train_classifier", looked)
    with pytest.raises(KeyboardInterrupt):
        taught(ann, dataclasses.replace(ASKED, noise=True, consistency=0.5, preprocessing={"mean": (0.5,), "std": (0.25,)}), tmp_path)
    assert seen["teaches_clean"]
    assert seen["consistency"] == 0.5
    assert seen["noise"] == noise_of(dataclasses.replace(ASKED, noise=True))
    pictures, judged = seen["learn"].gather(torch.arange(9))[0], seen["judge"].gather(torch.arange(9))[0]
    assert (float(pictures.min()), float(judged.min())) == (0.0, -2.0)
    assert torch.equal(seen["shown"](pictures), (pictures - 0.5) / 0.25)


@pytest.mark.slow
def test_noise_is_worth_it(ann: Program, tmp_path: Path) -> None:
    """At 20 % the network that knows noise is ahead of the one that does not, and of the ANN; without noise little behind."""
    reached: dict[bool, dict[str, float]] = {}
    for noise in (False, True):
        settings = dataclasses.replace(ASKED, noise=noise, gates=1, noise_range=(0.0, 0.3), gate_epochs=10)
        program = taught(ann, settings, tmp_path / str(noise))
        found, samples = measured(network_of(program, ann, None, settings), settings, silent)
        reached[noise] = found.accuracy("snn")
        assert samples == 200
        assert list(reached[noise]) == [str(level) for level in MEASURED_AT]
    assert reached[True]["0.2"] > reached[False]["0.2"] + 0.05
    assert reached[True]["0.2"] > found.accuracy("ann")["0.2"] + 0.05
    assert reached[True]["0.0"] > 0.7


def test_before_the_layer_from_which_on_pictures_are_disturbed(ann: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The front is shown the noise; the gates and their teacher take what it makes of it."""
    seen: dict[str, Any] = {}
    real = logic_gated.train_classifier

    def looked(network: nn.Module, learn: Rows, judge: Rows, **options: Any) -> Any:
        seen.update(options, learn=learn, judge=judge)
        return real(network, learn, judge, **options)

    monkeypatch.setattr(logic_gated, "train_classifier", looked)
    settings = dataclasses.replace(ASKED, noise=True, from_layer="linear", gate_epochs=1, levels=7)
    program = taught(ann, settings, tmp_path)
    pictures, features = seen["learn"].gather(torch.arange(5))[0], seen["judge"].gather(torch.arange(5))[0]
    assert tuple(pictures.shape[1:]) == (1, 8, 8)
    assert seen["shown"](pictures).shape == features.shape
    assert SpikingModel(program)(torch.rand(3, 1, 8, 8)).shape == (3, 10)


# --- what is told ---------------------------------------------------------------------------------------------------------------


def test_every_network_is_asked_about_the_same_bits(ann: Program) -> None:
    settings = dataclasses.replace(ASKED, noise=True)
    spiking = candidate(ann, dataclasses.replace(ASKED, method="scale_and_fire", calibration_samples=64), silent).program
    found, _ = measured(SpikingModel(spiking, ann=ann, control=spiking), settings, silent)
    assert found.accuracy("snn") == found.accuracy("control")
    data = datasets.load("digits", "test", None, limit=200)
    x, y = data.gather(torch.arange(200))
    right = (ann.module()((x >= 0.5).float()).argmax(1) == y).float().mean()
    assert found.accuracy("ann")["0.0"] == pytest.approx(float(right))
    assert found.accuracy("ann")["0.45"] < 0.4


def test_a_conversion_tells_what_each_network_bears(tmp_path: Path) -> None:
    asked = dataclasses.replace(ASKED, epochs=1, gate_epochs=1, samples=60, noise=True, noise_kinds=("bit_flip", "dropped"), gates=1)
    made = convert(dataclasses.replace(asked, output_dir=tmp_path))
    told = json.loads((tmp_path / "metrics.json").read_text())
    assert set(told["accuracy_at_noise"]) == {"ann", "snn", "control"}
    assert all(list(row) == [str(level) for level in MEASURED_AT] for row in told["accuracy_at_noise"].values())
    assert told["noise"] == {"kinds": ["bit_flip", "dropped"], "range": [0.0, 0.45], "samples": 60}
    assert set(told["accuracy_by_kind"]) == {"bit_flip", "dropped"}
    story = Story.from_json(json.loads((tmp_path / "story.json").read_text()))
    assert [row["noise"] for row in story.noise] == list(MEASURED_AT)
    assert [row["snn"] for row in story.noise] == list(told["accuracy_at_noise"]["snn"].values())
    (record,) = [each for each in made.snn.program.records if each.name == "LogicGate"]
    assert (record.options["noise"], record.options["noise_range"]) == ("bit_flip, dropped", [0.0, 0.45])
    page = (tmp_path / "report.html").read_text()
    assert "The gates were taught on samples with" in page
    assert "Noise of the kind" in page


@pytest.mark.parametrize("method", ["scale_and_fire", "if", "lif"])
def test_what_teaches_nothing_refuses_noise(method: str, tmp_path: Path) -> None:
    asked = Settings(method=method, noise=True, output_dir=tmp_path / "out")
    with pytest.raises(ConfigError, match="noise is for a network that is taught") as caught:
        convert(asked)
    assert "allowed: logic_gated" in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="noise is for a network that is taught"):
        convert_model(nn.Sequential(nn.Linear(4, 2)), torch.rand(4, 4), dataclasses.replace(asked, timesteps=1))


def test_noise_out_of_range_is_refused_before_any_work(tmp_path: Path) -> None:
    asked = dataclasses.replace(ASKED, noise=True, output_dir=tmp_path / "out")
    for change in ({"noise_range": (0.3, 0.1)}, {"noise_range": (0.0, 0.7)}, {"noise_kinds": ("snow",)}):
        with pytest.raises(ConfigError):
            convert(dataclasses.replace(asked, **change))  # pyright: ignore[reportArgumentType]
    assert not (tmp_path / "out").exists()
