"""Neurons that take back what they sent too early: the same in one run, in chunks, step by step and saved; closer to the ANN; refused
where there is nothing to take back."""

from pathlib import Path

import pytest
import torch
from tests.simulate.networks import ann, balanced, samples
from tests.simulate.test_chunks import in_chunks
from torch import Tensor

from spikeloom.errors import ConfigError
from spikeloom.ir import Program, calls, kwargs_of, load, population, save
from spikeloom.neuron import run_uniform
from spikeloom.simulate import Recorder, SpikingModel, State, Stream, executable, populations, primary, repeated

STEPS = 6


def network(name: str = "residual", *, dual: bool = True) -> Program:
    return balanced(ann(name), timesteps=STEPS, method="if", dual=dual)


def spikes(program: Program, x: Tensor) -> dict[str, Tensor]:
    """What every population sends, [T, B, …]."""
    recorder = Recorder(executable(program, STEPS), [node.name for node in populations(program)])
    with torch.no_grad():
        recorder.run(repeated(x, STEPS))
    return {name: value.unflatten(0, (STEPS, -1)) for name, value in recorder.kept.items()}


def test_populations_without_a_negative_side_are_gated_and_take_back_no_more_than_they_sent() -> None:
    program = network()
    gated = [node.name for node in calls(program.graph) if node.target is population and kwargs_of(node).get("reset") == "gated"]
    assert gated
    sent = spikes(program, samples(program, 16, seed=3))
    assert any(bool((sent[name] < 0).any()) for name in gated)
    assert all(float(sent[name].cumsum(0).min()) >= -1e-6 for name in gated)


@pytest.mark.parametrize("sizes", [(6,), (2, 4), (1, 1, 1, 3)])
def test_chunks_and_steps_give_what_one_run_gives(sizes: tuple[int, ...]) -> None:
    program = network()
    x = samples(program, 6, seed=3)
    expected = primary(executable(program, STEPS)(repeated(x, STEPS)))
    found, _ = in_chunks(program, x, sizes)
    assert torch.allclose(found, expected, atol=1e-5)
    stream, state, outputs = Stream(program), State(), list[Tensor]()
    for _ in range(STEPS):
        output, state = stream.advance((x,), state)
        outputs.append(primary(output))
    assert torch.allclose(torch.cat(outputs), expected, atol=1e-5)


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    program = network()
    save(program, tmp_path / "p")
    x = samples(program, 4, seed=5)
    again = SpikingModel(load(tmp_path / "p"), timesteps=STEPS)
    assert torch.equal(primary(again(x)), primary(SpikingModel(program, timesteps=STEPS)(x)))


def test_of_uneven_currents_the_mean_is_closer_to_the_activation() -> None:
    x = torch.randn(STEPS, 4000, generator=torch.Generator().manual_seed(1))
    meant = x.mean(0).clamp(0.0, 1.0)
    options = {"levels": 1, "negative": 0, "axis": 1, "timesteps": STEPS}
    one = torch.ones(())
    plain, gated = (run_uniform(x, one, 0.5, 1.0, 0.0, reset=reset, **options).mean(0, keepdim=True)[0] for reset in ("subtract", "gated"))
    error = {name: float((sent - meant).square().mean()) for name, sent in (("plain", plain), ("gated", gated))}
    assert error["gated"] < 0.5 * error["plain"]


def test_one_step_takes_nothing_back_and_levels_have_nothing_to_take() -> None:
    program = balanced(ann("linear"), timesteps=1, method="if", dual=True)
    plain = balanced(ann("linear"), timesteps=1, method="if")
    x = samples(program, 8, seed=2)
    assert torch.equal(primary(executable(program, 1)(x)), primary(executable(plain, 1)(x)))
    with pytest.raises(ConfigError, match="takes nothing back"):
        balanced(ann("linear"), dual=True)
