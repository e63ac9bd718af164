"""Samples that judge a network are others than it learnt from, or it is said."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file
from torch import fx

from spikeloom.capture import resolve
from spikeloom.cli.summary import lines
from spikeloom.errors import DataError
from spikeloom.ir import Dialect, Program
from spikeloom.pipeline import Settings, convert
from spikeloom.pipeline.calibration import stream_of
from spikeloom.pipeline.overlap import seen
from spikeloom.pipeline.samples import Samples

SOURCE = "zoo:digits-cnn"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A conversion of a network with random weights."""
    folder = tmp_path_factory.mktemp("overlap")
    weights = folder / "weights.safetensors"
    save_file(dict(resolve(SOURCE, random_weights=True).model.state_dict()), weights)
    return Settings(SOURCE, weights=weights, timesteps=1, calibration_samples=64, samples=80, output_dir=folder / "out")


def test_samples_that_were_calibrated_on_are_told(asked: Settings) -> None:
    found = convert(dataclasses.replace(asked, dataset="digits@test[:100]")).metrics
    seen, folder = found["seen_in_calibration"], asked.output_dir
    assert 0 < seen <= 64
    assert any("of these samples were calibrated on" in line for line in lines(found))
    assert json.loads((folder / "metrics.json").read_text())["seen_in_calibration"] == seen
    assert f"Of 80 samples {seen} were calibrated on" in (folder / "report.html").read_text()


def test_nothing_is_told_where_the_address_leaves_it_to_us(asked: Settings) -> None:
    assert "seen_in_calibration" not in convert(asked).metrics


def test_training_on_what_judges_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be measured on what it has learnt from\n  found: 100 rows of digits"):
        convert(Settings(train=True, epochs=1, dataset="digits@test[:100]", output_dir=tmp_path / "out"))


def rows_of(split: str, *rows: int) -> Samples:
    return Samples(len(rows), lambda size, limit: iter(()), rows=("digits", split, np.array(rows)))


def test_rows_of_one_split_that_are_in_both_are_counted() -> None:
    assert seen(rows_of("test", 1, 2, 3, 4), rows_of("test", 9, 4, 2)) == 2
    assert seen(rows_of("train", 1, 2), rows_of("test", 1, 2)) == 0
    assert seen(dataclasses.replace(rows_of("test", 1), rows=None), rows_of("test", 1)) == 0


def test_what_is_calibrated_on_comes_in_batches_as_small_as_asked_for() -> None:
    sizes, program = list[int](), Program(fx.Graph(), {}, Dialect.ANN, ())
    data = Samples(9, lambda size, limit: iter(sizes.append(size) or ()))
    assert list(stream_of(data, program, Settings(batch_size=3))()) == []
    assert sizes == [3]
