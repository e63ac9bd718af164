"""Lessons: labels, a teacher's answers, and that noise must not change an answer, each weighed as said."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.errors import ConfigError, DataError
from spikeloom.train.lesson import Lesson, logits_of

MODEL = nn.Linear(5, 3)
X, CLEAN, Y = torch.randn(8, 5), torch.randn(8, 5), torch.randint(0, 3, (8,))


def teacher(x: Tensor) -> Tensor:
    return x[:, :3] * 4


def kl(from_: Tensor, to: Tensor) -> Tensor:
    p = from_.softmax(1)
    return (p * (p.log() - to.log_softmax(1))).sum(1).mean()


def test_labels_alone_are_cross_entropy_on_what_is_disturbed() -> None:
    loss, logits = Lesson().loss(MODEL, X, CLEAN, Y)
    assert torch.equal(logits, MODEL(X))
    assert torch.allclose(loss, F.cross_entropy(MODEL(X), Y))


def test_a_teacher_answers_what_the_pupil_sees() -> None:
    loss, logits = Lesson(distil=0.25, teacher=teacher).loss(MODEL, X, CLEAN, Y)
    assert torch.allclose(loss, 0.75 * F.cross_entropy(logits, Y) + 0.25 * kl(teacher(X), logits))


def test_a_teacher_that_knows_no_noise_answers_on_the_clean_view() -> None:
    loss, logits = Lesson(distil=0.25, teacher=teacher, teaches_clean=True).loss(MODEL, X, CLEAN, Y)
    assert torch.allclose(loss, 0.75 * F.cross_entropy(logits, Y) + 0.25 * kl(teacher(CLEAN), logits))


def test_with_consistency_the_clean_view_is_taught_and_followed() -> None:
    loss, logits = Lesson(consistency=2.0).loss(MODEL, X, CLEAN, Y)
    clean = MODEL(CLEAN)
    wanted = (F.cross_entropy(logits, Y) + F.cross_entropy(clean, Y)) / 2 + 2.0 * kl(clean, logits)
    assert len(logits) == 8
    assert torch.allclose(loss, wanted)


def test_the_clean_view_is_not_drawn_to_the_noisy_one() -> None:
    """With c alone, gradients reach the weights through the noisy view only."""
    x = torch.cat([X, CLEAN]).requires_grad_()

    class Halves(nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            return MODEL(x)

    far, near = (Lesson(consistency=c).loss(Halves(), X, CLEAN, Y)[0] for c in (1.0, 3.0))
    (gradient,) = torch.autograd.grad(near - far, x)
    assert bool(gradient[:8].any())
    assert not bool(gradient[8:].any())


@pytest.mark.parametrize("options", [{"distil": 0.5}, {"teacher": teacher}, {"distil": 1.5, "teacher": teacher}, {"consistency": -1.0}])
def test_weights_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Lesson(**options)  # pyright: ignore[reportArgumentType]


def test_labels_beyond_the_classes_are_named() -> None:
    with pytest.raises(DataError, match="found: 3\n  allowed: 0 to 2"):
        Lesson().loss(MODEL, X, CLEAN, torch.full((8,), 3))


def test_logits_are_found_in_what_models_return() -> None:
    logits = torch.zeros(2, 3)
    assert logits_of((logits, "more")) is logits
    with pytest.raises(DataError, match="no classifier"):
        logits_of(torch.zeros(2, 3, 4))
