"""Least squares from rows: the very solution of the normal equations, whichever of the two forms a layer is given."""

import pytest
import torch
from tests.calibrate.test_solve import moments, planted

from spikeloom.calibrate import halves, kernel, solve
from spikeloom.calibrate.halves import Halves
from spikeloom.calibrate.kernel import Rows, best_of_rows


@pytest.mark.parametrize("ridge", [None, 1e-3, 0.1, 10.0])
@pytest.mark.parametrize("inputs", [5, 60])
def test_both_forms_have_one_solution(ridge: float | None, inputs: int) -> None:
    x, r, _, _ = planted(40, inputs=inputs, noise=0.3)
    change, shift = kernel.solution(Rows(x, r), ridge)
    wanted = solve.solution(moments(x.double(), r.double()), ridge)
    torch.testing.assert_close(change.double(), wanted[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(shift, wanted[1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("noise", [0.1, 5.0])
def test_both_forms_choose_one_ridge(noise: float) -> None:
    torch.manual_seed(2)
    x, r, _, _ = planted(60, inputs=80, noise=noise)
    cut = (slice(None), slice(0, 30)), (slice(None), slice(30, None))
    change, _, ridge = best_of_rows(*(Rows(x[part], r[part]) for part in cut))
    wanted = solve.best(*(moments(x[part].double(), r[part].double()) for part in cut))
    assert ridge == wanted[2]
    torch.testing.assert_close(change.double(), wanted[0], atol=1e-4, rtol=1e-3)


def test_outputs_solved_some_at_a_time_are_those_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, r, _, _ = planted(20, inputs=30, noise=0.1)
    whole = kernel.solution(Rows(x, r), 0.1)
    monkeypatch.setattr(kernel, "AT_ONCE", 2)
    for found, wanted in zip(kernel.solution(Rows(x, r), 0.1), whole, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("normal", [True, False])
def test_rows_are_summed_up_once_there_are_more_of_them_than_inputs(normal: bool) -> None:
    x, r, _, _ = planted(40, inputs=12, noise=0.2)
    fed = Halves(2, 12, 3, normal)
    for place, (a, b) in enumerate(zip(x.split(4, 1), r.split(4, 1), strict=True)):
        fed.add(a, b, a.shape[1] * (place % 2))
    assert bool(fed.moments) == normal
    assert fed.count == 40
    other = Halves(2, 12, 3, not normal)
    for place, (a, b) in enumerate(zip(x.split(4, 1), r.split(4, 1), strict=True)):
        other.add(a, b, a.shape[1] * (place % 2))
    for found, wanted in zip(fed.solved()[:2], other.solved()[:2], strict=True):
        torch.testing.assert_close(found.double(), wanted.double(), atol=1e-4, rtol=1e-3)


def test_no_rows_change_nothing() -> None:
    change, shift, ridge = halves.Halves(2, 5, 3, False).solved()
    assert (ridge, bool(change.any()), bool(shift.any())) == (None, False, False)
