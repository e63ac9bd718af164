"""Local learning: whole-number state, each part of the rule by hand, learning with and without batches, the same answers when frozen."""

import dataclasses

import pytest
import torch
from torch import Tensor

from spikeloom.errors import ConfigError, DataError
from spikeloom.logic import PackedNetwork, freeze
from spikeloom.logic.local import LocalRule, LocalState, as_network, init, step

CLASSES, INPUTS = 4, 64


def samples(count: int, seed: int = 0, flips: float = 0.15) -> tuple[Tensor, Tensor]:
    """Noisy copies of two random patterns a class: no layer of gates alone tells them apart better than by its count."""
    g = torch.Generator().manual_seed(99)
    patterns = torch.randint(0, 2, (2 * CLASSES, INPUTS), generator=g).float()
    g.manual_seed(seed)
    which = torch.randint(0, 2 * CLASSES, (count,), generator=g)
    flipped = torch.rand(count, INPUTS, generator=g) < flips
    return (patterns[which] - flipped.float()).abs(), which % CLASSES


def trained(rule: LocalRule, batch: int, count: int) -> tuple[LocalState, float]:
    """A state, and the accuracy of its answers over the last 500, each before it learnt from the sample."""
    g, right = torch.Generator().manual_seed(1), list[Tensor]()
    state, (x, y) = init(INPUTS, 100, CLASSES, g), samples(count)
    for rows in torch.arange(count).split(batch):
        state, answers = step(state, rule, x[rows], y[rows], g)
        right.append(answers == y[rows])
    return state, float(torch.cat(right)[-500:].float().mean())


def tiny() -> LocalState:
    """Two gates of two inputs, two classes: gate 0 fires for either input, gate 1 for none."""
    return LocalState(
        latent=torch.tensor([[40, 40], [-40, 0]], dtype=torch.int8),
        thresholds=torch.tensor([1, 1], dtype=torch.int32),
        activity=torch.zeros(2, dtype=torch.int32),
        readout=torch.tensor([[40, 40], [-40, 40]], dtype=torch.int8),
        offsets=torch.zeros(2, dtype=torch.int32),
        feedback=torch.tensor([[1, -1], [1, 1]], dtype=torch.int8),
    )


def stepped(rule: LocalRule, y: int, state: LocalState | None = None) -> LocalState:
    return step(state or tiny(), rule, torch.tensor([[1.0, 0.0]]), torch.tensor([y]), torch.Generator().manual_seed(0))[0]


def test_a_wrong_answer_moves_what_spiked_towards_the_label() -> None:
    after = stepped(LocalRule(margin=0, window=0, shift=0, readout_shift=0), 1)  # counts 1 and −1, so classes 1 and −1; the label is 1
    assert after.latent.tolist() == [[38, 40], [-40, 0]]  # gate 0 hears 1·1 + (−1)·(−1) = 2 at the input that spiked; gate 1 is too far
    assert after.readout.tolist() == [[39, 40], [-39, 40]]
    assert after.offsets.tolist() == [-1, 1]
    assert (after.thresholds - tiny().thresholds).tolist()[1] == 0
    assert torch.equal(after.feedback, tiny().feedback)


def test_the_margin_decides_who_teaches() -> None:
    same = tiny().latent.tolist()
    assert stepped(LocalRule(margin=1, shift=0), 0).latent.tolist() == same  # the label leads by 2
    assert stepped(LocalRule(margin=2, shift=0), 0).latent.tolist() != same


def test_the_window_decides_which_gates_hear() -> None:
    state = dataclasses.replace(tiny(), feedback=torch.tensor([[1, -1], [-1, 1]], dtype=torch.int8))  # gate 1 is 2 from its threshold
    assert stepped(LocalRule(margin=0, window=1, shift=0), 1, state).latent.tolist()[1] == [-40, 0]
    assert stepped(LocalRule(margin=0, window=2, shift=0), 1, state).latent.tolist()[1] == [-38, 0]


def test_latents_stay_within_their_bits() -> None:
    full = dataclasses.replace(
        tiny(), latent=torch.tensor([[-127, 0], [127, 0]], dtype=torch.int8), thresholds=torch.tensor([0, 0], dtype=torch.int32)
    )
    state = full
    for _ in range(5):
        state = stepped(LocalRule(margin=100, window=1000, shift=0), 1, state)
    assert state.latent.abs().max() <= 127
    assert state.latent.dtype == torch.int8


def test_rates_are_brought_to_their_target() -> None:
    g, rule = torch.Generator().manual_seed(0), LocalRule(margin=0, shift=15, rate=51, patience=20)
    state = dataclasses.replace(init(INPUTS, 50, CLASSES, g), thresholds=torch.full((50,), -60, dtype=torch.int32))
    x, y = samples(3000)
    for _ in range(3):
        for rows in torch.arange(3000).split(20):
            state, _ = step(state, rule, x[rows], y[rows], g)
    counts = x @ as_network(state, rule)[2].latent.sign().T  # pyright: ignore[reportAttributeAccessIssue]
    rates = (counts >= state.thresholds).float().mean(0)
    assert abs(float(rates.mean()) - 0.2) < 0.05


@pytest.mark.parametrize(
    ("rule", "batch", "count", "least"),
    [
        (LocalRule(margin=10), 50, 4000, 0.95),
        (LocalRule(margin=10, shift=4), 1, 3000, 0.95),
        (LocalRule(margin=10, readout_shift=3), 50, 4000, 0.95),
        (LocalRule(margin=10, shift=None, readout_shift=3), 50, 4000, 0.6),
    ],
)
def test_it_learns(rule: LocalRule, batch: int, count: int, least: float) -> None:
    state, accuracy = trained(rule, batch, count)
    assert accuracy >= least
    x, y = samples(1000, seed=5)
    network = as_network(state, rule)
    assert float((network(x).argmax(1) == y).float().mean()) >= least


def test_state_is_whole_numbers_and_the_same_for_the_same_generator() -> None:
    one, other = (trained(LocalRule(readout_shift=3), 50, 500)[0] for _ in range(2))
    for field in dataclasses.fields(LocalState):
        value = getattr(one, field.name)
        assert not value.is_floating_point()
        assert torch.equal(value, getattr(other, field.name))


def test_it_leaves_the_state_it_was_given() -> None:
    state = tiny()
    before = [getattr(state, field.name).clone() for field in dataclasses.fields(state)]
    stepped(LocalRule(margin=9, shift=0, readout_shift=0, patience=1), 1, state)
    assert all(torch.equal(was, getattr(state, field.name)) for was, field in zip(before, dataclasses.fields(state), strict=True))


def test_the_frozen_network_answers_as_the_rule_does() -> None:
    rule = LocalRule(margin=10, readout_shift=3)
    state, _ = trained(rule, 50, 2000)
    x, y = samples(300, seed=7)
    _, answers = step(state, rule, x, y, torch.Generator())
    packed = PackedNetwork(freeze(as_network(state, rule), x[:2]))
    assert torch.equal(packed(x).argmax(1), answers)


@pytest.mark.parametrize("field", [{"margin": -1}, {"shift": 16}, {"readout_shift": -1}, {"edge": 40}, {"rate": 256}, {"patience": 0}])
def test_a_rule_out_of_range_is_refused(field: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"local rule's {next(iter(field))} is out of range"):
        LocalRule(**field)


def test_bad_samples_are_refused() -> None:
    g, rule, x, y = torch.Generator(), LocalRule(), torch.zeros(2, 2), torch.tensor([0, 1])
    for bad, labels, message in ((x + 0.5, y, "no spikes"), (torch.zeros(2, 3), y, "another number"), (x, y + 1, "no classes")):
        with pytest.raises(DataError, match=message):
            step(tiny(), rule, bad, labels, g)
    with pytest.raises(ConfigError, match="cannot have these sizes"):
        init(0, 1, 1, g)


def test_slower_steps_are_of_half_the_size_homeostasis_included() -> None:
    assert LocalRule(shift=3, readout_shift=2, patience=50).slower(2) == LocalRule(shift=5, readout_shift=4, patience=200)
    assert LocalRule(shift=None).slower().shift is None
