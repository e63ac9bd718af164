"""
What stands for a sample in a network's outputs, and how near it is to what the ANN gives: for tasks without right answers.

    cosine           mean cosine of a network's embeddings to the ANN's
    rank agreement   Spearman's ρ of the cosine similarities of all pairs of samples, a network's against the ANN's
    agreement        of maps [channels, height, width]: the share of places whose largest channel is the ANN's
    sign test        on samples: how many of them the SNN embeds nearer to the ANN than the control does

Source: Spearman 1904.
"""

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from spikeloom.pipeline.evaluation import NETWORKS, Evaluation, Tally, check_some, finite, sign_test
from spikeloom.pipeline.networks import Networks

RANKED, WIDEST = 1000, 8192
"""Samples whose pairs are ranked, the first ones (half a million pairs of them), and the most numbers of an embedding of which that is
asked."""
Embed = Callable[[Tensor, tuple[Tensor, ...], Tensor | None], Float[Tensor, "b c"]]
"""The embeddings in a network's outputs, by its inputs and by what stands beside them."""


def similarities(embeddings: Float[Tensor, "n c"]) -> Float[Tensor, " pairs"]:
    """The cosine similarities of all pairs."""
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)
    first, second = torch.triu_indices(len(unit), len(unit), 1)
    return (unit @ unit.T)[first, second].to(embeddings.dtype)


def rank_agreement(embeddings: Float[Tensor, "n c"], ann: Float[Tensor, "n c"]) -> float | None:
    """Spearman's ρ of the similarities of all pairs among the first `RANKED`; None for fewer than three samples, or where all are
    alike."""
    if len(ann) < 3:
        return None
    ours, theirs = (similarities(value[:RANKED]) for value in (embeddings, ann))
    if float(ours.max() - ours.min()) == 0.0 or float(theirs.max() - theirs.min()) == 0.0:
        return None
    return finite(float(np.corrcoef(rankdata(ours.numpy()), rankdata(theirs.numpy()))[0, 1]))


def cosines(embeddings: Float[Tensor, "n c"], ann: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """The cosine of each embedding to the ANN's."""
    return torch.nn.functional.cosine_similarity(embeddings, ann, dim=1)


def same_places(outputs: Tensor, ann: Tensor) -> Float[Tensor, " b"] | None:
    """Of maps [B, C, H, W] of several channels the share of each one's places whose largest channel is the ANN's; None of other outputs."""
    if ann.dim() != 4 or ann.shape[1] < 2:
        return None
    return (outputs.argmax(1) == ann.argmax(1)).float().mean((1, 2))


@final
class Embeddings(Tally):
    """The embeddings of every network, at every step of the curve. Of all samples their cosines are kept, of the first `RANKED` the
    embeddings themselves, where these are at most `WIDEST`."""

    def __init__(self, networks: Networks, embed: Embed, unit: str, judged: str) -> None:
        self.networks, self.embed, self.unit, self.judged = networks, embed, unit, judged
        self.near: dict[str | int, list[Tensor]] = {}
        self.same: dict[str | int, list[Tensor]] = {}
        self.kept: dict[str | int, list[Tensor]] = {}
        self.samples = 0

    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch through every network; `labels` is what stands beside the inputs."""
        outputs = self.networks.run(inputs)
        given: dict[str | int, Tensor] = {**outputs.others, **{point: outputs.snn[point - 1] for point in self.networks.points}}
        embedded = {key: self.embed(value, inputs, labels) for key, value in given.items()}
        room = RANKED - self.samples
        self.samples += inputs[0].shape[0]
        if "ann" not in given:
            return
        for key in given.keys() - {"ann"}:
            self.near.setdefault(key, []).append(cosines(embedded[key], embedded["ann"]))
            if (same := same_places(given[key], given["ann"])) is not None:
                self.same.setdefault(key, []).append(same)
        if room > 0 and embedded["ann"].shape[1] <= WIDEST:
            for key, value in embedded.items():
                self.kept.setdefault(key, []).append(value[:room])

    def evaluation(self) -> Evaluation:
        """Cosines, and agreement by ranks and places. Raises DataError where there was no batch."""
        last = self.networks.timesteps
        check_some(self.samples)
        near, same, kept = ({key: torch.cat(parts) for key, parts in part.items()} for part in (self.near, self.same, self.kept))
        told: dict[str, Any] = {"mcnemar": None, "sign_test": None}
        if "control" in near:
            told["sign_test"] = sign_test(-near[last], -near["control"], self.unit)
        if "control" in same:
            told["of_control"] = {"agreement": _mean(same["control"])}
        return Evaluation(
            measures={"accuracy": dict.fromkeys(NETWORKS), **_judged(last, near, same, kept), **told},
            curve=tuple({"timesteps": point, **_judged(point, near, same, kept)} for point in self.networks.points),
            seconds=self.networks.per_sample(self.samples),
            timesteps=last,
            samples=self.samples,
            reasons=self.networks.missing() | {"accuracy": self.judged},
        )


Kept = Mapping[str | int, Tensor]


def _judged(point: int, near: Kept, same: Kept, kept: Kept) -> dict[str, Any]:
    """The measures of the SNN after some steps, and of the control."""
    keys: dict[str, str | int] = {"snn": point, "control": "control"}
    return {
        "agreement": _mean(same[point]) if point in same else None,
        "cosine": {name: _mean(near[key]) if key in near else None for name, key in keys.items()},
        "rank_agreement": {name: rank_agreement(kept[key], kept["ann"]) if key in kept else None for name, key in keys.items()},
    }


def _mean(values: Tensor) -> float | None:
    return finite(float(values.double().mean()))
