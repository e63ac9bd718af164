"""
Sentences and what they mean: the task of encoders, whose last hidden states, averaged over a sentence's tokens, are its embedding.

Source: Reimers & Gurevych 2019, arXiv:1908.10084 (mean pooling).
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from spikeloom.datasets import Text
from spikeloom.errors import DataError
from spikeloom.pipeline.embeddings import Embeddings
from spikeloom.pipeline.evaluation import Evaluation, evaluate
from spikeloom.pipeline.networks import Networks
from spikeloom.pipeline.task import Task
from spikeloom.pipeline.texts import at_once, checks_for, facts_for, real_tokens, samples_for, samples_of
from spikeloom.simulate import SpikingModel

JUDGED = "a model that embeds sentences is judged by its embeddings"


def pooled(states: Float[Tensor, "*t b l c"], real: Tensor) -> Float[Tensor, "*t b c"]:
    """The mean of hidden states over the tokens of a sentence that are real [b, l]."""
    weights = real.to(states.dtype)[..., None]
    return (states * weights).sum(-2) / weights.sum(-2).clamp_min(1)


def embed(states: Tensor, inputs: tuple[Tensor, ...], labels: Tensor | None) -> Float[Tensor, "b c"]:
    """The embedding of each sentence in the hidden states [B, L, C]; `labels` says with 1 and 0 which tokens are padding."""
    tokens = inputs[0]
    if states.dim() != 3 or states.shape[:2] != tokens.shape:
        found = f"outputs of shape {tuple(states.shape)}"
        raise DataError("this model gives no hidden states", found=found, allowed="[batch, length, channels]")
    return pooled(states, real_tokens(tokens, labels))


def tally(networks: Networks, classes: int | None = None, margin: float | None = None) -> Embeddings:
    """What judges networks on sentences."""
    return Embeddings(networks, embed, "sentences", JUDGED)


def evaluate_sentences(
    snn: SpikingModel, text: Text, timesteps: int | None = None, *, size: int = 64, progress: Callable[[int], None] = lambda count: None
) -> Evaluation:
    """Everything above of a converted encoder on the sentences of a text, at most `size` at once."""
    steps = snn.timesteps if timesteps is None else timesteps
    data = samples_of(text, snn.program)
    return evaluate(tally(Networks(snn, steps)), data.read(at_once(snn.program, size, steps), None), progress)


SENTENCES = Task(
    unit="sentences",
    profiled=128,
    exits=False,
    facts=facts_for("sentences"),
    check=checks_for("sentences"),
    samples=samples_for("sentences"),
    at_once=at_once,
    tally=tally,
)
