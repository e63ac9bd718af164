"""
Streams of pictures that a classifier goes on learning in: rows of a data set in a drawn order, corrupted where asked, few with labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from spikeloom import datasets
from spikeloom.datasets import Dataset, Preprocessing
from spikeloom.datasets.address import parse_address
from spikeloom.datasets.batches import check_inputs
from spikeloom.datasets.corruptions import check_corruption, corrupted
from spikeloom.errors import ConfigError, DataError
from spikeloom.pipeline.settings import Settings
from spikeloom.train import Contexts, DeltaRule, Homeostasis, LocalRules

UNKNOWN = -1
"""The label of a picture whose class nobody told."""


@final
@dataclass(frozen=True)
class Drift:
    """What happens to all pictures: a corruption (None: nothing) of a severity from 1 to 5, drawn from a seed."""

    corruption: str | None = None
    severity: int = 5
    seed: int = 0

    def of(self, data: Dataset, images: Float[Tensor, "b c h w"], first: int) -> Float[Tensor, "b c h w"]:
        """Prepared pictures of a data set, the first of them at this place, corrupted before they were prepared. DataError where they are
        no pictures, ConfigError as `corrupted`."""
        if self.corruption is None:
            return images
        prepared = data.preprocessing
        if prepared is None:
            return corrupted(images, self.corruption, self.severity, self.seed, first)
        mean, std = (torch.tensor(values)[:, None, None] for values in (prepared.mean, prepared.std))
        made = corrupted(images * std + mean, self.corruption, self.severity, self.seed, first)
        return (made - mean) / std


@final
@dataclass(frozen=True)
class Course:
    """The stream: its data set ("": the network's own), the one it is judged on (None: the stream's test split), a drift of both, how many
    pictures, how many of them with labels, whether there are classes the network does not know.

    How it is learnt from: with homeostasis or without, in how many `contexts` at most, at which `rate` of the readout (None: as
    `LocalRules` has them; one context on a chip). After every so many pictures the learner is saved.
    """

    stream: str = ""
    tested: str | None = None
    drift: Drift = Drift()
    samples: int | None = None
    labels: int = 0
    new_classes: bool = False
    homeostasis: bool = True
    contexts: int | None = None
    rate: float | None = None
    every: int = 512

    def check(self) -> None:
        """Raises ConfigError where the options contradict each other or do not exist."""
        if self.drift.corruption is not None:
            check_corruption(self.drift.corruption, self.drift.severity)
        if self.labels < 0:
            raise ConfigError("there cannot be so many labels", found=self.labels, allowed="0 or more")
        if self.new_classes and self.labels == 0:
            raise ConfigError("new classes need labels", found="labels 0", todo="give --labels, some 10 for each class")
        if not self.homeostasis and self.labels == 0:
            raise ConfigError("nothing would learn", found="no labels and no homeostasis", todo="give --labels, or leave homeostasis on")

    def rules(self, classes: int, *, chip: bool) -> LocalRules:
        """The rules; a readout may grow to so many classes where there are new ones. On a chip neurons watch their spikes alone, each for
        itself. Raises ConfigError for options out of range."""
        homeostasis = Homeostasis("spikes", "neuron", horizon=2048, settle=0) if chip else Homeostasis()
        rate = DeltaRule().rate if self.rate is None else self.rate
        readout = DeltaRule(rate=rate, classes=classes if self.new_classes else None)
        most = (1 if chip else Contexts().most) if self.contexts is None else self.contexts
        rules = LocalRules(homeostasis if self.homeostasis else None, readout if self.labels else None, Contexts(most))
        rules.check()
        return rules


@final
@dataclass(frozen=True)
class Data:
    """Where pictures come from: calm ones, the stream, and test pictures of the stream's kind and of the first."""

    calm: Dataset
    stream: Dataset
    drifted: Dataset
    first: Dataset


def data_of(settings: Settings, course: Course, prepared: Preprocessing | None) -> Data:
    """The four sets, prepared as a network takes them. Where stream and calm pictures are of one set, none is in both. Raises DataError
    where test pictures have no labels, ConfigError where they would be the stream's."""
    address = course.stream or settings.dataset
    check_apart(address, course.tested)

    def loaded(address: str, split: Any, limit: int | None, offset: int = 0) -> Dataset:
        return datasets.load(address, split, prepared, settings.data_root, limit, offset, settings.seed)

    skipped = settings.calibration_samples if address == settings.dataset else 0
    calm = loaded(settings.dataset, "calibration", settings.calibration_samples)
    stream = loaded(address, "calibration", course.samples, skipped)
    tests = [loaded(each, "test", settings.samples) for each in (course.tested or address, settings.dataset)]
    for test in tests:
        if bool((test.labels < 0).any()):
            todo = "give --test-dataset with labels"
            raise DataError("the pictures it is judged on have no labels", found=f"{test.name}@{test.split}", todo=todo)
    return Data(calm, stream, *tests)


def check_apart(stream: str, tested: str | None) -> None:
    """Raises ConfigError where what a network is judged on would be what it learnt from."""
    parsed = parse_address(stream)
    if parsed.rows is None and parsed.split is None:
        return
    if tested is None or parse_address(tested) == parsed:
        todo = "give --test-dataset: other rows, or another split"
        raise ConfigError("the stream would be what the network is judged on, too", found=stream, todo=todo)


def pictures(data: Dataset, drift: Drift, size: int, first: int = 0) -> Iterator[tuple[Float[Tensor, "b ..."], Int64[Tensor, " b"]]]:
    """The pictures from the `first` on, in batches, drifted, with their labels. DataError where they are not finite."""
    for begin in range(first, len(data), size):
        images, labels = data.gather(list(range(begin, min(begin + size, len(data)))))
        check_inputs(images, None, f"the pictures of {data.name} from {begin} on")
        yield drift.of(data, images, begin), labels


def with_few_labels(labels: Int64[Tensor, " n"], known: int, seed: int) -> Int64[Tensor, " n"]:
    """So many of the labels, drawn; the others are -1. DataError where fewer are known."""
    there = (labels >= 0).nonzero().flatten()
    if known > len(there):
        found, todo = f"{len(there)} of {len(labels)} pictures have one", "ask for fewer --labels, or take a split that has them"
        raise DataError("the stream has fewer labels than asked for", found=found, allowed=f"at least {known}", todo=todo)
    chosen = there[torch.randperm(len(there), generator=torch.Generator().manual_seed(seed))[:known]]
    told = torch.full_like(labels, UNKNOWN)
    told[chosen] = labels[chosen]
    return told
