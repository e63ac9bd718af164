"""
What a stream made of a network, in the form of metrics.json: accuracies before and after on test pictures of both kinds, tested paired.

    before   the network as it was
    after    the learner, which answers every picture in the context it belongs to
    saved    the network that is saved, with the knobs of the context that was there last

Source of the paired test: McNemar 1947, exact binomial form.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from spikeloom.datasets import Dataset
from spikeloom.ir import Progress
from spikeloom.pipeline.evaluation import binomial, share
from spikeloom.pipeline.streams import Course, Data, Drift, pictures
from spikeloom.train import ContinualLearner

Predict = Callable[[Tensor], Int64[Tensor, " b"]]
AT_ONCE = 128


def compared(ways: Mapping[str, Predict], data: Data, drift: Drift, outputs: int, progress: Progress) -> dict[str, Any]:
    """Accuracies by kind of picture and way to answer; what was forgotten of the first kind, as a share; and, where the stream has more
    classes than the `outputs` there were, accuracies on those and on the others."""
    hits = {"stream": _hits(ways, data.drifted, drift, progress), "first": _hits(ways, data.first, Drift(), progress)}
    found: dict[str, Any] = {
        "accuracy": {kind: _shares(each) for kind, each in hits.items()},
        "mcnemar": {kind: _paired(each["before"], each["after"]) for kind, each in hits.items()},
        "tested": {kind: len(each["before"]) for kind, each in hits.items()},
    }
    first, new = found["accuracy"]["first"], torch.from_numpy(data.drifted.labels) >= outputs
    found["forgotten"] = {way: first["before"] - first[way] for way in ways if way != "before"}
    if bool(new.any()) and not bool(new.all()):
        found["new_classes"], found["known_classes"] = (
            _shares({way: right[rows] for way, right in hits["stream"].items()}) for rows in (new, ~new)
        )
    return found


def streamed(learner: ContinualLearner, said: Int64[Tensor, " n"], data: Dataset, course: Course) -> dict[str, Any]:
    """What happened on the way. The accuracy is that of answers each given before anything was learnt from the picture; None where labels
    are hidden."""
    truth, tally, drift = torch.from_numpy(data.labels), learner.tally, course.drift
    return {
        "dataset": f"{data.name}@{data.split}",
        "corruption": drift.corruption,
        "severity": None if drift.corruption is None else drift.severity,
        "samples": tally.samples,
        "labels": course.labels,
        "labels_used": learner.memory.labels,
        "contexts": len(learner.worlds),
        "accuracy_on_the_way": share(said == truth) if bool((truth >= 0).all()) else None,
        "synapses_changed": tally.synapses,
        "lateral_macs": tally.lateral_macs,
    }


def _hits(ways: Mapping[str, Predict], data: Dataset, drift: Drift, progress: Progress) -> dict[str, Bool[Tensor, " n"]]:
    """By way to answer, whether each answer is right."""
    answers: dict[str, list[Tensor]] = {way: [] for way in ways}
    truth, done = torch.from_numpy(data.labels), 0
    with torch.no_grad():
        for images, _ in pictures(data, drift, AT_ONCE):
            for way, predict in ways.items():
                answers[way].append(predict(images))
            done += len(images)
            progress("judging", done, len(data))
    return {way: torch.cat(given) == truth for way, given in answers.items()}


def _shares(hits: Mapping[str, Bool[Tensor, " n"]]) -> dict[str, float]:
    return {way: share(right) for way, right in hits.items()}


def _paired(before: Bool[Tensor, " n"], after: Bool[Tensor, " n"]) -> dict[str, Any]:
    """The exact two-sided test that both are right equally often."""
    only_before, only_after = int((before & ~after).sum()), int((after & ~before).sum())
    return {"before_only_right": only_before, "after_only_right": only_after, "p": binomial(only_before, only_after)}
