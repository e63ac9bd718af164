"""The local rules by themselves: neurons come back, knobs fold, the readout learns and is shielded, contexts are told apart."""

import pytest
import torch
from tests.simulate.networks import ann, balanced, correlated
from torch import Tensor

from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import calls, verify
from spikeloom.simulate import SpikingModel
from spikeloom.train.contexts import RECENT, Contexts, Place, left, nearest, spread_of, visited
from spikeloom.train.homeostasis import Homeostasis, Trace, matched, pace, seen, steered, traced
from spikeloom.train.intrinsic import Per, folded, with_knobs
from spikeloom.train.readout import DeltaRule, Memory, grown, learned, readout_of, remembered, taught, weights_in, with_constant
from spikeloom.train.trial import LEAST, MOST, NOTHING, Evidence, pays, weighed


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_matched_currents_have_the_calibrated_mean_and_spread() -> None:
    calm = 0.7 * normal(400, 3, 5, seed=1) + 0.3
    drifted = 2.5 * normal(400, 3, 5, seed=2) - 1.0
    gain, shift = matched(seen(calm, (0, 2)), seen(drifted, (0, 2)), most=10.0)
    found, meant = seen(gain * drifted + shift, (0, 2)), seen(calm, (0, 2))
    assert torch.allclose(found.mean, meant.mean, atol=1e-5)
    assert torch.allclose(found.square, meant.square, atol=1e-4)


def test_a_neuron_that_never_moved_keeps_its_gain_and_no_gain_leaves_its_bounds() -> None:
    calm = torch.stack([torch.zeros(200), normal(200)], 1)
    gain, _ = matched(seen(calm, (0,)), seen(100 * normal(200, 2, seed=3), (0,)), most=4.0)
    assert gain.flatten().tolist() == [1.0, 0.25]


def test_traces_are_the_mean_of_what_was_seen_and_then_forget_slowly() -> None:
    trace, total = Trace(torch.zeros(1, 2), torch.zeros(1, 2)), 8
    batches = normal(6, 8, 2)
    for batch in batches:
        trace, total = traced(trace, seen(batch, (0,)), pace(total, 8, 1000)), total + 8
    assert torch.allclose(trace.mean, batches.flatten(0, 1).sum(0, keepdim=True) / 56, atol=1e-6)  # eight samples of 0 before them
    assert pace(500, 8, 512) == pytest.approx(8 / 508)
    assert pace(512, 8, 512) == 8 / 512
    assert pace(512, 600, 512) == 1.0


def test_a_neuron_that_sends_too_little_is_turned_up_and_the_other_down() -> None:
    calm = Trace(torch.tensor([[1.0, 1.0, 1.0]]), torch.ones(1, 3))
    gain = steered(torch.ones(1, 3), calm, torch.tensor([[0.5, 1.0, 1.5]]), rate=0.5, most=10.0)
    assert gain[0, 0] > 1 == gain[0, 1] > gain[0, 2]


@pytest.mark.parametrize("per", ["channel", "neuron"])
@pytest.mark.parametrize("name", ["linear", "residual", "gate"])
def test_knobs_at_rest_change_nothing_and_folding_them_changes_nothing(name: str, per: Per) -> None:
    program, x = balanced(ann(name)), correlated(ann(name), 24)
    made, knobs = with_knobs(program, per)
    verify(made)
    assert torch.equal(SpikingModel(made)(x), SpikingModel(program)(x))
    turned = {knob.gain: 1 + 0.3 * normal(*knob.shape, seed=4) for knob in knobs}
    turned |= {knob.shift: 0.2 * normal(*knob.shape, seed=5) for knob in knobs}
    made = made.replaced(tensors={**made.tensors, **turned})
    whole = folded(made, knobs)
    verify(whole)
    assert not torch.allclose(SpikingModel(made)(x), SpikingModel(program)(x), atol=1e-3)
    # a current at a threshold may fall to either side of it once sums are in another order
    close = torch.isclose(SpikingModel(whole)(x), SpikingModel(made)(x), atol=1e-4).float().mean()
    assert close > 0.95


def test_folding_leaves_no_operation_behind_where_layers_feed_populations() -> None:
    program = balanced(ann("linear"))
    made, knobs = with_knobs(program)
    assert len(list(calls(folded(made, knobs).graph))) == len(list(calls(program.graph)))
    residual, pairs = with_knobs(balanced(ann("residual")))
    left_over = [node for node in calls(folded(residual, pairs).graph) if node.target is torch.ops.aten.mul.Tensor]
    assert len(left_over) == 1, "the sum of two branches has no layer of its own"


def test_knobs_that_are_there_are_taken_over_and_others_refused() -> None:
    made, knobs = with_knobs(balanced(ann("residual")), "neuron")
    again, same = with_knobs(made, "neuron")
    assert same == knobs
    assert list(again.tensors) == list(made.tensors)
    with pytest.raises(ConfigError, match="another kind"):
        with_knobs(made, "channel")


def spikes(count: int, seed: int = 0) -> Tensor:
    """What reaches a readout: non-negative, and mostly in three directions."""
    basis = normal(3, 12, seed=9).abs()
    return (normal(count, 3, seed=seed).abs() @ basis + 0.2 * normal(count, 12, seed=seed + 50).abs()).round()


def made_readout(rule: DeltaRule) -> tuple[Tensor, Tensor]:
    weight, bias = 0.3 * normal(4, 12, seed=2), 0.1 * normal(4, seed=3)
    return weight, bias


@pytest.mark.parametrize("shielded", [True, False])
def test_a_readout_that_has_learnt_nothing_is_the_layer_and_a_sample_shown_becomes_its_class(shielded: bool) -> None:
    rule = DeltaRule(shielded=shielded)
    weight, bias = made_readout(rule)
    readout = readout_of(weight, bias, spikes(200), rule)
    same = weights_in(readout)
    assert torch.equal(same[0], weight)
    assert torch.allclose(same[1], bias)
    x = with_constant(spikes(1, seed=7), readout.constant)[0]
    wrong = int((readout.weight @ x).argmin())
    for _ in range(60):
        readout = learned(readout, x, wrong, rule)
    assert int((readout.weight @ x).argmax()) == wrong


def test_what_was_known_is_shielded() -> None:
    calm, x = spikes(300), torch.cat([spikes(1, seed=7)[0][:6], normal(6, seed=8).abs() * 3])
    changed = dict[bool, float]()
    for shielded in (True, False):
        rule = DeltaRule(shielded=shielded)
        readout = readout_of(*made_readout(rule), calm, rule)
        shown = with_constant(x[None], readout.constant)[0]
        after = learned(readout, shown, 1, rule).weight - readout.weight
        effect = (after @ shown).norm()
        changed[shielded] = float((with_constant(calm, readout.constant) @ after.T).norm() / effect)
    assert changed[True] < 0.5 * changed[False]


def test_a_readout_grows_by_classes_that_are_not_meant_yet() -> None:
    rule = DeltaRule()
    readout = readout_of(*made_readout(rule), spikes(200), rule)
    more, x = grown(readout, 6), with_constant(spikes(50, seed=5), readout.constant)
    assert torch.equal(more.weight[:4], readout.weight)
    assert torch.allclose((x @ more.weight.T)[:, 4:], torch.full((50, 2), readout.off), atol=1e-5)


def test_young_neurons_learn_faster() -> None:
    rule = DeltaRule(young=3.0)
    readout = grown(readout_of(*made_readout(rule), spikes(200), rule), 5)
    x = with_constant(spikes(1, seed=7), readout.constant)[0]
    fast, slow = (learned(readout, x, 4, DeltaRule(young=young)).weight - readout.weight for young in (3.0, 1.0))
    assert torch.allclose(fast[4], 3 * slow[4], rtol=1e-4)
    assert torch.equal(fast[:4], slow[:4])


def test_replay_is_a_function_of_seed_and_labels_and_keeps_no_more_than_it_may() -> None:
    rule = DeltaRule(kept=5, replay=3)
    readout = readout_of(*made_readout(rule), spikes(200), rule)
    x = with_constant(spikes(30, seed=6), readout.constant)

    def through(seed: int) -> tuple[Tensor, Memory]:
        now, memory = readout, Memory(x[:0], torch.empty(0, dtype=torch.int64), 0)
        for place, each in enumerate(x):
            now, memory, shown = taught(now, memory, each, place % 4, rule, seed)
            assert len(shown) == 4
        return now.weight, memory

    weight, memory = through(0)
    assert len(memory.y) == 5
    assert memory.labels == 30
    assert torch.equal(weight, through(0)[0])
    assert not torch.equal(weight, through(1)[0])


def test_every_sample_is_as_likely_to_be_kept() -> None:
    counts = torch.zeros(20)
    for seed in range(300):
        memory = Memory(torch.empty(0, 1), torch.empty(0, dtype=torch.int64), 0)
        for label in range(20):
            memory = remembered(memory, torch.zeros(1), label, 5, seed)
        counts[memory.y] += 1
    assert float(counts.min()) > 45
    assert float(counts.max()) < 110  # 75 each on average


def test_no_spikes_and_weights_beyond_floats_are_said() -> None:
    rule = DeltaRule(shielded=False)
    with pytest.raises(NumericError, match="no spikes"):
        readout_of(*made_readout(rule), torch.zeros(10, 12), rule)
    readout = readout_of(*made_readout(rule), spikes(100), rule)
    with pytest.raises(NumericError, match="not finite"):
        learned(readout, with_constant(spikes(1), readout.constant)[0] * 1e38, 1, rule)


def test_a_context_is_left_when_its_samples_move_and_not_before() -> None:
    calm = normal(512, 6)
    place, spread = Place(calm.mean(0), calm.mean(0), 0), spread_of(calm)
    for batch in normal(640, 6, seed=1).split(16):
        place = visited(place, batch, 512, moves=False)
        assert not left(place, spread, Contexts().vigilance)
    moved = normal(2 * RECENT, 6, seed=2) + 2.0
    for batch in moved.split(16):
        place = visited(place, batch, 512, moves=False)
    assert left(place, spread, Contexts().vigilance)
    other = Place(moved.mean(0), moved.mean(0), 0)
    assert float(nearest(normal(100, 6, seed=3) + 2.0, [place, other], spread).float().mean()) > 0.95
    assert float(nearest(normal(100, 6, seed=4), [place, other], spread).float().mean()) < 0.05


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (Homeostasis(horizon=10), "horizon"),
        (Homeostasis(most=1.0), "most"),
        (Homeostasis(settle=1000), "settle"),
        (DeltaRule(rate=0.0), "rate"),
        (DeltaRule(kept=0), "kept"),
        (DeltaRule(classes=1), "classes"),
        (DeltaRule(young=0.5), "young"),
        (Contexts(most=0), "most"),
        (Contexts(vigilance=0.0), "vigilance"),
    ],
)
def test_options_out_of_range_are_named(options: Homeostasis | DeltaRule | Contexts, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        options.check()


def test_labels_weigh_what_knobs_made_of_a_context() -> None:
    better, worse, labels = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([1])
    gained = float(better.log_softmax(1)[0, 1] - worse.log_softmax(1)[0, 1])
    found = weighed(NOTHING, better, worse, labels)
    assert found.total == pytest.approx(gained)
    assert found.square == pytest.approx(gained**2)
    assert weighed(found, worse, better, labels).total == pytest.approx(0)
    assert weighed(found, worse, better, labels).labels == 2
    assert weighed(NOTHING, 100 * worse, -100 * worse, labels).total == MOST


def test_knobs_pay_until_labels_say_more_than_chance_against_them() -> None:
    assert pays(NOTHING)
    assert pays(Evidence(-9.0, 9.0, LEAST - 1))
    assert pays(Evidence(-2.9, 9.0, LEAST))
    assert not pays(Evidence(-3.1, 9.0, LEAST))
    assert pays(Evidence(3.1, 9.0, LEAST))
