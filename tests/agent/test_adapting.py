"""An adaptation from beginning to end, and that an interrupted one ends where an unbroken one does."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent.balancing import balancing

from spikeloom.agent import adapting, reliving
from spikeloom.agent.adaptation import Adaptation
from spikeloom.agent.adapting import adapt
from spikeloom.agent.checkpoints import prepare
from spikeloom.agent.course import Course
from spikeloom.agent.logbook import NOTICED, REWIRED, TRIED
from spikeloom.agent.rules import Instructions, instructions_from
from spikeloom.agent.state import Usual
from spikeloom.agent.worlds import world
from spikeloom.errors import ConfigError, DataError

COURSE = Course(episodes=100, environments=8, judged=8, settling=16, acquaintance=16, every=25, diagnosed=False)
SHIFT = {"sign": -1.0}
ENV = "CartPole-v1"


@pytest.fixture(scope="module")
def unbroken() -> Adaptation:
    return adapt(balancing(), ENV, SHIFT, COURSE)


def test_the_whole_is_told(unbroken: Adaptation) -> None:
    life = unbroken.best
    assert unbroken.usual.mean() > 300 > 60 > unbroken.frozen.mean()
    assert unbroken.ann is not None
    assert unbroken.ann.mean() > 300
    assert 10 < unbroken.chance.mean() < 40
    assert len(life.returns) == 8
    assert [episode.number for episode in life.episodes] == list(range(1, len(life.episodes) + 1))
    assert 100 - 16 <= len(life.episodes) < 100 - 16 + 8
    assert life.events[0].what == NOTICED
    noticed = life.events[0].number
    assert 0 < noticed < 60
    assert not any(episode.explored for episode in life.episodes[: max(noticed - 8, 0)])
    assert any(episode.explored for episode in life.episodes[noticed:])
    assert TRIED in [event.what for event in life.events]
    assert life.profile.counts.spikes("graded") > 0
    assert len(life.changes) == 3
    assert unbroken.recovered(life) == pytest.approx(
        (life.returns.mean() - unbroken.frozen.mean()) / (unbroken.usual.mean() - unbroken.frozen.mean())
    )


@pytest.mark.slow
def test_it_learns_and_the_kept_weights_say_how_far_they_moved() -> None:
    course = dataclasses.replace(COURSE, episodes=400, plastic="always")
    found = adapt(balancing(), ENV, SHIFT, course)
    assert found.best.returns.mean() > 2 * found.frozen.mean()
    assert all(change.relative > 0 and change.largest > 0 for change in found.best.changes)


def test_a_reversed_actuator_is_found_said_and_undone(tmp_path: Path) -> None:
    course = dataclasses.replace(COURSE, episodes=40, settling=8, plastic="always", diagnosed=True)
    life = adapt(balancing(), ENV, SHIFT, course, checkpoints=tmp_path).best
    assert [event.what for event in life.events].count(REWIRED) == 1
    assert life.body is not None
    assert life.body.effects == (1, 0)
    assert life.returns.mean() > 400
    assert life.policy.model.program.settings["policy"]["body"]["effects"] == [1, 0]


class PluggedOutError(Exception):
    """Somebody pulled the plug."""


def same(a: Adaptation, b: Adaptation) -> bool:
    pairs = zip(a.lives, b.lives, strict=True)
    return all(
        one.episodes == other.episodes
        and one.events == other.events
        and np.array_equal(one.returns, other.returns)
        and one.changes == other.changes
        and all(map(torch.equal, one.score.weights, other.score.weights))
        for one, other in pairs
    )


@pytest.mark.parametrize("at", [pytest.param(at, marks=pytest.mark.slow) for at in (3, 60, 80)])
def test_an_interrupted_run_ends_where_an_unbroken_one_does(unbroken: Adaptation, tmp_path: Path, at: int) -> None:
    """Before the first checkpoint, in the midst of learning, and towards the end."""

    def pull(what: str, done: int, total: int) -> None:
        if what.startswith("adapting") and done >= at:
            raise PluggedOutError

    with pytest.raises(PluggedOutError):
        adapt(balancing(), ENV, SHIFT, COURSE, progress=pull, checkpoints=tmp_path)
    seen = list[int]()

    def first(what: str, done: int, total: int) -> None:
        if what.startswith("adapting"):
            seen.append(done)

    again = adapt(balancing(), ENV, SHIFT, COURSE, progress=first, checkpoints=tmp_path, resume=True)
    assert same(unbroken, again)
    assert at < 20 or seen[0] > 20, "it began anew"


@pytest.mark.slow
def test_a_life_that_has_ended_is_not_lived_again(unbroken: Adaptation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapt(balancing(), ENV, SHIFT, COURSE, checkpoints=tmp_path)
    monkeypatch.setattr(adapting, "relived", None)
    assert same(unbroken, adapt(balancing(), ENV, SHIFT, COURSE, checkpoints=tmp_path, resume=True))


PERSON = """
predicates:
  lean: theta + 0.25 * theta_dot + 0.1 * x_dot + 0.05 * x
guards:
  - {name: near the end, when: x > 0.5, never: push right}
rules:
  - {when: lean > 0.02, then: push left}
  - {when: lean < -0.02, then: push right}
"""


def person(text: str = PERSON) -> Instructions:
    return instructions_from(text, (balancing().observation, balancing().action), ENV)


def test_what_a_person_says_counts() -> None:
    """Right under the shift, rules bring back at once what learning would have to find; the guard holds throughout."""
    whole = adapt(balancing(), ENV, SHIFT, dataclasses.replace(COURSE, episodes=32, settling=8, plastic="never"), instructions=person())
    life, lesson = whole.best, whole.lesson
    assert lesson is not None
    assert lesson.taught.before < 0.2 < 0.8 < lesson.taught.after
    assert lesson.frozen_obeys < 0.1 < 0.5 < lesson.obeys
    assert lesson.returns.mean() > 2 * whole.frozen.mean()
    assert np.array_equal(life.returns, lesson.returns), "a life that learns nothing ends with what was taught"
    assert life.obeyed == lesson.obeys
    for log in (whole.guarded, life.lived, life.judged):
        assert log is not None
        assert log.states > 0
    assert life.lived is not None
    assert life.lived.states > life.steps, "settling is not counted"


def test_an_interrupted_run_with_guards_and_rules_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    """With rules that help little, so that episodes are short."""
    weak = "guards: [{name: right, when: x > 0.02, never: push right}]\nrules: [{when: theta < -0.1, then: push right}]"
    course = dataclasses.replace(COURSE, episodes=28, settling=8, plastic="always", every=8)
    whole = adapt(balancing(), ENV, SHIFT, course, instructions=person(weak), checkpoints=tmp_path / "whole")
    tmp_path = tmp_path / "again"

    def pull(what: str, done: int, total: int) -> None:
        if what.startswith("adapting") and done >= 18:
            raise PluggedOutError

    with pytest.raises(PluggedOutError):
        adapt(balancing(), ENV, SHIFT, course, instructions=person(weak), progress=pull, checkpoints=tmp_path)
    assert list(tmp_path.glob("seed-0/state.json")), "nothing was kept"
    with (tmp_path / "seed-0" / "vetoes.jsonl").open("a") as file:
        file.write("written after the last checkpoint\n")
    for other in (None, person(weak.replace("0.02", "0.03"))):
        with pytest.raises(ConfigError, match="another adaptation"):
            adapt(balancing(), ENV, SHIFT, course, instructions=other, checkpoints=tmp_path, resume=True)
    again = adapt(balancing(), ENV, SHIFT, course, instructions=person(weak), checkpoints=tmp_path, resume=True)
    assert same(whole, again)
    one, other = whole.best.lived, again.best.lived
    assert one is not None
    assert other is not None
    assert sum(one.counts.values()) > 0
    assert one.told() == other.told()
    texts = [[path.read_text() for path in each.vetoes] for each in (whole, again)]
    assert texts[0] == texts[1]
    logs = (whole.guarded, None, one, whole.best.judged)
    counted = [None if log is None else sum(log.counts.values()) for log in logs]
    assert [len(text.splitlines()) for place, text in enumerate(texts[0]) if place != 1] == [
        count for count in counted if count is not None
    ]
    assert texts[0][1], "the taught network was judged in the changed world as well"


def test_checkpoints_of_another_adaptation_are_refused(tmp_path: Path) -> None:
    prepare(tmp_path, {"episodes": 3, "seeds": 1}, resume=False)
    with pytest.raises(ConfigError, match="episodes=4") as refused:
        prepare(tmp_path, {"episodes": 4, "seeds": 1}, resume=True)
    assert "seeds" not in str(refused.value)
    with pytest.raises(ConfigError, match="nothing to go on from"):
        prepare(tmp_path / "elsewhere", {}, resume=True)


def test_a_world_that_does_not_repeat_itself_is_noticed() -> None:
    agent = _agent()
    state, env = agent.init(4), world(ENV, 4)
    kept = list[Any]()
    count = 0

    def watch(told: Any) -> bool:
        nonlocal count
        count += 1
        return count > 25

    reliving.relived(agent, state, env, 1, watch, keep=lambda *each: kept.append(each), every=10)
    now, actions, checksum = kept[-1]
    assert len(actions) == 20
    with pytest.raises(DataError, match="does not repeat itself"):
        reliving.relived(agent, now, env, 2, watch, past=tuple(actions), checksum=checksum, every=10)


def _agent() -> Any:
    from spikeloom.agent.agent import Agent

    return Agent(balancing(), Usual(torch.randn(64, 4), np.array([1.0, 2.0])))


def test_what_does_not_fit_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="other spaces"):
        adapt(balancing(), "Acrobot-v1", {}, COURSE, checkpoints=tmp_path / "c")
    with pytest.raises(ConfigError, match="no shift 'lenght'"):
        adapt(balancing(), ENV, {"lenght": 2.0}, COURSE, checkpoints=tmp_path / "c")
    with pytest.raises(ConfigError, match="no such environment"):
        adapt(balancing(), "CartPole-v99", {}, COURSE, checkpoints=tmp_path / "c")
    with pytest.raises(ConfigError, match="episodes are out of range"):
        Course(episodes=20, environments=8, settling=16)
    assert list(tmp_path.iterdir()) == []
