"""
Texts and their next tokens: the task of causal language models.

    perplexity                exp of the mean loss −log p(next token), each token after the first of its block
    bits per token            the mean loss over log 2
    KL                        mean over tokens of Σ p log(p/q), p the ANN's next-token distribution, q the network's, in nats
    next-token agreement      share of tokens at which the likeliest next token is the ANN's
    McNemar                   on the tokens that only one of SNN and control foresees
    sign test                 on blocks: in how many of them the SNN's loss is lower than the control's; tokens of a block depend on each
                              other, blocks hardly do

Source: DESIGN.md §5; Jelinek et al. 1977 (perplexity).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from spikeloom.datasets import Text
from spikeloom.errors import DataError
from spikeloom.pipeline.evaluation import NETWORKS, Evaluation, Tally, accuracy, agreement, check_some, evaluate, finite, mcnemar, sign_test
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.task import Task
from spikeloom.pipeline.texts import at_once, checks_for, facts_for, real_tokens, samples_for, samples_of
from spikeloom.simulate import SpikingModel

JUDGED = "a model that writes texts is judged by its perplexity"


@final
class Seen(NamedTuple):
    """What one network's logits say of a batch: per token its loss, the token thought likeliest, and KL (NaN without an ANN); per block
    the mean loss."""

    losses: Float[Tensor, " n"]
    answers: Int64[Tensor, " n"]
    divergences: Float[Tensor, " n"]
    blocks: Float[Tensor, " b"]


def seen(
    logits: Float[Tensor, "b l v"], tokens: Int64[Tensor, "b l"], real: Bool[Tensor, "b l"], ann: Float[Tensor, "b m v"] | None
) -> Seen:
    """Logits against the tokens that come next, where both are real; `ann` are the ANN's log-probabilities [b, l - 1, v]."""
    log_q, counted = logits[:, :-1].log_softmax(-1), real[:, 1:] & real[:, :-1]
    losses = -log_q.gather(-1, tokens[:, 1:, None])[..., 0]
    blocks = (losses * counted).sum(1) / counted.sum(1).clamp_min(1)
    kl = torch.full_like(losses, math.nan) if ann is None else (ann.exp() * (ann - log_q)).sum(-1)
    return Seen(losses[counted], log_q.argmax(-1)[counted], kl[counted], blocks)


@final
class NextTokens(Tally):
    """What the networks think comes next, at every step of the curve."""

    def __init__(self, networks: Networks, classes: int | None = None, margin: float | None = None) -> None:
        self.networks = networks
        self.parts: dict[str | int, list[Seen]] = {key: [] for key in (*networks.modules, *networks.points)}
        self.labels: list[Tensor] = []
        self.count = 0

    def add(self, inputs: tuple[Tensor, ...], labels: Tensor | None) -> None:
        """One batch through every network; `labels` says with 1 and 0 which tokens are padding."""
        tokens, outputs = inputs[0], self.networks.run(inputs)
        if outputs.snn.dim() != 4 or outputs.snn.shape[1:3] != tokens.shape:
            found = f"outputs of shape {tuple(outputs.snn.shape[1:])}"
            raise DataError("this model gives no next tokens", found=found, allowed="[batch, length, vocabulary]")
        real, given = real_tokens(tokens, labels), outputs.others
        ann = given["ann"][:, :-1].log_softmax(-1) if "ann" in given else None
        for name, logits in given.items():
            self.parts[name].append(seen(logits, tokens, real, ann))
        for point in self.networks.points:
            self.parts[point].append(seen(outputs.snn[point - 1], tokens, real, ann))
        self.labels.append(tokens[:, 1:][real[:, 1:] & real[:, :-1]])
        self.count += len(tokens)

    def evaluation(self) -> Evaluation:
        """Perplexities, agreement, divergence, and the paired tests. Raises DataError where there was no batch, or no next token."""
        check_some(self.labels)
        found = {key: Seen(*map(torch.cat, zip(*parts, strict=True))) for key, parts in self.parts.items()}
        last, labels = found[self.networks.timesteps], torch.cat(self.labels)
        if not len(labels):
            raise DataError("there is no next token to foresee", found="texts of one token", allowed="two tokens or more")
        networks = {name: last if name == "snn" else found[name] for name in NETWORKS if name in found or name == "snn"}
        answers = {name: told.answers for name, told in networks.items()} | {"labels": labels}
        losses = {name: mean(networks[name].losses) if name in networks else None for name in NETWORKS}
        return Evaluation(
            measures={
                "accuracy": dict.fromkeys(NETWORKS),
                "agreement": agreement(answers),
                "perplexity": {name: perplexity(loss) for name, loss in losses.items()},
                "bits_per_token": {name: None if loss is None else finite(loss / math.log(2)) for name, loss in losses.items()},
                "next_token_accuracy": {name: accuracy(answers, name) for name in NETWORKS},
                "next_token_agreement": agreement(answers),
                "kl_nats": divergence(last),
                "of_control": of_control(networks, answers),
                "mcnemar": mcnemar(answers),
                "sign_test": sign_test(last.blocks, networks["control"].blocks, "blocks") if "control" in networks else None,
                "tokens": len(labels),
            },
            curve=tuple(self._row(point, found, answers, losses) for point in self.networks.points),
            seconds=self.networks.per_sample(self.count),
            timesteps=self.networks.timesteps,
            samples=self.count,
            answers=answers,
            reasons=self.networks.missing() | {"accuracy": JUDGED} | _overflown(losses),
        )

    def _row(self, point: int, found: dict[str | int, Seen], answers: dict[str, Tensor], losses: dict[str, float | None]) -> dict[str, Any]:
        """What was found after some steps."""
        told = found[point]
        row: dict[str, Any] = {"timesteps": point, "kl_nats": divergence(told)}
        row["agreement"] = agreement({**answers, "snn": told.answers})
        row["perplexity"] = {name: perplexity(mean(told.losses) if name == "snn" else loss) for name, loss in losses.items()}
        return row


def mean(values: Tensor) -> float:
    """The mean, added up in double precision."""
    return float(values.double().mean())


def perplexity(loss: float | None) -> float | None:
    """exp of a mean loss in nats; None where there is none, or no number for it."""
    return None if loss is None else finite(float(torch.tensor(loss, dtype=torch.float64).exp()))


def divergence(told: Seen) -> float | None:
    """The mean KL in nats; None without an ANN, or where it is no number."""
    return finite(mean(told.divergences))


def of_control(networks: dict[str, Seen], answers: dict[str, Tensor]) -> dict[str, float | None]:
    """The control's own agreement with the ANN and divergence from it."""
    return {
        "next_token_agreement": agreement(answers, "control"),
        "kl_nats": divergence(networks["control"]) if "control" in networks else None,
    }


def _overflown(losses: dict[str, float | None]) -> dict[str, str]:
    bad = [name for name, loss in losses.items() if loss is not None and perplexity(loss) is None]
    return dict.fromkeys(bad, "its perplexity is no finite number")


def evaluate_language(
    snn: SpikingModel, text: Text, timesteps: int | None = None, *, size: int = 64, progress: Callable[[int], None] = lambda count: None
) -> Evaluation:
    """Everything above of a converted language model on the blocks of a text, at most `size` at once."""
    steps = snn.timesteps if timesteps is None else timesteps
    data = samples_of(text, snn.program)
    return evaluate(NextTokens(Networks(snn, steps)), data.read(at_once(snn.program, size, steps), None), progress)


LANGUAGE = Task(
    unit="blocks",
    profiled=8,
    exits=False,
    facts=facts_for("blocks"),
    check=checks_for("blocks"),
    samples=samples_for("blocks"),
    at_once=at_once,
    tally=NextTokens,
)
