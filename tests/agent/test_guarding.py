"""Guards while an agent lives and where it is judged: actions keep to them, vetoes are counted, and the actor learns nothing from them."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import MultiDiscrete
from tests.agent.learners import Bandit, agent, arrival, policy

from spikeloom.agent import returns
from spikeloom.agent.guarding import Keeping, within
from spikeloom.agent.living import live, settled, usual_of
from spikeloom.agent.logbook import Logbook
from spikeloom.agent.policy import Acting
from spikeloom.agent.rules import Log, Names, guards_from
from spikeloom.agent.store import copied
from spikeloom.agent.vetoes import VetoFile, joined, worded
from spikeloom.datasets.spaces import Discrete
from spikeloom.errors import ProgramError, ResourceError

NAMES = Names(("a", "b", "c"), ("no", "yes"))
NUMBERS = Names(("a", "b", "c"), ("u",), continuous=True)
NEVER_NO = guards_from("guards: [{name: stop, when: b > 0, never: 'no'}]", NAMES)
"""The policy of these tests says no, wherever it is."""
ALWAYS = guards_from("guards: [{name: stop, when: a > -99, never: 'no'}]", NAMES)
BOUNDED = guards_from("guards: [{name: stop, when: b > 0, bound: {u: [-0.1, 0.1]}}]", NUMBERS)


class Watched(Bandit):
    """Keeps what was seen and done."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told: list[tuple[np.ndarray, np.ndarray]] = []
        self.action_space = MultiDiscrete([2] * self.num_envs)

    def step(self, actions: np.ndarray) -> Any:
        self.told.append((self.seen.copy(), np.array(actions)))
        return super().step(actions)


def done(env: Watched) -> tuple[np.ndarray, np.ndarray]:
    seen, actions = zip(*env.told, strict=True)
    return np.concatenate(seen), np.concatenate(actions)


@pytest.mark.parametrize("plastic", ["always", "never", "critic"])
def test_whatever_acts_keeps_to_the_guard(plastic: str) -> None:
    """The policy itself, what explores, and sentinels."""
    made, env = agent(plastic, guard=NEVER_NO), Watched(16)
    for _ in islice(live(made, made.init(16), env, 0), 60):
        pass
    seen, actions = done(env)
    assert (actions[seen[:, 1] > 0] == 1).all()
    assert (actions[seen[:, 1] <= 0] == 0).any()


def test_numbers_keep_to_their_bounds_and_what_was_cut_was_not_explored() -> None:
    made = agent(of=policy(1, continuous=True), guard=BOUNDED, exploration=0.5)
    env = Watched(16)
    told = next(islice(live(made, made.init(16), env, 0), 20, None))
    seen, actions = done(env)
    assert np.abs(actions[seen[:, 1] > 0]).max() <= 0.1 + 1e-6
    assert np.abs(actions[seen[:, 1] <= 0]).max() > 0.5
    decision, step = told.state.decision, told.state.pending
    assert decision is not None
    assert step is not None
    assert (decision.by >= 0).any()
    assert not (step.exploring.numpy() & (decision.by >= 0)).any()


def test_the_actor_learns_nothing_from_what_it_did_not_do_and_the_critic_does() -> None:
    made = agent(guard=ALWAYS)
    told = next(islice(live(made, made.init(16), Bandit(16), 0), 13, None))
    assert len(told.state.window) > 3
    drawn = torch.cat([step.choice[step.exploring] for step in told.state.window])
    assert len(drawn) > 0, "what the guard left is not credited"
    assert drawn.all(), "a step that the guard replaced is"
    assert told.state.critic.readout.abs().sum() > 0


def test_at_the_moment_of_resetting_nothing_is_vetoed() -> None:
    made = agent("never", guard=guards_from("guards: [{when: a > -99, never: 'no'}, {when: a > -98, never: 'yes'}]", NAMES))
    known: dict[str, Any] = {"rewards": np.ones(8), "terminated": np.zeros(8, bool), "playing": np.ones(8, bool)}
    ended = np.arange(8) < 4
    state = made.step(made.init(8), arrival())[1]
    again = made.step(state, arrival(seed=1, ended=ended, **known))[1].decision
    same = made.step(state, arrival(seed=1, ended=ended, fresh=ended, **known))[1].decision
    assert again is not None
    assert same is not None
    assert again.conflicts[1].tolist() == [False] * 4 + [True] * 4
    assert same.conflicts[1].all()
    assert (again.by[:4] == -1).all()


def test_a_guarded_state_is_kept_and_taken_up_again() -> None:
    made = agent(guard=NEVER_NO)
    told = next(islice(live(made, made.init(8), Bandit(8), 0), 12, None))
    again = copied(told.state, made.known)
    assert again.decision is not None
    assert told.state.decision is not None
    for name in ("wanted", "taken", "by", "conflicts"):
        assert np.array_equal(getattr(again.decision, name), getattr(told.state.decision, name))


def test_a_life_counts_every_veto_and_keeps_the_last_in_full() -> None:
    made, env = agent(guard=NEVER_NO), Watched(8)
    state = made.init(8)
    book, short = Logbook(state, guard=NEVER_NO, keep=10_000), Logbook(state, guard=NEVER_NO, keep=3)
    for told in islice(live(made, state, env, 0), 30):
        book.note(told)
        short.note(told)
    assert book.vetoes is not None
    assert short.vetoes is not None
    seen, actions = done(env)
    assert book.vetoes.states == len(seen)
    assert 0 < book.vetoes.counts["stop"] == len(book.vetoes.vetoes) <= (seen[:, 1] > 0).sum()
    assert [each.step for each in short.vetoes.vetoes] == [each.step for each in book.vetoes.vetoes[-3:]]
    assert short.vetoes.counts == book.vetoes.counts
    first = worded(book.vetoes.vetoes[0], NEVER_NO, Discrete(2))
    row = next(place for place in range(len(seen)) if np.allclose(seen[place], list(first["observation"].values())))
    assert actions[row] == 1
    assert (first["guard"], first["wanted"], first["taken"]) == ("stop", "no", "yes")
    told = json.loads(json.dumps(book.told()))
    again = Logbook(state, told, NEVER_NO, keep=10_000)
    assert again.vetoes is not None
    assert again.vetoes.told() == book.vetoes.told()
    assert again.vetoes.vetoes == book.vetoes.vetoes


def vetoed(file: VetoFile, steps: int) -> Log:
    """The file's log after so many steps of eight vetoes each."""
    log, seen = file.log(), np.ones((8, 3), np.float32)
    assert log is not None
    for _ in range(steps):
        log.note(seen, within(ALWAYS, seen, torch.tensor([[1.0, 0.0]] * 8), np.zeros(8, np.int64), Discrete(2)))
    return log


def test_every_veto_is_written_and_memory_holds_few(tmp_path: Path) -> None:
    file = VetoFile(tmp_path / "seed-0" / "vetoes.jsonl", ALWAYS, Discrete(2), {"when": "lived", "seed": 0})
    log = vetoed(file, 200)
    assert log.counts["stop"] == 1600
    assert (len(log.vetoes), len(file.waiting)) == (0, 600)
    assert file.flush() == file.paths[0].stat().st_size
    rows = [json.loads(line) for line in file.paths[0].read_text().splitlines()]
    assert [(row["step"], row["environment"]) for row in rows] == [(step, place) for step in range(200) for place in range(8)]
    assert {(row["when"], row["seed"], row["wanted"], row["taken"]) for row in rows} == {("lived", 0, "no", "yes")}


def test_what_was_written_after_a_checkpoint_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "vetoes.jsonl"
    file = VetoFile(path, ALWAYS, Discrete(2), {})
    vetoed(file, 1)
    size, kept = file.flush(), path.read_text()
    vetoed(file, 1)
    assert file.flush() == 2 * size
    again = VetoFile(path, ALWAYS, Discrete(2), {}, size)
    assert path.read_text() == kept
    vetoed(again, 1)
    again.flush()
    assert path.read_text() == kept * 2
    joined((path, path), tmp_path / "all.jsonl")
    assert (tmp_path / "all.jsonl").read_text() == kept * 4
    with pytest.raises(ProgramError, match="checkpoint"):
        VetoFile(path, ALWAYS, Discrete(2), {}, 10**6)
    with pytest.raises(ResourceError, match="cannot write"):
        VetoFile(path / "below", ALWAYS, Discrete(2), {})


def test_vetoes_are_of_the_episodes_that_count() -> None:
    """One environment has played its share before the other."""
    env = Bandit(2, length=5)
    made = Keeping(lambda seen, fresh: torch.tensor([[1.0, 0.0]]).repeat(len(seen), 1), Discrete(2), ALWAYS)
    found = returns(made, env, 3, 0, made.note)
    assert len(found) == 3
    assert made.log is not None
    assert (made.log.states, made.log.counts["stop"]) == (15, 15)


def test_actions_are_numbered_as_the_environment_numbers_them() -> None:
    outputs, seen = torch.tensor([[0.0, 1.0], [1.0, 0.0]]), np.ones((2, 3), np.float32)
    found = within(ALWAYS, seen, outputs, np.array([4, 3]), Discrete(2, start=3))
    assert found.taken.tolist() == [4, 4]
    assert found.wanted.tolist() == [4, 3]
    log = Log(ALWAYS, 5)
    log.note(seen, found)
    said = [worded(each, ALWAYS, Discrete(2, start=3)) for each in log.vetoes]
    assert [(each["wanted"], each["taken"]) for each in said] == [("no", "yes")]


def test_the_usual_world_and_what_is_settled_are_guarded_too() -> None:
    env, steps = Watched(8), Bandit(8).length * 8
    usual_of(policy(), env, 8, stray=0.0, guard=ALWAYS)
    assert done(env)[1][:steps].min() == 1
    made, env = agent(guard=ALWAYS), Watched(8)
    log = Log(ALWAYS, 0)
    settled(made, made.init(8), env, 8, 0, log)
    assert done(env)[1].min() == 1
    assert log.states == steps
    assert log.counts["stop"] > 0


def test_without_a_guard_it_acts_as_before() -> None:
    made = policy()
    seen = arrival().observations
    assert np.array_equal(Keeping(Acting(made), made.action)(seen, np.ones(8, bool)), made.actor()(seen, np.ones(8, bool)))
