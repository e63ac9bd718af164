"""The objective: each part is what its formula says, and labels that do not fit are refused."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from spikeloom.errors import ConfigError, DataError
from spikeloom.train.objective import Objective, by_class, hits, leaves, relative_error

O = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))  # noqa: E741
A = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
Y = torch.tensor([0, 3, 1, 2, -100])


def objective(labels: float = 0.0, distil: float = 0.0, features: float = 0.0, outputs: str = "logits") -> Objective:
    return Objective(labels, distil, features, 2.0, outputs)


def test_labels_ask_for_cross_entropy() -> None:
    expected = torch.stack([-F.log_softmax(o, 0)[y] for o, y in zip(O[:4], Y[:4], strict=True)]).mean()
    assert torch.allclose(objective(labels=2.0).loss(O, None, Y, {}), 2.0 * expected)


def test_distillation_is_the_divergence_at_a_temperature() -> None:
    p, q = (F.softmax(each / 2.0, 1) for each in (A, O))
    expected = 4.0 * (p * (p.log() - q.log())).sum(1).mean()
    assert torch.allclose(objective(distil=1.0).loss({"logits": O}, (A, None), None, {}), expected)
    assert objective(distil=1.0).loss(A, A, None, {}).abs() < 1e-6


def test_features_are_compared_population_by_population() -> None:
    pairs = {"a": (O, A), "b": (A + 1.0, A)}
    expected = (((O - A) ** 2).sum() / (A**2).sum() + A.numel() / (A**2).sum()) / 2
    assert torch.allclose(objective(features=3.0).loss(O, None, None, pairs), 3.0 * expected)


def test_parts_add_up() -> None:
    alone = [objective(**{key: 0.5}).loss(O, A, Y, {"a": (O, A)}) for key in ("labels", "distil", "features")]
    assert torch.allclose(objective(0.5, 0.5, 0.5).loss(O, A, Y, {"a": (O, A)}), torch.stack(alone).sum())


def test_values_are_compared_by_squared_error_over_all_outputs() -> None:
    given, told = {"boxes": O, "scores": O + 1}, {"boxes": A, "scores": A}
    expected = relative_error(O, A) + relative_error(O + 1, A)
    assert torch.allclose(objective(distil=1.0, outputs="values").loss(given, told, None, {}), expected)
    assert torch.allclose(objective(labels=1.0, outputs="values").loss(O, None, A, {}), relative_error(O, A))


def test_every_token_counts() -> None:
    o, y = torch.randn(2, 3, 7), torch.randint(0, 7, (2, 3))
    expected = F.cross_entropy(o.view(6, 7), y.view(6))
    assert torch.allclose(objective(labels=1.0).loss(o, None, y, {}), expected)


def test_every_pixel_counts() -> None:
    o, y = torch.randn(2, 7, 3, 4), torch.randint(0, 7, (2, 3, 4))
    assert torch.allclose(objective(labels=1.0).loss(o, None, y, {}), F.cross_entropy(o, y))


def test_missing_labels() -> None:
    with pytest.raises(ConfigError, match="labels") as raised:
        objective(labels=1.0).loss(O, None, None, {})
    assert "set labels to 0" in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "outputs", "said"),
    [
        (torch.tensor([0, 1, 2, 3, 4]), "logits", "outside"),
        (torch.tensor([0, 1, 2, 3, -1]), "logits", "outside"),
        (torch.tensor([0, 1]), "logits", "do not fit"),
        (torch.rand(5), "logits", "do not fit"),
        (torch.rand(5, 3), "values", "another shape"),
    ],
)
def test_labels_that_do_not_fit(labels: Tensor, outputs: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        objective(labels=1.0, outputs=outputs).loss(O, None, labels, {})


def test_hits_leave_out_what_is_ignored() -> None:
    rows, labels = by_class(O, Y)
    assert hits(O, Y) == (int((rows.argmax(1)[:4] == labels[:4]).sum()), 4)


def test_leaves_of_outputs() -> None:
    assert [value.shape for value in leaves({"a": O, "b": (A, [Y, None]), "c": 3})] == [O.shape, A.shape]
