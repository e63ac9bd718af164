"""
What fine-tuning minimises: a sum of what labels ask, what the ANN says, and what its activations are.

    L = w_y·CE(o, y) + w_a·τ²·KL(softmax(a/τ) ‖ softmax(o/τ)) + w_f·mean over populations of Σ(f − ō)² / Σf²      (1)
    for outputs that are no logits   Σ(y − o)² / Σy²  and  Σ(a − o)² / Σa²,  summed over the outputs               (2)

o are the SNN's outputs, a the ANN's, ō a population's mean over T, f the ANN's activation that it stands for. A loss is a mean over the
batch (in a text, over its tokens); labels of -100 are left out.

Sources: Hinton et al. 2015, arXiv:1503.02531 (distillation); Romero et al. 2014, arXiv:1412.6550 (features).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from spikeloom.errors import ConfigError, DataError
from spikeloom.simulate import primary

OUTPUTS = ("logits", "values")
IGNORED = -100


@final
@dataclass(frozen=True)
class Objective:
    """(1) with its weights, or (2) where `outputs` are "values" and no "logits"."""

    labels: float
    distil: float
    features: float
    temperature: float
    outputs: str

    def loss(self, given: Any, told: Any, labels: Tensor | None, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> Float[Tensor, ""]:
        """The loss of what the SNN has `given`, what the ANN has `told` (None where it is not asked), and for each population its mean and
        the ANN's activation. Raises ConfigError where labels are asked for and missing, DataError where they do not fit."""
        parts: list[Tensor] = []
        if self.labels:
            parts.append(self.labels * self.of_labels(given, labels))
        if self.distil:
            parts.append(self.distil * self.of_answers(given, told))
        if self.features and pairs:
            parts.append(self.features * torch.stack([relative_error(mean, f) for mean, f in pairs.values()]).mean())
        return torch.stack(parts).sum()

    def of_labels(self, given: Any, labels: Tensor | None) -> Float[Tensor, ""]:
        """The first part."""
        if labels is None:
            todo = "give labelled examples, or set labels to 0 and learn from the ANN alone"
            raise ConfigError("fine-tuning on labels needs labels", found="batches without labels", todo=todo)
        o = primary(given)
        if self.outputs == "values":
            if o.shape != labels.shape:
                raise DataError("the labels have another shape than the outputs", found=tuple(labels.shape), allowed=tuple(o.shape))
            return relative_error(o, labels)
        rows, y = by_class(o, labels)
        return F.cross_entropy(rows, y, ignore_index=IGNORED)

    def of_answers(self, given: Any, told: Any) -> Float[Tensor, ""]:
        """The second part."""
        if self.outputs == "values":
            return torch.stack([relative_error(o, a) for o, a in zip(leaves(given), leaves(told), strict=True)]).sum()
        o, a = (last_axis(primary(each)) / self.temperature for each in (given, told))
        divergence = F.kl_div(F.log_softmax(o, 1), F.log_softmax(a, 1), log_target=True, reduction="batchmean")
        return self.temperature**2 * divergence


def relative_error(found: Tensor, meant: Tensor) -> Float[Tensor, ""]:
    """(2) for one output, in float32."""
    meant = meant.float()
    return (found.float() - meant).square().sum() / meant.square().sum().clamp_min(1e-12)


def leaves(outputs: Any) -> Iterator[Tensor]:
    """The tensors in a structure of outputs that hold real numbers."""
    if isinstance(outputs, Tensor):
        if outputs.is_floating_point():
            yield outputs
    elif isinstance(outputs, dict | list | tuple):
        for each in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from leaves(each)


def last_axis(o: Float[Tensor, "b ..."]) -> Float[Tensor, "n classes"]:
    """Logits in rows, in float32: classes are the last axis, but for pictures of logits [B, classes, H, W], where they are axis 1."""
    moved = o.movedim(1, -1) if o.ndim == 4 else o
    return moved.reshape(-1, moved.shape[-1]).float()


def by_class(o: Float[Tensor, "b ..."], y: Tensor) -> tuple[Float[Tensor, "n classes"], Int64[Tensor, " n"]]:
    """Logits in rows, and the label of each. Raises DataError where the labels are not one for each row, or no classes."""
    rows = last_axis(o)
    if y.is_floating_point() or y.numel() != len(rows):
        found = f"{y.dtype} {tuple(y.shape)} for outputs {tuple(o.shape)}"
        raise DataError("the labels do not fit the outputs", found=found, allowed="one whole number for each row of logits")
    y = y.reshape(-1).to(torch.int64)
    wrong = y[(y != IGNORED) & ((y < 0) | (y >= rows.shape[1]))]
    if len(wrong):
        raise DataError("a label is outside the model's classes", found=int(wrong[0]), allowed=f"0 to {rows.shape[1] - 1}")
    return rows, y


def hits(o: Float[Tensor, "b ..."], y: Tensor) -> tuple[int, int]:
    """How many labels are the greatest logit, and how many labels there are."""
    rows, labels = by_class(o, y)
    known = labels != IGNORED
    return int(((rows.argmax(1) == labels) & known).sum()), int(known.sum())
