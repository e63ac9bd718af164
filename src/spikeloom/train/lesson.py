"""
What a classifier is taught with: its labels, a teacher, and that noise must not change its answer.

    loss = (1 - d)·CE(z, y) + d·KL(teacher(x) ‖ z) + c·KL(z(clean) ‖ z)            z: logits of the disturbed samples          (1)

With c the clean view runs beside the disturbed one and is taught its labels too. A teacher that was not trained under the noise is better
asked about the clean view, teacher(clean): what it says of the disturbed one is wrong.

Sources: Hinton et al. 2015, arXiv:1503.02531 (teacher); Xie et al. 2020, arXiv:1904.12848 (consistency).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.errors import ConfigError, DataError

Teacher = Callable[[Tensor], Tensor]
"""Inputs, as the pupil sees them (or would without noise), to logits."""


def logits_of(output: Any) -> Float[Tensor, "b classes"]:
    """The logits in what a model returns: a tensor, an object with `.logits`, or a tuple that begins with them. DataError else."""
    found = getattr(output, "logits", output[0] if isinstance(output, tuple | list) and output else output)
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise DataError(
            "the model is no classifier", found=getattr(found, "shape", type(found).__name__), allowed="logits [batch, classes]"
        )
    return found


def check_labels(y: Int64[Tensor, " b"], classes: int) -> None:
    """Nothing where the labels are ones the model can give; else DataError."""
    wrong = y[(y < 0) | (y >= classes)]
    if len(wrong):
        raise DataError("a label is outside the model's classes", found=int(wrong[0]), allowed=f"0 to {classes - 1}")


@final
@dataclass(frozen=True)
class Lesson:
    """The weights of (1): `distil` d (with a `teacher`, which with `teaches_clean` is asked about the clean view), `consistency` c.
    ConfigError out of range."""

    label_smoothing: float = 0.0
    consistency: float = 0.0
    distil: float = 0.0
    teacher: Teacher | None = None
    teaches_clean: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.distil <= 1 or (self.distil > 0) != (self.teacher is not None):
            raise ConfigError(
                "a teacher and its weight go together", found=f"distil {self.distil}", allowed="0 to 1, above 0 with a teacher"
            )
        if not self.consistency >= 0:
            raise ConfigError("train.consistency cannot be used", found=self.consistency, allowed="0 or more")

    def loss(
        self, model: nn.Module, x: Float[Tensor, "b *any"], clean: Float[Tensor, "b *any"], y: Int64[Tensor, " b"]
    ) -> tuple[Tensor, Float[Tensor, "b classes"]]:
        """(1), and the logits of x. DataError for labels beyond the model's classes."""
        both = self.consistency > 0
        logits = logits_of(model(torch.cat([x, clean]) if both else x)).float()
        check_labels(y, logits.shape[1])
        seen, plain = (logits[: len(x)], logits[len(x) :]) if both else (logits, None)
        loss = F.cross_entropy(seen, y, label_smoothing=self.label_smoothing)
        if self.teacher is not None:
            with torch.no_grad():
                answer = self.teacher(clean if self.teaches_clean else x).float()
            loss = (1 - self.distil) * loss + self.distil * _divergence(answer, seen)
        if plain is not None:
            taught = F.cross_entropy(plain, y, label_smoothing=self.label_smoothing)
            loss = (loss + taught) / 2 + self.consistency * _divergence(plain.detach(), seen)
        return loss, seen


def _divergence(from_: Tensor, to: Tensor) -> Tensor:
    return F.kl_div(to.log_softmax(1), from_.log_softmax(1), reduction="batchmean", log_target=True)
