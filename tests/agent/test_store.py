"""A state in a folder: all of it, exactly, what is one object stays one, and nothing half-written is read."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent.balancing import balancing

from spikeloom.agent.agent import Agent
from spikeloom.agent.living import live
from spikeloom.agent.state import AgentState, Usual
from spikeloom.agent.store import copied, load_state, save_state
from spikeloom.agent.worlds import world
from spikeloom.errors import InternalError, ProgramError, ResourceError


@pytest.fixture(scope="module")
def lived() -> tuple[Agent, AgentState]:
    """A state with a window, a pending step, a critic that remembers, and a trial with a result."""
    usual = Usual(torch.randn(256, 4, generator=torch.Generator().manual_seed(0)), np.array([400.0, 500.0, 500.0]))
    agent = Agent(balancing(), usual, plastic="always")
    for number, told in enumerate(live(agent, agent.init(8, 3), world("CartPole-v1", 8, {"sign": -1.0}), 5), start=1):
        if number >= 110 and told.state.window and told.state.trial.best is not None:
            return agent, told.state
    raise AssertionError


def alike(a: Any, b: Any) -> bool:
    """Whether two values are equal to the last bit, in kind and in number."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool(((a == b) | (a != a) & (b != b)).all())
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if dataclasses.is_dataclass(a) and not isinstance(a, type):
        return all(alike(getattr(a, part.name), getattr(b, part.name)) for part in dataclasses.fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    return bool(a == b)


def test_what_is_loaded_is_what_was_saved(lived: tuple[Agent, AgentState], tmp_path: Path) -> None:
    agent, state = lived
    known, told = (agent.tail.converted,), {"steps": 7, "log": [1.5]}
    save_state(tmp_path / "a", state, known, told, {"actions": np.arange(6).reshape(3, 2)})
    kept = load_state(tmp_path / "a", known)
    assert alike(kept.state, state)
    assert state.critic.remembered
    assert kept.told == told
    assert np.array_equal(kept.rows["actions"], np.arange(6).reshape(3, 2))
    assert alike(copied(state, known), state)


def test_what_is_one_object_stays_one(lived: tuple[Agent, AgentState], tmp_path: Path) -> None:
    agent, state = lived
    known = (agent.tail.converted,)
    state = dataclasses.replace(state, weights=state.trial.candidate)
    assert state.trial.best is not None
    state = dataclasses.replace(state, trial=dataclasses.replace(state.trial, best=dataclasses.replace(state.trial.best, weights=known[0])))
    save_state(tmp_path, state, known)
    for again in (load_state(tmp_path, known).state, copied(state, known)):
        assert again.weights is again.trial.candidate
        assert again.trial.best is not None
        assert again.trial.best.weights is agent.tail.converted


def test_a_later_state_takes_the_place_of_an_earlier_one(lived: tuple[Agent, AgentState], tmp_path: Path) -> None:
    agent, state = lived
    save_state(tmp_path, agent.init(8, 0))
    save_state(tmp_path, state)
    assert len(list(tmp_path.iterdir())) == 2
    assert alike(load_state(tmp_path).state, state)


def test_a_disk_that_refuses_leaves_the_earlier_state(
    lived: tuple[Agent, AgentState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, state = lived
    save_state(tmp_path, state)

    def refuse(path: Path, value: Any) -> None:
        raise ResourceError(f"cannot write {path}")

    monkeypatch.setattr("spikeloom.agent.store.write_json", refuse)
    with pytest.raises(ResourceError):
        save_state(tmp_path, agent.init(8, 0))
    assert alike(load_state(tmp_path).state, state)


@pytest.mark.parametrize("harm", ["nothing", "format", "kind", "truncated", "network"])
def test_what_is_no_state_is_refused(lived: tuple[Agent, AgentState], tmp_path: Path, harm: str) -> None:
    agent, state = lived
    known = (agent.tail.converted,)
    save_state(tmp_path, state, known)
    path = tmp_path / "state.json"
    if harm == "nothing":
        path.unlink()
    elif harm == "format":
        path.write_text(json.dumps({"format": "another"}))
    elif harm == "kind":
        path.write_text(path.read_text().replace('"MonitorState"', '"Path"'))
    elif harm == "truncated":
        tensors = next(tmp_path.glob("*.safetensors"))
        tensors.write_bytes(tensors.read_bytes()[:-64])
    else:
        known = (tuple(weight + 1 for weight in known[0]),)
    with pytest.raises(ProgramError):
        load_state(tmp_path, known)


def test_what_is_not_kept_is_a_bug_of_ours(lived: tuple[Agent, AgentState], tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="set"):
        save_state(tmp_path, dataclasses.replace(lived[1], monitor=lived[1].monitor._replace(worse={1})))  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []
