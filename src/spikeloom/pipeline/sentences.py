"""
Sentences and what they mean: the task of encoders, whose last hidden states, averaged over a sentence's tokens, are its embedding.

    cosine           mean cosine of a network's embeddings to the ANN's
    rank agreement   Spearman's ρ of the cosine similarities of all pairs of sentences, a network's against the ANN's
    sign test        on sentences: how many of them the SNN embeds nearer to the ANN than the control does

Source: Reimers & Gurevych 2019, arXiv:1908.10084 (mean pooling); Spearman 1904.
"""

from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from spikeloom.datasets import Text
from spikeloom.errors import DataError
from spikeloom.pipeline.evaluation import NETWORKS, Evaluation, Tally, check_some, evaluate, finite, sign_test
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.task import Task
from spikeloom.pipeline.texts import at_once, checks_for, facts_for, real_tokens, samples_for, samples_of
from spikeloom.simulate import SpikingModel

JUDGED = "a model that embeds sentences is judged by its embeddings"
RANKED = 1000
"""Sentences whose pairs are ranked, the first ones; there are half a million pairs of them."""


def pooled(states: Float[Tensor, "*t b l c"], real: Tensor) -> Float[Tensor, "*t b c"]:
    """The mean of hidden states over the tokens of a sentence that are real [b, l]."""
    weights = real.to(states.dtype)[..., None]
    return (states * weights).sum(-2) / weights.sum(-2).clamp_min(1)


def similarities(embeddings: Float[Tensor, "n c"]) -> Float[Tensor, " pairs"]:
    """The cosine similarities of all pairs."""
    unit = torch.nn.functional.normalize(embeddings.double(), dim=1)
    first, second = torch.triu_indices(len(unit), len(unit), 1)
    return (unit @ unit.T)[first, second].to(embeddings.dtype)


def rank_agreement(embeddings: Float[Tensor, "n c"], ann: Float[Tensor, "n c"]) -> float | None:
    """Spearman's ρ of the similarities of all pairs among the first `RANKED`; None for fewer than three sentences, or where all are
    alike."""
    if len(ann) < 3:
        return None
    ours, theirs = (similarities(value[:RANKED]) for value in (embeddings, ann))
    if float(ours.max() - ours.min()) == 0.0 or float(theirs.max() - theirs.min()) == 0.0:
        return None
    return finite(float(np.corrcoef(rankdata(ours.numpy()), rankdata(theirs.numpy()))[0, 1]))


@final
class Embeddings(Tally):
    """The embeddings of every network, at every step of the curve."""

    def __init__(self, networks: Networks, classes: int | None = None, margin: float | None = None) -> None:
        self.networks = networks
        self.parts: dict[str | int, list[Tensor]] = {key: [] for key in (*networks.modules, *networks.points)}

    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch through every network; `labels` says with 1 and 0 which tokens are padding."""
        tokens, outputs = inputs[0], self.networks.run(inputs)
        if outputs.snn.dim() != 4 or outputs.snn.shape[1:3] != tokens.shape:
            found = f"outputs of shape {tuple(outputs.snn.shape[1:])}"
            raise DataError("this model gives no hidden states", found=found, allowed="[batch, length, channels]")
        real = real_tokens(tokens, labels)
        for name, states in outputs.others.items():
            self.parts[name].append(pooled(states, real))
        for point in self.networks.points:
            self.parts[point].append(pooled(outputs.snn[point - 1], real))

    def evaluation(self) -> Evaluation:
        """Cosines and rank agreement. Raises DataError where there was no batch."""
        last = self.networks.timesteps
        check_some(self.parts[last])
        found = {key: torch.cat(parts) for key, parts in self.parts.items()}
        ann = found.get("ann")
        return Evaluation(
            measures={
                "accuracy": dict.fromkeys(NETWORKS),
                "agreement": None,
                **self._judged(last, found, ann),
                "mcnemar": None,
                "sign_test": None
                if ann is None or "control" not in found
                else sign_test(-cosines(found[last], ann), -cosines(found["control"], ann), "sentences"),
            },
            curve=tuple({"timesteps": point, **self._judged(point, found, ann)} for point in self.networks.points),
            seconds=self.networks.per_sample(len(found[last])),
            timesteps=last,
            samples=len(found[last]),
            reasons=self.networks.missing() | {"accuracy": JUDGED},
        )

    def _judged(self, point: int, found: dict[str | int, Tensor], ann: Tensor | None) -> dict[str, Any]:
        """Both measures of the SNN after some steps, and of the control."""
        given = {"snn": found[point], "control": found.get("control")}
        known = {name: value for name, value in given.items() if value is not None and ann is not None}
        return {
            "cosine": {name: _mean(known, name, ann) for name in given},
            "rank_agreement": {name: rank_agreement(known[name], ann) if name in known and ann is not None else None for name in given},
        }


def cosines(embeddings: Float[Tensor, "n c"], ann: Float[Tensor, "n c"]) -> Float[Tensor, " n"]:
    """The cosine of each embedding to the ANN's."""
    return torch.nn.functional.cosine_similarity(embeddings, ann, dim=1)


def _mean(known: dict[str, Tensor], name: str, ann: Tensor | None) -> float | None:
    return finite(float(cosines(known[name], ann).double().mean())) if name in known and ann is not None else None


def evaluate_sentences(
    snn: SpikingModel, text: Text, timesteps: int | None = None, *, size: int = 64, progress: Callable[[int], None] = lambda count: None
) -> Evaluation:
    """Everything above of a converted encoder on the sentences of a text, at most `size` at once."""
    steps = snn.timesteps if timesteps is None else timesteps
    data = samples_of(text, snn.program)
    return evaluate(Embeddings(Networks(snn, steps)), data.read(at_once(snn.program, size, steps), None), progress)


SENTENCES = Task(
    unit="sentences",
    profiled=128,
    exits=False,
    facts=facts_for("sentences"),
    check=checks_for("sentences"),
    samples=samples_for("sentences"),
    at_once=at_once,
    tally=Embeddings,
)
