"""The curriculum: it opens as noise is survived, or in time, focuses on what can be learnt, and resumes to the same weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from spikeloom.logic import fully_connected
from spikeloom.train import TrainProgress, TrainResult, train_classifier
from spikeloom.train.curriculum import BEGIN, BINS, FOCUS, RAMP, STEPS, Opening
from spikeloom.train.noise import Noise

PLACES = torch.linspace(0, 1, 900)


def after(opening: Opening, right: torch.Tensor, steps: int, done: float = 0.0) -> Opening:
    for _ in range(steps):
        opening = opening.after(PLACES, right, classes=4, done=done)
    return opening


def test_it_opens_while_the_strongest_open_noise_is_survived() -> None:
    opening = after(Opening(), torch.ones(900, dtype=torch.bool), 60)
    assert opening.part == 1.0
    assert opening.bins == BINS


def test_it_stays_where_the_strongest_open_noise_is_not_survived() -> None:
    stuck = after(Opening(), PLACES < 0.2, 60)
    assert stuck.part == BEGIN
    assert after(Opening(), torch.zeros(900, dtype=torch.bool), 60).part == BEGIN


def test_each_step_opens_one_part() -> None:
    known = Opening(right=(1.0,) * BINS, classes=4)
    assert known.after(PLACES, torch.ones(900, dtype=torch.bool), 4, 0.0).part == pytest.approx(BEGIN + 1 / STEPS)


@pytest.mark.parametrize(("done", "part"), [(0.5 * RAMP, 0.5), (RAMP, 1.0), (1.0, 1.0)])
def test_in_time_all_is_open_whatever_was_survived(done: float, part: float) -> None:
    assert after(Opening(), torch.zeros(900, dtype=torch.bool), 1, done).part == pytest.approx(part)


def test_noise_beyond_what_is_open_is_not_met() -> None:
    drawn = Opening().places(5000, torch.Generator().manual_seed(0))
    assert float(drawn.max()) <= BEGIN
    assert float(drawn.max()) > 0.95 * BEGIN
    assert 0 <= float(drawn.min()) < 0.01


def test_before_anything_is_known_all_open_noise_is_as_likely() -> None:
    assert Opening(part=1.0).chances().tolist() == pytest.approx([1 / BINS] * BINS)


def test_what_is_neither_sure_nor_hopeless_is_met_most() -> None:
    right = (1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.6, 0.25, 0.25)
    chances = Opening(1.0, right, 4).chances()
    assert float(chances.sum()) == pytest.approx(1.0)
    assert int(chances.argmax()) == 6
    floor = (1 - FOCUS) / BINS
    assert chances[[0, 8]].tolist() == pytest.approx([floor, floor])
    drawn = Opening(1.0, right, 4).places(20_000, torch.Generator().manual_seed(0))
    met = torch.bincount((drawn * BINS).long(), minlength=BINS) / 20_000
    assert met.tolist() == pytest.approx(chances.tolist(), abs=0.02)


def test_the_running_shares_are_of_each_bin_alone() -> None:
    opening = after(Opening(part=1.0), PLACES < 0.5, 200)
    assert all(r > 0.99 for r in opening.right[:4])
    assert all(r < 0.01 for r in opening.right[5:])
    unseen = Opening(right=(0.5,) * BINS).after(torch.zeros(10), torch.ones(10, dtype=torch.bool), 4, 0.0)
    assert unseen.right[1:] == (0.5,) * (BINS - 1)


# --- in training ----------------------------------------------------------------------------------------------------------


class StoppedError(Exception):
    """What a test stops training with."""


def samples(count: int, seed: int) -> list[tuple[torch.Tensor, int]]:
    patterns = torch.randint(0, 2, (4, 60), generator=torch.Generator().manual_seed(9)).float()
    labels = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return [(patterns[label], label) for label in labels]


TRAIN, TEST = samples(64, 0), samples(16, 1)


def train(**changes: Any) -> TrainResult:
    torch.manual_seed(1)
    network = changes.pop("network", None) or fully_connected(60, (12,), 4)
    options: dict[str, Any] = {"epochs": 4, "batch_size": 8, "lr": 0.01, "optimiser": "adamw", "schedule": "cosine", "noise": Noise()}
    return train_classifier(network, TRAIN, TEST, **{**options, **changes})


def test_progress_tells_how_much_noise_is_open() -> None:
    told = list[TrainProgress]()
    train(progress=told.append)
    opened = [now.noise for now in told]
    assert opened == sorted(opened)
    assert opened[0] == pytest.approx(0.45 * BEGIN)
    assert opened[-1] == pytest.approx(0.45)
    train(progress=told.append, noise=Noise(curriculum=False))
    assert told[-1].noise == told[-32].noise == pytest.approx(0.45)


def test_the_network_sees_noise_and_never_the_sample_itself() -> None:
    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.met = fully_connected(60, (), 4), list[torch.Tensor]()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                self.met.append(x)
            return self.inner(x)

    seen = torch.cat(train(network=Watched(), noise=Noise(low=0.2)).model.met)
    patterns = torch.stack(sorted({tuple(x.tolist()): x for x, _ in TRAIN}.values(), key=lambda x: x.tolist()))
    nearest = (seen[:, None] - patterns).abs().sum(2).amin(1) / 60
    assert float(nearest.min()) > 0.05
    assert 0.2 < float(nearest.mean()) < 0.4


def test_a_training_stopped_under_noise_resumes_to_the_same_weights(tmp_path: Path) -> None:
    whole, file = train(), tmp_path / "c.safetensors"

    def stop(now: TrainProgress) -> None:
        if now.step == 13:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(checkpoint=file, checkpoint_steps=5, progress=stop)
    resumed = train(checkpoint=file, resume=True)
    assert resumed.resumed_at == 10
    assert resumed.accuracies == whole.accuracies
    one, other = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_patience_waits_until_all_noise_is_open() -> None:
    patient = train(epochs=40, patience=2, lr=1e-9)
    assert RAMP * 40 <= len(patient.losses) <= RAMP * 40 + 4
    assert len(train(epochs=40, patience=2, lr=1e-9, noise=Noise(curriculum=False)).losses) < 12
