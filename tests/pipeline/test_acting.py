"""Policies through the pipeline: converted on what they observe, judged by what they do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spikeloom.capture import resolve
from spikeloom.errors import DataError, UserError
from spikeloom.evolve.objective import chosen
from spikeloom.ir import Program
from spikeloom.pipeline import Settings, convert, evaluate
from spikeloom.pipeline.acting import samples


def policy(folder: Path, outputs: int = 2, output: str = "argmax over outputs") -> str:
    """A random policy on four observations."""
    folder.mkdir(exist_ok=True)
    told = {"type": "mlp", "sizes": [4, 16, outputs], "hidden_activation": "relu", "output": output, "env_id": "CartPole-v1"}
    (folder / "config.json").write_text(json.dumps(told))
    generator = torch.Generator().manual_seed(0)
    shapes = {"layers.0.weight": (16, 4), "layers.0.bias": (16,), "layers.1.weight": (outputs, 16), "layers.1.bias": (outputs,)}
    save_file({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, folder / "model.safetensors")
    return f"policy:{folder}"


def test_a_policy_is_converted_on_its_own_episodes_and_judged_by_its_decisions(tmp_path: Path) -> None:
    settings = Settings(
        source=policy(tmp_path / "policy"), dataset="env:CartPole-v1", timesteps=1, levels=31, samples=100, output_dir=tmp_path / "out"
    )
    made = convert(settings)
    assert made.metrics["agreement"] > 0.9
    assert made.metrics["samples"] == 100
    assert made.metrics["accuracy"] == {"ann": None, "snn": None, "control": None}
    assert "what it does" in made.metrics["reasons"]["accuracy"]
    assert (tmp_path / "out" / "report.html").read_text().count("observations") > 0
    assert evaluate(tmp_path / "out", samples=100)["agreement"] == made.metrics["agreement"]


def test_what_is_calibrated_on_and_what_is_judged_on_are_other_episodes(tmp_path: Path) -> None:
    ann = resolve(policy(tmp_path)).program()
    fitted, judged = (everything(ann, split) for split in ("calibration", "test"))
    again = everything(ann, "calibration")
    assert np.array_equal(fitted, again)
    assert not {tuple(row) for row in fitted} & {tuple(row) for row in judged}


def test_kept_observations_need_no_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "seen.npz", x=np.arange(40, dtype=np.float32).reshape(10, 4))
    ann = resolve(policy(tmp_path)).program()
    settings = Settings(dataset=f"npz:{tmp_path / 'seen.npz'}")
    rows = [samples(settings.dataset, split, ann, settings, None).count for split in ("calibration", "test")]
    assert rows == [2, 8]
    np.savez(tmp_path / "other.npz", x=np.zeros((10, 3), np.float32))
    with pytest.raises(DataError, match="another shape"):
        samples(f"npz:{tmp_path / 'other.npz'}", "test", ann, settings, None)


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("env:Acrobot-v1", "other spaces"),
        ("env:NoSuchThing-v0", "no environment"),
        ("digits", r"(?s)converted on observations.*env:CartPole-v1"),
    ],
)
def test_data_that_a_policy_cannot_observe_are_refused_before_any_work(tmp_path: Path, dataset: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        convert(Settings(source=policy(tmp_path / "policy"), dataset=dataset, output_dir=tmp_path / "out"))


def test_a_network_of_pictures_has_no_use_for_an_environment(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for policies alone"):
        convert(Settings(dataset="env:CartPole-v1", output_dir=tmp_path / "out", source=f"py:{network(tmp_path)}:net"))


def test_numbers_agree_within_a_twentieth_of_their_range(tmp_path: Path) -> None:
    np.savez(tmp_path / "seen.npz", x=np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32))
    address = policy(tmp_path / "policy", 3, "action = 2.0 * tanh(output)")
    made = convert(
        Settings(source=address, dataset=f"npz:{tmp_path / 'seen.npz'}", timesteps=1, levels=31, output_dir=tmp_path / "out")
    ).metrics
    assert 0.5 < made["agreement"] <= 1.0


def test_evolution_meets_numbers_and_ranks_scores(tmp_path: Path) -> None:
    wanted = {"argmax over outputs": "kl", "action = 2.0 * tanh(output)": "mse"}
    for place, (output, objective) in enumerate(wanted.items()):
        ann = resolve(policy(tmp_path / str(place), 2, output)).program()
        assert chosen("auto", ann, torch.zeros(3, 2), labelled=False) == objective


def everything(ann: Program, split: str) -> np.ndarray:
    settings = Settings(dataset="env:CartPole-v1")
    data = samples(settings.dataset, split, ann, settings, None)  # pyright: ignore[reportArgumentType]
    return torch.cat([inputs[0] for inputs, _ in data.read(64, None)]).numpy()


def network(folder: Path) -> Path:
    (folder / "nets.py").write_text("import torch\nnet = (torch.nn.Sequential(torch.nn.Linear(4, 2)).eval(), torch.zeros(2, 4))\n")
    return folder / "nets.py"
