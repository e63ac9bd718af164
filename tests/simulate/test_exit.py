"""Early exit: each sample stops at the first step whose running answer leads by the margin."""

from pathlib import Path

import pytest
import torch
from tests.simulate.networks import ann, balanced, samples
from torch import Tensor

from spikeloom.errors import ConfigError, DataError
from spikeloom.simulate import SpikingModel
from spikeloom.simulate.model import smallest_margin

STEPS = 12


@pytest.fixture(scope="module")
def snn() -> SpikingModel:
    return SpikingModel(balanced(ann("linear"), STEPS, method="if"), timesteps=STEPS)


def running(snn: SpikingModel, x: Tensor) -> Tensor:
    """The answers after 1 … T steps, each run from rest: [T, B, classes]."""
    return torch.stack([snn(x, timesteps=steps) for steps in range(1, STEPS + 1)])


def lead(answers: Tensor) -> Tensor:
    best = answers.sort(-1, descending=True).values
    return best[..., 0] - best[..., 1]


def test_each_sample_has_the_answer_of_the_step_it_stopped_at(snn: SpikingModel) -> None:
    x = samples(snn.program, 40)
    means, margin = running(snn, x), 0.3
    answers, taken = snn.run_with_exit(x, margin=margin)
    assert len(taken.unique()) > 2
    for sample in range(40):
        leads = lead(means[:, sample])
        first = next((t for t in range(STEPS) if leads[t] >= margin), STEPS - 1)
        assert int(taken[sample]) == first + 1
        torch.testing.assert_close(answers[sample], means[first, sample], atol=1e-5, rtol=0)
    assert torch.equal(snn(x, early_exit=margin), answers)


@pytest.mark.parametrize(("margin", "steps"), [(0.0, 1), (1e9, STEPS)])
def test_no_margin_stops_at_once_and_an_unreachable_one_never(snn: SpikingModel, margin: float, steps: int) -> None:
    x = samples(snn.program, 10)
    answers, taken = snn.run_with_exit(x, margin=margin)
    assert taken.tolist() == [steps] * 10
    assert torch.equal(snn(x, early_exit=margin), answers)
    torch.testing.assert_close(answers, snn(x, timesteps=steps), atol=1e-5, rtol=0)


def test_a_larger_margin_takes_more_steps(snn: SpikingModel) -> None:
    x = samples(snn.program, 40)
    taken = [float(snn.run_with_exit(x, margin=margin)[1].float().mean()) for margin in (0.05, 0.3, 1.0)]
    assert taken[0] < taken[1] < taken[2] <= STEPS


def test_steps_that_nobody_needs_are_not_run(snn: SpikingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, step = list[int](), SpikingModel.step
    monkeypatch.setattr(SpikingModel, "step", lambda model, *inputs, state=None: ran.append(1) or step(model, *inputs, state=state))
    x = samples(snn.program, 10)
    _, taken = snn.run_with_exit(x, margin=0.05)
    assert len(ran) == int(taken.max()) < STEPS


@pytest.mark.parametrize("agreement", [0.6, 0.9, 0.99, 1.0])
def test_the_calibrated_margin_keeps_the_agreement_asked_for(snn: SpikingModel, agreement: float) -> None:
    x = samples(snn.program, 300, seed=5)
    final = snn(x).argmax(1)
    margin = snn.calibrate_exit(((part,) for part in x.split(64)), agreement=agreement)
    answers, taken = snn.run_with_exit(x, margin=margin)
    assert float((answers.argmax(1) == final).float().mean()) >= agreement
    if margin > 0:  # and it is the smallest such margin: a clearly smaller one breaks the promise
        smaller, sooner = snn.run_with_exit(x, margin=0.5 * margin)
        assert float(sooner.float().mean()) < float(taken.float().mean())
        if agreement == 1.0:
            assert float((smaller.argmax(1) == final).float().mean()) < 1.0


def test_true_is_the_calibrated_margin_and_is_saved_with_the_network(tmp_path: Path) -> None:
    snn = SpikingModel(balanced(ann("linear"), STEPS, method="if"), timesteps=STEPS)
    x = samples(snn.program, 100, seed=5)
    with pytest.raises(ConfigError, match=r"no margin for early exit[^!]*calibrate_exit"):
        snn(x, early_exit=True)
    margin = snn.calibrate_exit([(x,)], agreement=1.0)
    assert not torch.equal(snn.run_with_exit(x, margin=margin)[0], snn.run_with_exit(x, margin=1.0)[0])
    snn.save(tmp_path / "snn")
    for network in (snn, SpikingModel.open(tmp_path / "snn")):
        assert torch.equal(network(x, early_exit=True), snn.run_with_exit(x, margin=margin)[0])
        assert torch.equal(network(x, early_exit=False), network(x))


def test_calibration_needs_samples(snn: SpikingModel) -> None:
    with pytest.raises(DataError, match="empty stream"):
        snn.calibrate_exit([])


def test_the_number_of_steps_is_checked(snn: SpikingModel) -> None:
    with pytest.raises(ConfigError, match="time steps"):
        snn.run_with_exit(samples(snn.program, 2), margin=0.1, timesteps=0)


def test_a_margin_is_calibrated_on_the_steps_asked_for(snn: SpikingModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, step = list[int](), SpikingModel.step
    monkeypatch.setattr(SpikingModel, "step", lambda model, *inputs, state=None: ran.append(1) or step(model, *inputs, state=state))
    snn.calibrate_exit([(samples(snn.program, 10),)], timesteps=3)
    assert len(ran) == 3


def test_where_no_lead_is_large_enough_nobody_stops_early() -> None:
    leads, right = torch.tensor([[3.0], [1.0]]), torch.tensor([[False], [True]])
    assert smallest_margin(leads, right, 1.0) > 3.0
