"""Streams: drifts come before a picture is prepared, few labels are told, and nothing is judged on what was learnt from."""

import dataclasses

import pytest
import torch

from spikeloom import datasets
from spikeloom.datasets import Preprocessing
from spikeloom.datasets.corruptions import corrupted
from spikeloom.errors import ConfigError, DataError
from spikeloom.pipeline import Course, Drift, Settings
from spikeloom.pipeline.streams import check_apart, data_of, pictures, with_few_labels

PLAIN = Preprocessing(None, (0.0,), (1.0,), channels=1)


def test_a_drift_acts_on_the_picture_and_not_on_what_was_made_of_it() -> None:
    data = datasets.load("digits[:40]", "train", PLAIN)
    prepared = dataclasses.replace(data, preprocessing=dataclasses.replace(PLAIN, mean=(0.3,), std=(0.2,)), kept={})
    drift = Drift("gaussian_noise", 3, seed=5)
    meant = corrupted(data.gather(list(range(40)))[0], "gaussian_noise", 3, 5)
    found = torch.cat([images for images, _ in pictures(prepared, drift, 16)])
    assert torch.allclose(found * 0.2 + 0.3, meant, atol=1e-5)
    late = torch.cat([images for images, _ in pictures(prepared, drift, 7, first=16)])
    assert torch.allclose(late, found[16:], atol=1e-6)


def test_few_labels_are_drawn_of_those_there_are() -> None:
    labels = torch.arange(100) % 10
    labels[::2] = -1
    told = with_few_labels(labels, 20, seed=1)
    assert int((told >= 0).sum()) == 20
    assert torch.equal(told[told >= 0], labels[told >= 0])
    assert torch.equal(told, with_few_labels(labels, 20, seed=1))
    assert not torch.equal(told, with_few_labels(labels, 20, seed=2))
    with pytest.raises(DataError, match=r"fewer labels(.|\n)*50 of 100"):
        with_few_labels(labels, 51, seed=1)


def test_calm_pictures_are_none_of_the_stream() -> None:
    data = data_of(Settings(dataset="digits", calibration_samples=300), Course(samples=500), PLAIN)
    assert len(data.calm) == 300
    assert len(data.stream) == 500
    assert not set(data.calm.rows.tolist()) & set(data.stream.rows.tolist())
    other = data_of(Settings(dataset="digits", calibration_samples=300), Course("digits@train", "digits@test"), PLAIN)
    assert len(other.stream) == 1442


@pytest.mark.parametrize(("stream", "tested"), [("digits[:9]", None), ("digits@train", None), ("digits[:9]", "digits[:9]")])
def test_what_is_learnt_from_is_not_judged_on(stream: str, tested: str | None) -> None:
    with pytest.raises(ConfigError, match="judged on"):
        check_apart(stream, tested)
    check_apart(stream, "digits[20:30]")
    check_apart("digits", None)
