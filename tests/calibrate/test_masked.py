"""Masked scores: no threshold is chosen for them, however low they are written; what a maximum alone reads is seen by its maxima."""

from collections.abc import Mapping

import pytest
import torch
from tests.ir.networks import Wired, captured
from tests.simulate.networks import stream_of
from torch import Tensor, nn

from spikeloom.calibrate import Balance, Compensate
from spikeloom.calibrate.observe import MASKED, Observation, floor_of, observe, see_histogram, see_range, watched
from spikeloom.convert import Spike, Unfold
from spikeloom.ir import Context, Program, note, run
from spikeloom.neuron import Axis
from spikeloom.simulate import SpikingModel, populations

LOWEST = torch.finfo(torch.float32).min


def observed(batches: list[Tensor], axis: Axis | None, floor: float = MASKED) -> Observation:
    seen = None
    for z in batches:
        seen = see_range(seen, z, axis, floor)
    assert seen is not None
    for z in batches:
        see_histogram(seen, z, 32, z.clamp_min(-10).square())
    return seen


@pytest.mark.parametrize("hidden", [-torch.inf, LOWEST, -1e30, 2 * MASKED])
@pytest.mark.parametrize("axis", [None, 1])
def test_an_observation_is_that_of_what_is_visible(hidden: float, axis: int | None) -> None:
    """The first batch hides nothing, the second a share of one channel, the third nearly all."""
    z = torch.randn(3, 40, 2)
    batches = list(z.clone())
    batches[1][:25, 0] = hidden
    batches[2][1:, :] = hidden
    found = observed(batches, axis)
    rows = torch.cat(batches).T if axis == 1 else torch.cat(batches).reshape(1, -1)
    for group, row in enumerate(rows):
        visible = row[row > -1e8]
        whole = observed([visible[:, None]], 1)
        for key in ("low", "high", "mean", "std", "histogram", "centres", "targets"):
            torch.testing.assert_close(getattr(found, key)[group], getattr(whole, key)[0], atol=1e-5, rtol=1e-5, msg=key)
        count = found.count if isinstance(found.count, int) else int(found.count[group])
        assert count == len(visible)


def test_where_a_function_has_no_use_nothing_is_seen_either() -> None:
    z = torch.tensor([-1e4, -40.0, -29.0, -1.0, 0.0])
    assert float(observed([z], None, floor=-30.0).low) == -29.0
    assert float(observed([torch.tensor([0.0, 0.125, 0.0, 2.0])], None, floor=1e-30).low) == 0.125
    floors = {str(node.kwargs["function"]): floor_of(node) for node in populations(attentive(-torch.inf)[0])}
    assert floors == {"identity": MASKED, "exp": -30.0, "log": 1e-30}


def attentive(hidden: float) -> tuple[Program, Tensor]:
    """Causal attention of two heads, what is hidden written as `hidden`; without thresholds."""

    def function(x: Tensor, q: nn.Module, k: nn.Module, v: nn.Module) -> Tensor:
        a, b, c = (layer(x).unflatten(-1, (2, 4)).transpose(1, 2) for layer in (q, k, v))
        mask = torch.zeros(4, 4).masked_fill(torch.ones(4, 4).triu(1) > 0, hidden)
        return (2 * a @ b.transpose(2, 3) + mask).softmax(-1) @ c

    torch.manual_seed(3)
    program = captured(Wired(function, *(nn.Linear(6, 8) for _ in range(3))), 2, 4, 6)
    x = torch.randn(96, 4, 6, generator=torch.Generator().manual_seed(1))
    return run([Unfold(), Spike(levels=15)], program, Context()), x


def thresholds(hidden: float, compensated: bool) -> tuple[Mapping[str, Tensor], Tensor]:
    """What calibration gives every population, and what the network then answers."""
    program, x = attentive(hidden)
    passes = [Balance(), *([Compensate(weights=False)] if compensated else [])]
    made = run(passes, program, Context(stream_of(x, 32)))
    return {name: tensor for name, tensor in made.tensors.items() if name.startswith("spike_")}, SpikingModel(made)(x)


@pytest.mark.parametrize("compensated", [False, True])
def test_thresholds_do_not_depend_on_how_low_a_hidden_score_is(compensated: bool) -> None:
    wanted, answer = thresholds(-torch.inf, compensated)
    assert all(bool(tensor.isfinite().all()) for name, tensor in wanted.items() if not name.endswith("thresholds"))
    for hidden in (LOWEST, -1e4, -100.0):
        found, given = thresholds(hidden, compensated)
        for name, tensor in wanted.items():
            torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-6, msg=f"{name}, {hidden}")
        torch.testing.assert_close(given, answer)


def test_what_a_maximum_alone_reads_is_seen_by_its_maxima() -> None:
    program, x = attentive(-100.0)
    (scores,) = [node for node in populations(program) if "covers" in note(node)]
    z = torch.randn(3, 2, 4, 4) - 50 * (torch.ones(4, 4).triu(1) > 0)
    assert torch.equal(watched(scores, z), z.amax(-1, keepdim=True).expand_as(z))
    others = [node for node in populations(program) if node is not scores]
    assert all(watched(node, z) is z for node in others)
    seen = observe(program, stream_of(x), lambda: None)[scores.name]
    assert float(seen.low.min()) > -20
    made = run([Balance()], program, Context(stream_of(x)))
    torch.testing.assert_close(made.tensors[f"{scores.name}.step"] * 15, torch.maximum(-seen.low, seen.high), rtol=1e-2, atol=0)
