"""Channels that nobody reads leave: the network computes the same numbers, it is smaller, and what cannot leave stays with the reason."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from tests.ir.networks import Wired, conv
from tests.simulate.networks import ann, correlated, stream_of, unbalanced
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.calibrate import Balance, Compensate
from spikeloom.capture import capture
from spikeloom.compress import PruneChannels
from spikeloom.compress.channels import Channels
from spikeloom.compress.shrink import shrunk
from spikeloom.errors import ConfigError, InternalError, NumericError
from spikeloom.ir import Context, Program, calls, groups_of, run, verify, weighted, weights_of
from spikeloom.simulate import executable, populations, primary


def padded(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, head: nn.Module) -> Tensor:
    """A shortcut as in ResNet-20: every second place, zeros for the new channels."""
    y = F.relu(a(x))
    z = F.relu(c(F.relu(b(y))) + F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1)))
    return head(F.adaptive_avg_pool2d(z, 1).flatten(1))


def joined(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, head: nn.Module) -> Tensor:
    """A residual sum, a concatenation, pools, and features flattened with their places."""
    y = F.relu(a(x))
    z = F.relu(b(y) + y)
    pooled = F.max_pool2d(torch.cat([z, F.relu(c(z))], 1), 2)
    return head(F.avg_pool2d(pooled, 3).flatten(1))


def depthwise(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, d: nn.Module) -> Tensor:
    """Depthwise, then pointwise, then a mean over places."""
    return d(F.relu6(c(F.prelu(b(F.relu(a(x))), torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])))).mean((2, 3)))


def neurons(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    """Neurons of linear layers, functions with tables, and features of a picture read by them."""
    return c(F.gelu(b(F.relu(a(x)).view(-1, 4 * 36))))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "padded": (lambda: Wired(padded, conv(2, 4), conv(4, 5, stride=2), conv(5, 6), nn.Linear(6, 3)), (2, 6, 6)),
    "joined": (lambda: Wired(joined, conv(2, 4), conv(4, 4), conv(4, 3), nn.Linear(7, 3)), (2, 6, 6)),
    "depthwise": (lambda: Wired(depthwise, conv(2, 6), conv(6, 6, groups=6), conv(6, 4, 1), nn.Linear(4, 3)), (2, 6, 6)),
    "neurons": (lambda: Wired(neurons, conv(2, 4), nn.Linear(144, 8), nn.Linear(8, 3)), (2, 6, 6)),
}


@cache
def converted(name: str, placement: str = "uniform") -> Program:
    make, shape = NETWORKS[name]
    torch.manual_seed(len(name))
    program = capture(make().eval(), (torch.randn(2, *shape),))
    return run([Balance(), Compensate()], unbalanced(program, levels=7, placement=placement), context(program))


def context(program: Program) -> Context:
    return Context(stream_of(correlated(program, 128)))


def unread(program: Program, leaving: set[int]) -> Program:
    """The program whose layers no longer read some classes."""
    tensors = dict(program.tensors)
    for node, classes in Channels(program).readers():
        name = str(node.args[1].target)
        gone = torch.isin(classes, torch.tensor(sorted(leaving)))
        tensors[name] = tensors[name] * (~gone).view(1, -1, *[1] * (tensors[name].dim() - 2))
    return program.replaced(tensors=tensors)


def every_second(program: Program) -> set[int]:
    """Every second class that may leave of each population, one at least staying everywhere."""
    channels, found = Channels(program), set[int]()
    for node in populations(program):
        if node in channels.values:
            found |= {each for each in sorted(set(channels.classes(node).tolist()))[1::2] if each not in channels.pinned()}
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("placement", ["uniform", "density"])
def test_without_channels_nobody_reads_the_numbers_are_the_same(name: str, placement: str) -> None:
    program = converted(name, placement)
    leaving = every_second(program)
    assert leaving
    before = unread(program, leaving)
    after = shrunk(before, Channels(before), leaving)
    verify(after)
    x = correlated(program, 32, seed=5)
    torch.testing.assert_close(primary(executable(after, 1)(x)), primary(executable(before, 1)(x)), rtol=1e-5, atol=1e-5)
    sizes = [sum(held.numel() for held in each.tensors.values()) for each in (before, after)]
    assert sizes[1] < 0.8 * sizes[0]
    for node, twin in zip(populations(before), populations(after), strict=True):
        assert twin.meta["spec"][0][1] < node.meta["spec"][0][1]


def test_a_padded_shortcut_loses_zeros_too() -> None:
    program = converted("padded")
    channels = Channels(program)
    after_sum = populations(program)[2]
    leaving = {int(channels.classes(after_sum)[0])}  # a slot of zeros on the shortcut's side
    before = unread(program, leaving)
    after = shrunk(before, Channels(before), leaving)
    pads = [node.args[1] for node in calls(after.graph) if "pad" in str(node.target)]
    assert list(pads[0]) == [0, 0, 0, 0, 0, 1]


def test_a_depthwise_convolution_has_as_many_groups_as_channels() -> None:
    program = converted("depthwise")
    before = unread(program, every_second(program))
    after = shrunk(before, Channels(before), every_second(program))
    layer = [node for node in calls(after.graph) if weighted(node)][1]
    assert groups_of(layer) == weights_of(layer, after.tensors)[0].shape[0] == 3


def test_what_is_still_read_cannot_leave() -> None:
    program = converted("joined")
    with pytest.raises(InternalError, match="still reads channels"):
        shrunk(program, Channels(program), every_second(program))


@pytest.mark.parametrize("name", NETWORKS)
def test_pruning_shrinks_and_the_readers_make_it_good(name: str) -> None:
    program = converted(name)
    given = {key: tensor.clone() for key, tensor in program.tensors.items()}
    after = run([PruneChannels(0.4, rounds=2)], program, context(program))
    told = after.records[-1].numbers
    assert any(now < was for was, now in told["channels"].values())
    assert told["operations"]["after"] < told["operations"]["before"]
    assert all(torch.equal(tensor, given[key]) for key, tensor in program.tensors.items())
    x = correlated(program, 256, seed=7)
    meant, found = (primary(executable(each, 1)(x)) for each in (program, after))
    gone = set(list(every_second(program))[: sum(was - now for was, now in told["channels"].values())])
    careless = primary(executable(unread(program, gone), 1)(x))
    assert float((found - meant).square().mean()) < float((careless - meant).square().mean())


def test_channels_that_never_fire_leave_and_their_mean_stays() -> None:
    """A neuron far below its threshold, and one that always sends the same: neither tells its readers anything."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, -5.0
        model[0].weight[4], model[0].bias[4] = 0.0, 2.0
    program = capture(model, (torch.randn(2, 4),))
    snn = run([Balance()], unbalanced(program, levels=31), context(program))
    after = run([PruneChannels()], snn, context(program))
    assert after.records[-1].numbers["channels"] == {"spike_relu": [6, 4]}
    x = correlated(program, 64, seed=3)
    exact = program.module()(x)
    assert float((primary(executable(after, 1)(x)) - exact).square().mean() / exact.var()) < 0.01


def test_convolutions_in_groups_and_products_stay_and_say_so() -> None:
    torch.manual_seed(4)
    model = nn.Sequential(conv(2, 4), nn.ReLU(), conv(4, 4, groups=2), nn.ReLU(), conv(4, 3), nn.ReLU(), conv(3, 2)).eval()
    program = capture(model, (torch.randn(2, 2, 6, 6),))
    snn = run([Balance()], unbalanced(program, levels=7), context(program))
    told = run([PruneChannels(0.5)], snn, context(program)).records[-1].numbers
    assert told["stay"] == {"spike_relu": "a convolution in groups reads it", "spike_relu_1": "a convolution in groups makes it"}
    assert told["channels"]["spike_relu_2"][1] < 3


@pytest.mark.parametrize(
    ("pruning", "words"),
    [
        (PruneChannels(1.0), "compression.sparsity is out of range"),
        (PruneChannels(rate=-0.1), "compression.rate is out of range"),
        (PruneChannels(budget="weights"), "compression.budget is unknown"),
        (PruneChannels(rounds=0), "compression.rounds is out of range"),
    ],
)
def test_what_may_not_be_asked_for(pruning: PruneChannels, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run([pruning], converted("padded"), context(converted("padded")))


def test_a_population_that_would_keep_nothing() -> None:
    with pytest.raises(NumericError, match="nothing would be left of a population"):
        run([PruneChannels(rate=0.999)], converted("neurons"), context(converted("neurons")))


def test_a_network_whose_channels_are_all_held() -> None:
    attention = ann("attention")
    snn = run([Balance()], unbalanced(attention, levels=7), context(attention))
    with pytest.raises(NumericError, match="no channel can leave this network"):
        run([PruneChannels(0.5)], snn, context(attention))
