"""The spiking model: the ANN's signature, rest before every call, streaming, what is saved and what comes back."""

import json
import math
import shutil
from pathlib import Path

import jaxtyping
import pytest
import torch
from tests.simulate.networks import ann, balanced, samples, unbalanced
from torch import Tensor

from spikeloom.errors import ConfigError, DataError, NumericError, ProgramError
from spikeloom.ir import Program, calls
from spikeloom.simulate import SpikingModel, energy, primary


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Annotations are not executed: a user meets our errors, not the type checker's."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def model(name: str = "residual", timesteps: int = 1, **options: str) -> SpikingModel:
    method = options.get("method", "scale_and_fire")
    program = balanced(ann(name), 1 if method == "scale_and_fire" else timesteps, method=method)
    return SpikingModel(program, timesteps=timesteps, ann=ann(name))


@pytest.mark.parametrize("method", ["scale_and_fire", "if", "lif"])
def test_a_model_rests_before_every_call(method: str) -> None:
    snn, x = model(timesteps=4, method=method), samples(ann("residual"), 5)
    first = snn(x)
    snn(torch.full_like(x, 3.0))
    assert torch.equal(snn(x), first)
    assert first.shape == (5, 3)


def test_a_sample_does_not_depend_on_those_beside_it() -> None:
    snn, x = model(timesteps=4, method="if"), samples(ann("residual"), 5)
    torch.testing.assert_close(torch.cat([snn(one[None]) for one in x]), snn(x), atol=1e-5, rtol=0)


def test_a_batch_may_run_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    snn, x, sizes = model(timesteps=4), samples(ann("residual"), 7), list[int]()
    whole = snn(x)
    snn.network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    widest = max((math.prod(node.meta["spec"][0][1:]) for node in calls(snn.program.graph) if "spec" in node.meta), default=1)
    monkeypatch.setattr("spikeloom.simulate.model.CACHED", 4 * 3 * widest)
    torch.testing.assert_close(snn(x), whole)
    assert sizes == [12, 12, 4]


def test_streaming_equals_calling() -> None:
    snn, x, state, total = model(timesteps=6, method="lif"), samples(ann("residual"), 5), None, torch.zeros(())
    for _ in range(6):
        output, state = snn.step(x, state=state)
        total = total + output
    assert state is not None
    assert state.steps == 6
    torch.testing.assert_close(total / 6, snn(x), atol=1e-5, rtol=0)


def test_more_steps_of_an_if_network_come_nearer_to_the_ann() -> None:
    snn, x = model("linear", timesteps=32, method="if"), samples(ann("linear"), 64)
    exact = ann("linear").module()(x)
    errors = [float((snn(x, timesteps=steps) - exact).square().mean()) for steps in (1, 4, 32)]
    assert errors[0] > 2 * errors[1] > 8 * errors[2]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (torch.zeros(2, 2, 6, 6), torch.zeros(2)),
        (torch.zeros(2, 2, 6, 5),),
        (torch.zeros(2, 3, 6, 6),),
        (torch.zeros(2, 6, 6),),
        ("picture",),
    ],
    ids=["none", "two", "size", "channels", "unbatched", "text"],
)
def test_inputs_the_ann_would_not_take_are_refused_everywhere(inputs: tuple[Tensor, ...]) -> None:
    snn = model()
    for call in (snn, snn.step, snn.profile, snn.verify_fidelity):
        with pytest.raises(DataError, match=r"input"):
            call(*inputs)


def test_what_cannot_run_is_refused_at_once() -> None:
    with pytest.raises(ProgramError, match="not a spiking program"):
        SpikingModel(ann("linear"))
    with pytest.raises(ConfigError, match="time steps"):
        SpikingModel(balanced(ann("linear")), timesteps=0)
    with pytest.raises(ConfigError, match="time steps"):
        model()(samples(ann("residual"), 1), timesteps=0)
    with pytest.raises(NumericError, match="thresholds"):
        SpikingModel(unbalanced(ann("linear")))


def test_the_profile_is_per_inference_and_priced() -> None:
    snn, x = model(timesteps=2, method="if"), samples(ann("residual"), 6)
    profile = snn.profile(x)
    assert profile.energy == energy(profile.counts)
    assert (profile.counts.timesteps, profile.counts.samples) == (2, 6)
    half = snn.profile(x[:3]).counts.spikes() + snn.profile(x[3:]).counts.spikes()
    assert profile.counts.spikes() == pytest.approx(half / 2)
    assert snn.profile(x, timesteps=1).counts.timesteps == 1


def test_fidelity_needs_the_ann() -> None:
    snn, x = model(), samples(ann("residual"), 4)
    assert [row.node for row in snn.verify_fidelity(x)] == ["spike_relu", "spike_relu_1", "spike_relu_2"]
    with pytest.raises(ProgramError, match="ANN was not kept"):
        SpikingModel(snn.program).verify_fidelity(x)


# --- saving -------------------------------------------------------------------------------------------------------------


def same(a: Program, b: Program) -> bool:
    return (
        set(a.tensors) == set(b.tensors)
        and all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors)
        and [node.name for node in calls(a.graph)] == [node.name for node in calls(b.graph)]
    )


@pytest.mark.parametrize("name", ["residual", "gate", "normed"])
def test_a_saved_model_comes_back_whole(name: str, tmp_path: Path) -> None:
    control = balanced(ann(name), levels=3)
    snn = SpikingModel(balanced(ann(name), 3, method="if"), timesteps=3, ann=ann(name), control=control)
    snn.save_pretrained(tmp_path / "snn")
    back, x = SpikingModel.from_pretrained(tmp_path / "snn"), samples(ann(name), 5)
    assert back.timesteps == 3
    assert torch.equal(back(x), snn(x))
    assert back.ann is not None
    assert back.control is not None
    assert same(back.ann, ann(name))
    assert same(back.control, control)
    assert same(back.program, snn.program)
    assert {path.name for path in (tmp_path / "snn").iterdir()} >= {
        "program.json",
        "model.safetensors",
        "config.json",
        "records.json",
        "ann",
        "control",
    }


def test_a_model_without_ann_and_control_is_saved_and_comes_back_without() -> None:
    snn = SpikingModel(balanced(ann("linear")))
    assert snn.ann is None
    assert snn.control is None


def test_a_folder_that_lost_its_ann_opens_without_it(tmp_path: Path) -> None:
    snn = SpikingModel(balanced(ann("linear")), ann=ann("linear"), control=balanced(ann("linear"), levels=3))
    snn.save_pretrained(tmp_path / "snn")
    shutil.rmtree(tmp_path / "snn" / "ann")
    back = SpikingModel.open(tmp_path / "snn")
    assert back.ann is None
    assert back.control is not None
    shutil.rmtree(tmp_path / "snn" / "control")
    assert SpikingModel.from_pretrained(str(tmp_path / "snn")).control is None


def test_a_damaged_ann_is_an_error_and_not_an_absent_one(tmp_path: Path) -> None:
    SpikingModel(balanced(ann("linear")), ann=ann("linear")).save_pretrained(tmp_path / "snn")
    weights = tmp_path / "snn" / "ann" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ProgramError, match="truncated or altered"):
        SpikingModel.open(tmp_path / "snn")


def test_saving_twice_leaves_the_last_one(tmp_path: Path) -> None:
    for timesteps in (2, 5):
        SpikingModel(balanced(ann("linear")), timesteps=timesteps).save_pretrained(tmp_path)
    assert SpikingModel.open(tmp_path).timesteps == 5
    assert json.loads((tmp_path / "config.json").read_text())["timesteps"] == 5


@pytest.mark.usefixtures("unchecked")
def test_a_folder_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="not a saved program"):
        SpikingModel.open(tmp_path)


# --- as a module ---------------------------------------------------------------------------------------------------------


def test_the_state_dict_names_the_programs_tensors_wherever_the_model_is() -> None:
    snn = model("gate", timesteps=2)
    state = snn.state_dict()
    assert all(key.startswith("network.") for key in state)
    assert {key.removeprefix("network.") for key in state} >= {name for name in snn.program.tensors if not name.startswith("spike_g")}
    assert set(snn.to("meta").state_dict()) == set(state)


def test_a_state_dict_can_be_loaded_into_another_model_of_the_same_program() -> None:
    x, source = samples(ann("linear"), 5), model("linear")
    other = SpikingModel(balanced(ann("linear"), levels=7).replaced(tensors={name: 2 * t for name, t in source.program.tensors.items()}))
    expected = source(x)
    assert not torch.equal(other(x), expected)
    other.load_state_dict(source.state_dict())
    assert torch.equal(other(x), expected)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["residual", "gate", "normed"])
@pytest.mark.parametrize("timesteps", [1, 3])
def test_the_network_compiles_as_one_graph(name: str, timesteps: int) -> None:
    snn, x = model(name, timesteps=timesteps, method="if"), samples(ann(name), 4)
    torch._dynamo.reset()
    compiled = torch.compile(snn.network, fullgraph=True, backend="eager", dynamic=False)
    folded = x.repeat(timesteps, *[1] * (x.dim() - 1))
    with torch.no_grad():
        torch.testing.assert_close(primary(compiled(folded)), primary(snn.network(folded)), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("unchecked")
def test_the_network_compiles_to_machine_code() -> None:
    snn, x = model("residual"), samples(ann("residual"), 4)
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(snn.network, fullgraph=True)(x)
        torch.testing.assert_close(compiled, snn.network(x), atol=1e-4, rtol=0)
