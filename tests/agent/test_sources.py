"""Policies of Stable-Baselines3 zips and of folders, as sources: what they hold, what they do, and what is refused."""

import importlib.util
import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from spikeloom.capture import resolve
from spikeloom.datasets.environment import environments, spaces_within
from spikeloom.datasets.spaces import Continuous, Discrete, acted, check_same, spaces_of
from spikeloom.errors import DataError, SourceError, UnsupportedError

needs_sb3 = pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="needs stable-baselines3, of the extra dev")


def saved(folder: Path, algorithm: str, environment: str, **options: Any) -> tuple[Any, Path]:
    """A model of Stable-Baselines3, and the zip it wrote."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import stable_baselines3

        model = getattr(stable_baselines3, algorithm)("MlpPolicy", environment, seed=0, device="cpu", **options)
        model.save(folder / "model.zip")
    return model, folder / "model.zip"


CASES = [
    ("PPO", "CartPole-v1", {}, "Tanh"),
    ("A2C", "CartPole-v1", {"policy_kwargs": {"activation_fn": torch.nn.LeakyReLU, "net_arch": [24, 8]}}, "LeakyReLU"),
    ("DQN", "MountainCar-v0", {"policy_kwargs": {"net_arch": [16]}, "buffer_size": 10}, "ReLU"),
    ("SAC", "Pendulum-v1", {"policy_kwargs": {"net_arch": [16, 16]}, "buffer_size": 10}, "ReLU"),
    ("SAC", "Pendulum-v1", {"policy_kwargs": {"net_arch": [16], "clip_mean": 0.5}, "buffer_size": 10, "use_sde": True}, "ReLU"),
    ("TD3", "Pendulum-v1", {"policy_kwargs": {"net_arch": [16], "activation_fn": torch.nn.ELU}, "buffer_size": 10}, "ELU"),
    ("DDPG", "Pendulum-v1", {"policy_kwargs": {"net_arch": [16]}, "buffer_size": 10}, "ReLU"),
    ("PPO", "Pendulum-v1", {"policy_kwargs": {"net_arch": []}}, None),
]


@needs_sb3
@pytest.mark.parametrize(
    ("algorithm", "environment", "options", "activation"), CASES, ids=[f"{case[0]}-{place}" for place, case in enumerate(CASES)]
)
def test_a_zip_acts_as_the_model_that_wrote_it(
    tmp_path: Path, algorithm: str, environment: str, options: dict[str, Any], activation: str | None
) -> None:
    model, path = saved(tmp_path, algorithm, environment, **options)
    source = resolve(f"sb3:{path}")
    signal, action = spaces_of(source.settings)
    x = 30 * np.random.default_rng(0).normal(size=(32, *signal.shape)).astype(np.float32)
    expected, _ = model.predict(x, deterministic=True)
    with torch.no_grad():
        found = acted(source.model(torch.from_numpy(x)), action)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    check_same((signal, action), spaces_within(environments(environment), environment), environment)
    assert source.settings["task"] == "acting"
    assert source.settings["policy"]["algorithm"] == algorithm
    kinds = {type(module).__name__ for module in source.model.modules()} - {"Sequential", "Linear"}
    assert kinds == ({activation} if activation else set())


@needs_sb3
def test_nothing_pickled_in_a_zip_is_run(tmp_path: Path) -> None:
    """Payloads that would write a file, in the JSON's pickled fields and in the tensors' file."""
    _, path = saved(tmp_path, "PPO", "CartPole-v1")
    witness = tmp_path / "witness"

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.system, (f"touch {witness}",)

    import base64

    data = json.loads(member(path, "data"))
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = base64.b64encode(pickle.dumps(Payload())).decode()
    hostile = rewritten(path, tmp_path / "json.zip", data=json.dumps(data).encode())
    assert resolve(f"sb3:{hostile}").settings["policy"]["action"] == {"kind": "discrete", "count": 2, "start": 0}
    for payload in (pickle.dumps(Payload()), torch_file(Payload())):
        hostile = rewritten(path, tmp_path / "tensors.zip", **{"policy.pth": payload})
        with pytest.raises(SourceError, match="none of it was run"):
            resolve(f"sb3:{hostile}")
    assert not witness.exists()


@needs_sb3
def test_damaged_and_strange_zips_are_one_clear_error(tmp_path: Path) -> None:
    _, path = saved(tmp_path, "PPO", "CartPole-v1")
    data, state = json.loads(member(path, "data")), torch.load(io.BytesIO(member(path, "policy.pth")), weights_only=True)
    (tmp_path / "short.zip").write_bytes(path.read_bytes()[:500])
    for address, said in (("short.zip", "cannot be read"), ("none.zip", "no file")):
        with pytest.raises(SourceError, match=said):
            resolve(f"sb3:{tmp_path / address}")
    with pytest.raises(SourceError, match="no JSON"):
        resolve(f"sb3:{rewritten(path, tmp_path / 'a.zip', data=b'{')}")
    multi = {**data, "action_space": {**data["action_space"], ":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}}
    with pytest.raises(UnsupportedError, match="no policy here gives"):
        resolve(f"sb3:{rewritten(path, tmp_path / 'b.zip', data=json.dumps(multi).encode())}")
    cut = {**data, "observation_space": {**data["observation_space"], "low": "[-4.8 ... -inf]"}}
    with pytest.raises(SourceError, match="bounds"):
        resolve(f"sb3:{rewritten(path, tmp_path / 'c.zip', data=json.dumps(cut).encode())}")
    cnn = {**state, "features_extractor.cnn.0.weight": torch.ones(3, 3)}
    with pytest.raises(UnsupportedError, match="feature extractor"):
        resolve(f"sb3:{rewritten(path, tmp_path / 'd.zip', **{'policy.pth': torch_file(cnn)})}")
    three = {**data, "action_space": {**data["action_space"], "n": "3"}}
    with pytest.raises(SourceError, match=r"(?s)does not fit its spaces.*3 outputs"):
        resolve(f"sb3:{rewritten(path, tmp_path / 'e.zip', data=json.dumps(three).encode())}")
    with pytest.raises(UnsupportedError, match="no policy that is known"):
        resolve(f"sb3:{rewritten(path, tmp_path / 'f.zip', **{'policy.pth': torch_file({'quantile_net.0.weight': torch.ones(2, 2)})})}")


@needs_sb3
def test_statistics_of_observations_are_refused_as_a_pickle_and_folded_in_as_an_archive(tmp_path: Path) -> None:
    model, path = saved(tmp_path, "PPO", "CartPole-v1")
    (tmp_path / "vecnormalize.pkl").write_bytes(b"whatever")
    with pytest.raises(SourceError, match=r"(?s)normalised by statistics.*numpy\.savez"):
        resolve(f"sb3:{path}")
    mean, var = np.array([0.1, -0.2, 0.3, 0.0]), np.array([0.5, 2.0, 0.1, 1.0])
    np.savez(tmp_path / "vecnormalize.npz", mean=mean, var=var, epsilon=1e-8, clip_obs=1.5)
    source = resolve(f"sb3:{path}")
    signal, action = spaces_of(source.settings)
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32) * 2
    expected, _ = model.predict(((x - mean) / np.sqrt(var + 1e-8)).clip(-1.5, 1.5).astype(np.float32), deterministic=True)
    from spikeloom.datasets.spaces import readable

    assert signal.clipped
    assert acted(source.model(torch.from_numpy(readable(x, signal))), action).tolist() == expected.tolist()


def folder_of(path: Path, **changes: Any) -> Path:
    """A policy's folder of two layers."""
    path.mkdir(exist_ok=True)
    told = {"type": "mlp", "sizes": [3, 5, 2], "hidden_activation": "relu", "output": "argmax over outputs", "env_id": "CartPole-v1"}
    (path / "config.json").write_text(json.dumps({**told, **changes}))
    generator = torch.Generator().manual_seed(0)
    shapes = {"layers.0.weight": (5, 3), "layers.0.bias": (5,), "layers.1.weight": (2, 5), "layers.1.bias": (2,)}
    save_file({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path / "model.safetensors")
    return path


def test_a_folder_says_what_becomes_of_its_outputs(tmp_path: Path) -> None:
    def action(output: str) -> Any:
        return spaces_of(resolve(f"policy:{folder_of(tmp_path, output=output)}").settings)[1]

    assert action("argmax over outputs") == Discrete(2)
    assert action("action = 2.0 * tanh(clip(output,-3,3))") == Continuous(2, (-2.0,) * 2, (2.0,) * 2, "tanh", 3.0)
    assert action("action = 1 * tanh(output)") == Continuous(2, (-1.0,) * 2, (1.0,) * 2, "tanh")
    assert action("action = clip(output,-1,2)") == Continuous(2, (-1.0,) * 2, (2.0,) * 2)
    with pytest.raises(SourceError, match="what becomes of the outputs"):
        action("softmax and pray")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sizes": [3]}, "describes no policy"),
        ({"sizes": [3, 5, 5, 2]}, "other layers"),
        ({"hidden_activation": "swoosh"}, "not known here"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises((SourceError, UnsupportedError), match=said):
        resolve(f"policy:{folder_of(tmp_path, **changes)}")


def test_other_spaces_are_one_error_that_names_them_all(tmp_path: Path) -> None:
    spaces = spaces_of(resolve(f"policy:{folder_of(tmp_path)}").settings)
    with pytest.raises(DataError, match=r"(?s)other spaces.*shape \(6,\).*3 actions from 0.*shape \(3,\).*2 actions from 0"):
        check_same(spaces, spaces_within(environments("Acrobot-v1"), "Acrobot-v1"), "Acrobot-v1")
    pendulum = spaces_within(environments("Pendulum-v1"), "Pendulum-v1")
    with pytest.raises(DataError, match="numbers within"):
        check_same((pendulum[0], Continuous(1, (-1.0,), (1.0,), "tanh")), pendulum, "Pendulum-v1")
    check_same((pendulum[0], Continuous(1, (-2.0,), (2.0,), "tanh")), pendulum, "Pendulum-v1")


def test_the_published_policies_are_read(shared: Callable[[str], Path]) -> None:
    source = resolve(f"policy:{shared('rl_policies') / 'sac_pendulum'}")
    signal, action = spaces_of(source.settings)
    assert signal.shape == (3,)
    assert action == Continuous(1, (-2.0,), (2.0,), "tanh", 2.0)
    assert source.settings["policy"]["environment"] == "Pendulum-v1"


def member(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def rewritten(path: Path, other: Path, **members: bytes) -> Path:
    """A copy of a zip in which some members are others."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(other, "w") as made:
        for name in archive.namelist():
            made.writestr(name, members.get(name, archive.read(name)))
    return other


def torch_file(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()
