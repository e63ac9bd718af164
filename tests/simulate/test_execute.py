"""Execution: a program for T steps at once, and step by step; what binding makes of every kind of node."""

import pytest
import torch
from tests.simulate.networks import NETWORKS, ann, balanced, samples, unbalanced, with_tensors
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.errors import ConfigError, NumericError
from spikeloom.ir import Program, calls, name_of
from spikeloom.simulate import Recorder, State, Stream, decoded, executable, primary, repeated
from spikeloom.simulate.execute import joined

METHODS = ("scale_and_fire", "if", "lif")
EVERY_KIND = [("density" if name == "linear/density" else "uniform", name.split("/")[0]) for name in (*NETWORKS, "linear/density")]


def steps_of(program: Program, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
    """A program streamed over inputs [T, B, …]: its output at every step, and every node's values [T, B, …]."""
    seen: list[dict[str, Tensor]] = []

    class Seen(Stream):  # type: ignore[misc]
        def run_node(self, n):  # type: ignore[no-untyped-def]
            value = super().run_node(n)
            seen[-1][n.name] = value
            return value

    stream, state, outputs = Seen(program), State(), list[Tensor]()
    for x_t in x:
        seen.append({})
        output, state = stream.advance((x_t,), state)
        outputs.append(primary(output))
    assert state.steps == len(x)
    names = [name for name, value in seen[0].items() if isinstance(value, Tensor) and value.shape[:1] == x.shape[1:2]]
    return outputs, {name: torch.stack([at[name] for at in seen]) for name in names}


def two_layers() -> Program:
    """Linear 2→2, population, linear 2→1, with numbers that a person can follow; step 0.5, three levels."""
    first, second = nn.Linear(2, 2), nn.Linear(2, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, -1.0], [0.5, 2.0]]))
        first.bias.copy_(torch.tensor([0.25, 0.0]))
        second.weight.copy_(torch.tensor([[2.0, -1.0]]))
        second.bias.copy_(torch.tensor([0.125]))
    made = unbalanced(capture(nn.Sequential(first, nn.ReLU(), second), (torch.zeros(2, 2),)), levels=3, per_channel=False)
    return with_tensors(made, spike_relu__step=torch.tensor(0.5), spike_relu__v0=torch.tensor(0.25))


def test_one_step_equals_the_hand_computation() -> None:
    # z = (x0 - x1 + 0.25, 0.5 x0 + 2 x1); level = clip(floor(z/0.5 + 0.5), 0, 3); y = 2·0.5·level0 - 0.5·level1 + 0.125
    x = torch.tensor([[0.0, 0.0], [1.0, 0.25], [1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])
    # z: (0.25, 0), (1, 1), (-0.75, 4.5), (4.25, -0.5), (0.75, 0.25) → levels (1, 0), (2, 2), (0, 3), (3, 0), (2, 1)
    expected = torch.tensor([[1.125], [1.125], [-1.375], [3.125], [1.625]])
    assert torch.equal(executable(two_layers(), 1)(x), expected)


def test_two_steps_of_an_if_neuron_equal_the_hand_computation() -> None:
    made = unbalanced(capture(nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)), (torch.zeros(2, 1),)), method="if")
    one = torch.ones(1)
    numbers = {"0.weight": one[None], "0.bias": 0 * one, "2.weight": 3 * one[None], "2.bias": one}
    made = made.replaced(tensors={**made.tensors, **numbers, "spike_relu.step": one, "spike_relu.v0": one / 2})
    # v: 0.5 → 1.2 fires, 0.2 → 0.9 silent; and 0.5 → 0.8 silent → 1.1 fires
    raw = executable(made, 2)(torch.tensor([[0.7], [0.3], [0.7], [0.3]]))
    assert raw.flatten().tolist() == [4.0, 1.0, 1.0, 4.0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("placement", "name"), EVERY_KIND)
def test_steps_at_once_equal_steps_one_by_one_at_every_node(placement: str, name: str, method: str) -> None:
    steps = 4
    program = balanced(ann(name), timesteps=1 if method == "scale_and_fire" else steps, method=method, placement=placement)
    x = torch.stack([samples(program, 11, seed) for seed in range(steps)])  # the input changes from step to step
    outputs, streamed = steps_of(program, x)
    recorder = Recorder(executable(program, steps), streamed)
    raw = recorder.run(x.flatten(0, 1))
    torch.testing.assert_close(torch.stack(outputs), raw.unflatten(0, (steps, -1)), atol=1e-5, rtol=0)
    assert len(streamed) > 3
    for node, values in streamed.items():
        torch.testing.assert_close(recorder.kept[node].unflatten(0, (steps, -1)), values, atol=1e-5, rtol=0, msg=node)
    assert raw.abs().max() > 0


@pytest.mark.parametrize(
    ("network", "operation"),
    [
        ("residual", "aten.max_pool2d.default"),
        ("gate", "aten.mul.Tensor"),
        ("normed", "aten.layer_norm.default"),
        ("attention", "aten.matmul.default"),
        ("attention", "aten.softmax.int"),
        ("floored", "aten.maximum.default"),
    ],
)
def test_the_mean_over_steps_of_a_nonlinear_operation_is_that_of_the_means(network: str, operation: str) -> None:
    steps, program = 5, balanced(ann(network), timesteps=5, method="if")
    node = next(node for node in calls(program.graph) if name_of(node.target) == operation)
    recorder = Recorder(executable(program, steps), [each.name for each in calls(program.graph)])
    recorder.run(torch.cat([samples(program, 4, seed) for seed in range(steps)]))
    means = {name: decoded(value, steps) for name, value in recorder.kept.items() if isinstance(value, Tensor)}
    args = torch.fx.map_arg(node.args, lambda operand: program.tensor(operand) if operand.op == "get_attr" else means[operand.name])
    assert means[node.name].abs().max() > 0
    torch.testing.assert_close(means[node.name], node.target(*args), atol=1e-5, rtol=0)


def test_a_maximum_per_step_would_not_do() -> None:
    """Two neurons that fire in turns: the mean of maxima is 1, the maximum of means is a half."""
    spikes = torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, None, None]  # [T, B, C, L]
    assert F.max_pool1d(spikes.flatten(0, 1), 2).mean() == 1.0
    made = unbalanced(capture(Halves(), (torch.zeros(2, 1, 2),)), method="if", per_channel=False)
    made = with_tensors(made, spike_relu__step=torch.tensor(1.0), spike_relu__v0=torch.tensor(0.0))
    raw = executable(made, 2)(spikes.flatten(0, 1))
    assert decoded(raw, 2).item() == 0.5


class Halves(nn.Module):
    """ReLU and a max-pool over two neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool1d(F.relu(x), 2)


@pytest.mark.parametrize("placement", ["uniform", "density"])
def test_per_channel_and_per_layer_scales_reach_their_own_channels(placement: str) -> None:
    together, apart = (balanced(ann("residual"), per_channel=each, placement=placement) for each in (False, True))
    x = samples(together, 6)
    key = "spike_relu.step" if placement == "uniform" else "spike_relu.thresholds"
    assert together.tensors[key].dim() == apart.tensors[key].dim() - 1
    for channel in range(4):  # one channel's table alone, as the table of all: that channel stays as it was
        alone = {name: apart.tensors[name][channel] for name in apart.tensors if name.startswith("spike_relu.")}
        recorders = [
            Recorder(executable(program, 1), ["spike_relu"])
            for program in (apart, together.replaced(tensors={**together.tensors, **alone}))
        ]
        for recorder in recorders:
            recorder.run(x)
        torch.testing.assert_close(recorders[0].kept["spike_relu"][:, channel], recorders[1].kept["spike_relu"][:, channel])


def test_an_uncalibrated_program_does_not_run() -> None:
    with pytest.raises(NumericError, match=r"no thresholds yet[^!]*spike_relu"):
        executable(unbalanced(ann("linear")), 1)


@pytest.mark.parametrize("timesteps", [0, -1])
def test_the_number_of_steps_is_positive(timesteps: int) -> None:
    with pytest.raises(ConfigError, match="time steps"):
        executable(two_layers(), timesteps)


def test_a_streamed_program_writes_into_no_state_and_no_tensor() -> None:
    program, stream = balanced(ann("residual"), timesteps=4, method="lif"), None
    before = {name: tensor.clone() for name, tensor in program.tensors.items()}
    stream, x = Stream(program), samples(program, 3)
    _, state = stream.advance((x,), State())
    first = stream.advance((x,), state)[0]
    assert torch.equal(stream.advance((x,), state)[0], first)
    assert all(torch.equal(tensor, before[name]) for name, tensor in program.tensors.items())


def test_inputs_are_shown_at_every_step_and_outputs_averaged() -> None:
    x = torch.arange(6.0).view(3, 2)
    assert torch.equal(repeated(x, 2).view(2, 3, 2), torch.stack([x, x]))
    structure = {"logits": torch.tensor([1.0, 2.0, 3.0, 6.0]), "others": [torch.tensor([[1.0], [3.0]])], "size": 7}
    means = decoded(structure, 2)
    assert means["logits"].tolist() == [2.0, 4.0]
    assert isinstance(means["others"], tuple)
    assert means["others"][0].tolist() == [[2.0]]
    assert means["size"] == 7


@pytest.mark.parametrize(
    ("outputs", "place"), [((1, 2), 0), ({"loss": 1, "logits": 2}, "logits"), ({"a": 1, "b": 2}, "a"), (({"logits": 1}, 2), None)]
)
def test_a_classifier_is_judged_by_its_logits_or_its_first_output(outputs: object, place: object) -> None:
    tensors = torch.utils._pytree.tree_map(lambda number: torch.tensor(float(number)), outputs)
    expected = tensors[0]["logits"] if place is None else tensors[place]
    assert primary(tensors) is expected


@pytest.mark.parametrize(("placement", "name"), EVERY_KIND)
@pytest.mark.parametrize("steps", [1, 3])
def test_an_adjustable_program_gives_the_same_and_takes_other_parameters(placement: str, name: str, steps: int) -> None:
    program = balanced(ann(name), method="scale_and_fire", placement=placement)
    x = repeated(samples(program, 7), steps)
    fixed, loose = executable(program, steps), executable(program, steps, adjustable=True)
    torch.testing.assert_close(primary(loose(x)), primary(fixed(x)), atol=1e-6, rtol=0)
    held = {key: tensor for key, tensor in loose.named_buffers() if key.startswith("spike_")}
    assert set(held) == {key for key in program.tensors if key.startswith("spike_")}
    moved = {key: tensor.clone().requires_grad_() for key, tensor in held.items() if key.endswith((".step", ".values", ".v0", ".decay"))}
    answer = primary(functional_call(loose, moved, (x,)))
    heights = [tensor for key, tensor in moved.items() if key.endswith((".step", ".values"))]
    gradients = torch.autograd.grad(answer.square().sum(), heights)
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert any(bool((g != 0).any()) for g in gradients)
    other = {key: tensor.detach() * (1.5 if key.endswith((".step", ".values")) else 1.0) for key, tensor in moved.items()}
    renewed = program.replaced(tensors={**program.tensors, **other})
    torch.testing.assert_close(primary(functional_call(loose, other, (x,))), primary(executable(renewed, steps)(x)), atol=1e-5, rtol=0)


def test_parts_of_a_batch_are_joined_output_by_output() -> None:
    parts = [(torch.full((size, 1), float(size)), {"more": torch.full((size,), -float(size))}, None) for size in (1, 2)]
    first, more, nothing = joined(parts)
    assert first.tolist() == [[1.0], [2.0], [2.0]]
    assert more["more"].tolist() == [-1.0, -2.0, -2.0]
    assert nothing is None
