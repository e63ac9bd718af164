"""Networks of pictures that are no classifiers: converted, and judged by how near their outputs are to the ANN's, to the page."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from spikeloom import datasets
from spikeloom.errors import ConfigError
from spikeloom.pipeline import Conversion, Settings, convert, evaluate
from spikeloom.pipeline.embeddings import same_places
from spikeloom.pipeline.outputs import OUTPUTS
from spikeloom.pipeline.pictures import PICTURES
from spikeloom.pipeline.tasks import task_of

SEGMENTER = """
import torch
from torch import nn

def segmenter():
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1)
    return nn.Sequential(*layers), torch.zeros(2, 1, 8, 8)

class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 4, stride=4), nn.ReLU(), nn.Conv2d(8, 6, 1))

    def forward(self, x):
        return {"last": self.layers(x).flatten(2).transpose(1, 2)}

def tokens():
    torch.manual_seed(0)
    return Tokens(), torch.zeros(2, 1, 8, 8)
"""
OPTIONS = {"dataset": "digits", "timesteps": 2, "levels": 15, "calibration_samples": 64, "samples": 50, "compensate": False}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("sources") / "networks.py"
    path.write_text(SEGMENTER)
    return f"py:{path}"


@pytest.fixture(scope="module")
def maps(source: str, tmp_path_factory: pytest.TempPathFactory) -> Conversion:
    return convert(Settings(source=f"{source}:segmenter", output_dir=tmp_path_factory.mktemp("maps") / "out", **OPTIONS))


def test_maps_are_judged_by_cosine_and_by_places(maps: Conversion) -> None:
    metrics = maps.metrics
    assert 0.99 < metrics["cosine"]["snn"] < 1
    assert 0.9 < metrics["agreement"] <= 1
    assert 0 < metrics["of_control"]["agreement"] <= 1
    assert metrics["accuracy"] == dict.fromkeys(("ann", "snn", "control"))
    assert "no classifier" in metrics["reasons"]["accuracy"]
    assert (metrics["sign_test"]["unit"], metrics["samples"]) == ("samples", 50)


def test_the_numbers_are_those_of_the_outputs_themselves(maps: Conversion) -> None:
    snn = maps.snn
    assert snn.ann is not None
    data = datasets.load("digits", "test", limit=50)
    x = torch.stack([data[place][0] for place in range(50)])
    with torch.no_grad():
        ours, theirs = snn(x), snn.ann.module()(x)
    cosine = functional.cosine_similarity(ours.flatten(1), theirs.flatten(1)).mean()
    assert maps.metrics["cosine"]["snn"] == pytest.approx(float(cosine), abs=1e-5)
    assert maps.metrics["agreement"] == pytest.approx(float((ours.argmax(1) == theirs.argmax(1)).float().mean()), abs=1e-3)


def test_the_page_and_the_folder_say_the_same(maps: Conversion) -> None:
    page = (maps.folder / "report.html").read_text()
    assert "gives outputs for 50 samples with a mean cosine of" in page
    assert "The largest channel is the ANN&#39;s at" in page
    again = evaluate(maps.folder, samples=50)
    for key in ("cosine", "rank_agreement", "agreement", "samples"):
        assert again[key] == maps.metrics[key]


def test_embeddings_are_ranked(source: str, tmp_path: Path) -> None:
    metrics = convert(Settings(source=f"{source}:tokens", output_dir=tmp_path / "out", **OPTIONS)).metrics
    assert metrics["cosine"]["snn"] > 0.98
    assert metrics["rank_agreement"]["snn"] > 0.95
    assert metrics["agreement"] is None


def test_early_exit_is_refused_before_any_work(source: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="for classifiers"):
        convert(Settings(source=f"{source}:tokens", output_dir=tmp_path / "out", early_exit=True, **OPTIONS))
    assert list(tmp_path.rglob("*.json")) == []


def test_only_maps_have_places() -> None:
    ours, theirs = torch.eye(4).view(1, 4, 2, 2), torch.eye(4).flip(0).view(1, 4, 2, 2)
    same = same_places(ours, ours)
    assert same is not None
    assert same.tolist() == [1.0]
    other = same_places(ours, theirs)
    assert other is not None
    assert other.tolist() == [0.0]
    assert same_places(torch.zeros(2, 3), torch.zeros(2, 3)) is same_places(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)) is None


def test_the_task_is_that_of_the_outputs() -> None:
    assert task_of({"classes": None, "task": "other"}) is OUTPUTS
    assert task_of({"classes": 10, "task": "image-classification"}) is task_of({}) is PICTURES
