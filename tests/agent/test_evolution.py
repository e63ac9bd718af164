"""Evolution of agents: contests whose numbers depend on genes and seed alone, bounds, steering, and searches that can be stopped."""

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.agent.worlds import network

from spikeloom.agent import Breeding, Contest, Discrete, Evolved, Policy, Signal, evolve_agent, returns
from spikeloom.agent.contest import Outcome, Ring, entered, leads, met, set_up
from spikeloom.agent.evolution import Search
from spikeloom.agent.genes import TRAITS, Genome
from spikeloom.agent.learning import Learning
from spikeloom.agent.worlds import world
from spikeloom.errors import ConfigError
from spikeloom.evolve import PARAMETERS
from spikeloom.evolve.executor import Executor, opened
from spikeloom.evolve.state import key_of
from spikeloom.simulate import SpikingModel

CONTEST = Contest("CartPole-v1", episodes=4, environments=4)
LIVING = Contest("CartPole-v1", ({"length": 2.0},), episodes=2, adaptation=6, settling=2, environments=2, acquaintance=8)
BREEDING = Breeding(population_size=6, generations=2, groups=2, seed=3)
LEARNERS = Breeding((), tuple(TRAITS), population_size=6, generations=1, seed=3)


def policy(timesteps: int = 1) -> Policy:
    """A network whose actions hang on small states: inputs twenty times as large, and outputs that are even at rest."""
    model = network(4, 2, timesteps=timesteps, levels=7)
    tensors = {**model.program.tensors, "0.weight": model.program.tensors["0.weight"] * 20}
    rest = SpikingModel(model.program.replaced(tensors=tensors), timesteps=timesteps)(torch.zeros(1, 4))[0]
    tensors["linear_1.bias"] = tensors["linear_1.bias"] - rest
    model = SpikingModel(model.program.replaced(tensors=tensors), timesteps=timesteps)
    return Policy(model, Signal((4,), (-9.0,) * 4, (9.0,) * 4), Discrete(2))


def told(evolved: Evolved) -> tuple[Any, ...]:
    return evolved.genes, evolved.history, evolved.start.returns.tolist(), evolved.best.returns.tolist(), evolved.best.energy_nj


@cache
def unbroken() -> Evolved:
    """The search that others are held against."""
    return evolve_agent(policy(), CONTEST, BREEDING)


def ring(folder: Path, contest: Contest = CONTEST, neurons: tuple[str, ...] = PARAMETERS, traits: tuple[str, ...] = ()) -> Ring:
    genome = Genome(policy(), Learning(), 0.85, neurons, traits, 2)
    set_up(folder, genome, contest, {"neurons": neurons, "plasticity": traits, "groups": 2})
    return Ring(folder)


def genes(size: int, seed: int = 0) -> np.ndarray:
    return 2 * np.random.default_rng(seed).standard_normal(size)


@pytest.mark.parametrize(
    ("contest", "breeding", "executor"),
    [(CONTEST, BREEDING, "threading"), pytest.param(LIVING, LEARNERS, "loky", marks=pytest.mark.slow)],
)
def test_two_workers_find_what_one_finds(contest: Contest, breeding: Breeding, executor: str) -> None:
    once = unbroken() if contest is CONTEST else evolve_agent(policy(), contest, breeding)
    assert told(evolve_agent(policy(), contest, breeding, executor=executor, workers=2)) == told(once)


def test_another_seed_is_another_search() -> None:
    other = evolve_agent(policy(), CONTEST, dataclasses.replace(BREEDING, generations=1, seed=4))
    assert other.history[0] != unbroken().history[0]


def test_a_search_that_was_stopped_goes_on_to_the_same_answer(tmp_path: Path) -> None:
    done = list[int]()

    def stopping(what: str, generation: int, total: int) -> None:
        done.append(generation)
        if len(done) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evolve_agent(policy(), CONTEST, BREEDING, folder=tmp_path, progress=stopping)
    resumed = evolve_agent(policy(), CONTEST, BREEDING, folder=tmp_path, progress=stopping)
    assert done == [1, 2]
    assert told(resumed) == told(unbroken())


def test_a_folder_of_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    evolve_agent(policy(), CONTEST, dataclasses.replace(BREEDING, generations=1), folder=tmp_path)
    other = dataclasses.replace(CONTEST, shifts=({"length": 2.0},))
    found = evolve_agent(policy(), other, dataclasses.replace(BREEDING, generations=1), folder=tmp_path)
    assert told(found) == told(evolve_agent(policy(), other, dataclasses.replace(BREEDING, generations=1)))


def test_what_a_candidate_gets_does_not_depend_on_who_plays_beside(tmp_path: Path) -> None:
    contest = dataclasses.replace(CONTEST, shifts=({}, {"length": 3.0}))
    made = ring(tmp_path, contest)
    first, second = genes(made.genome.size, 1), genes(made.genome.size, 2)
    together = made.crowd([first, second, np.zeros(made.genome.size)], 50, False)
    assert made.crowd([second], 50, False)[0].returns.tolist() == together[1].returns.tolist()
    plain = [returns(policy().actor(), world("CartPole-v1", 4, shift), 4, 50 + 4 * place) for place, shift in enumerate(contest.shifts)]
    assert together[2].returns.tolist() == np.concatenate(plain).tolist()
    assert len({tuple(each.returns.tolist()) for each in together}) == 3


def test_noise_is_the_same_for_every_candidate(tmp_path: Path) -> None:
    contest = dataclasses.replace(CONTEST, shifts=({"noise": 0.5},))
    made = ring(tmp_path, contest)
    zero = np.zeros(made.genome.size)
    found = met(tmp_path, key_of(tmp_path, {}), contest, [zero, genes(made.genome.size), zero], 50, Executor("loky", 1))
    assert found[0].returns.tolist() == found[2].returns.tolist()


def test_a_life_is_its_own_whatever_else_is_lived(tmp_path: Path) -> None:
    made = ring(tmp_path, LIVING, (), tuple(TRAITS))
    zero, other = np.zeros(len(TRAITS)), np.full(len(TRAITS), 0.7)
    with opened("loky", 1) as running:
        found = met(tmp_path, key_of(tmp_path, {}), LIVING, [zero, other], 50, running)
    assert [made.life(other, LIVING.shifts[0], 50 + 10_000 * number, False)[0] for number in range(2)] == found[1].returns.tolist()


def test_no_genes_are_what_was_given() -> None:
    given = policy()
    genome = Genome(given, Learning(rate=0.05), 0.6, PARAMETERS, tuple(TRAITS))
    assert genome.network(np.zeros(genome.size)) is given
    assert genome.plasticity(np.zeros(genome.size)) == (Learning(rate=0.05), 0.6)


def test_plasticity_stays_within_its_bounds() -> None:
    genome = Genome(policy(), Learning(), 0.85, (), tuple(TRAITS))
    for sign, bound in ((-1, "low"), (1, "high")):
        learning, exploration = genome.plasticity(np.full(len(TRAITS), sign * 30.0))
        values = {**dataclasses.asdict(learning), "exploration": exploration}
        assert {name: values[name] for name in TRAITS} == {name: getattr(trait, bound) for name, trait in TRAITS.items()}
    edge, _ = genome.plasticity(genome.bounds[:, 1])
    assert edge.discount == pytest.approx(0.9995)
    assert isinstance(edge.steps, int)


def test_candidates_stay_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, meant = list[np.ndarray](), Ring.crowd

    def watched(self: Ring, candidates: list[np.ndarray], first: int, priced: bool) -> list[Outcome]:
        seen.extend(candidates)
        return meant(self, candidates, first, priced)

    monkeypatch.setattr(Ring, "crowd", watched)
    evolve_agent(policy(), CONTEST, dataclasses.replace(BREEDING, sigma=20.0))
    bounds = Genome(policy(), Learning(), 0.85, PARAMETERS, (), 2).bounds
    assert len(seen) >= 12
    assert all(((each >= bounds[:, 0]) & (each <= bounds[:, 1])).all() for each in seen)
    assert any(np.isclose(each, bounds[:, 1]).any() for each in seen)


def test_time_constants_have_genes_where_steps_are_many() -> None:
    assert Genome(policy(), Learning(), 0.85, PARAMETERS, ()).neurons == 2
    assert Genome(policy(2), Learning(), 0.85, PARAMETERS, ()).neurons == 4


def test_saturated_neurons_are_steered_to_more_threshold_and_silent_ones_to_less(tmp_path: Path) -> None:
    ring(tmp_path)
    for factor, sign in ((1e-3, 1.0), (1e3, -1.0)):
        found, tensors = policy(), dict(policy().model.program.tensors)
        for name in ("spike_relu.step", "spike_relu.v0"):
            tensors[name] = tensors[name] * factor
        found = found.replaced(model=SpikingModel(found.model.program.replaced(tensors=tensors)))
        genome = Genome(found, Learning(), 0.85, PARAMETERS, (), 2)
        search = Search(tmp_path, "", genome, CONTEST, BREEDING, Executor("loky", 1))
        site = search.genome.space.sites[0]  # pyright: ignore[reportOptionalMemberAccess]
        wanted = search._wanted()  # pyright: ignore[reportPrivateUsage]
        assert (sign * wanted[site.genes["threshold"]] > 0.5).all()
        assert (sign * wanted[site.genes["initial"]] < -0.5).all()


def test_a_lucky_lead_is_lost_in_the_duel(tmp_path: Path) -> None:
    """A challenger that leads once and not again does not become the incumbent; one that leads twice does."""
    made = ring(tmp_path)
    for second, expected in ((0.0, False), (9.0, True)):
        search, rounds = Search(tmp_path, "", made.genome, CONTEST, BREEDING, Executor("loky", 1)), list[int]()

        def meet(
            candidates: list[np.ndarray], first: int, rounds: list[int] = rounds, gains: tuple[float, float] = (9.0, second)
        ) -> list[Outcome]:
            rounds.append(first)
            return [
                Outcome(np.arange(8.0) + gains[len(rounds) - 1] * (place == len(candidates) - 1), 0.0, np.zeros((4, 4), np.float32))
                for place in range(len(candidates))
            ]

        search.meet = meet  # pyright: ignore[reportAttributeAccessIssue]
        search.step()
        assert len(set(rounds)) == 2
        assert bool(search.incumbent.any()) is expected


def test_the_best_of_both_looks_takes_the_place_of_the_incumbent_where_it_leads_in_the_second(tmp_path: Path) -> None:
    made = ring(tmp_path)
    for gain, expected in ((1.0, 2.0), (-1.0, 0.0)):
        search = Search(tmp_path, "", made.genome, CONTEST, BREEDING, Executor("loky", 1))
        search.hall = np.array([[30.0, *np.full(made.genome.size, 1.0)], [20.0, *np.full(made.genome.size, 2.0)]])
        seen = list[np.ndarray]()

        def meet(candidates: list[np.ndarray], first: int, seen: list[np.ndarray] = seen, gain: float = gain) -> list[Outcome]:
            seen.extend(candidates)
            values = (np.arange(8.0), np.arange(8.0) - 20, np.arange(8.0) + gain)
            return [Outcome(each, 0.0, np.zeros((4, 4), np.float32)) for each in values]

        search.meet = meet  # pyright: ignore[reportAttributeAccessIssue]
        search.final()
        assert [each[0] for each in seen] == [0.0, 1.0, 2.0]
        assert search.incumbent[0] == expected
        assert search.history[-1]["new"] == ("second look" if expected else "")
        assert search.evaluations == 3


def test_the_hall_holds_the_best_of_those_that_have_not_dueled(tmp_path: Path) -> None:
    made = ring(tmp_path)
    for lead in (9.0, 0.0):
        search, met_now = Search(tmp_path, "", made.genome, CONTEST, BREEDING, Executor("loky", 1)), list[np.ndarray]()

        def meet(candidates: list[np.ndarray], first: int, met_now: list[np.ndarray] = met_now, lead: float = lead) -> list[Outcome]:
            met_now.extend(candidates)
            values = [10.0 + place for place in range(len(candidates))] if len(candidates) > 2 else [10.0, 0.0]
            values = [value if lead or place == 0 else value - 10.0 for place, value in enumerate(values)]
            return [Outcome(np.full(8, value), 0.0, np.zeros((4, 4), np.float32)) for value in values]

        search.meet = meet  # pyright: ignore[reportAttributeAccessIssue]
        search.step()
        kept = met_now[4:0:-1] if lead else met_now[5:0:-1]
        assert np.array_equal(search.hall[:, 1:], np.array(kept))
        assert len(met_now) == (8 if lead else 6)


def test_what_a_policy_gets_by_itself_is_the_mean_of_its_returns_and_its_energy() -> None:
    found = entered(policy(), dataclasses.replace(CONTEST, shifts=({"length": 3.0},)), first=70)
    assert found.returns.tolist() == returns(policy().actor(), world("CartPole-v1", 4, {"length": 3.0}), 4, 70).tolist()
    assert found.energy_nj > 0


def test_a_lead_counts_in_standard_errors_of_pairs_and_energy_is_paid_for() -> None:
    nothing, base = np.zeros((1, 4), np.float32), np.array([10.0, 500.0, 30.0, 200.0])
    old = Outcome(base, 10.0, nothing)
    assert leads(Outcome(base + 1, 10.0, nothing), old, 0.0, 1.5)
    assert not leads(Outcome(base, 10.0, nothing), old, 0.0, 1.5)
    assert not leads(Outcome(base + np.array([9.0, 0.0, 0.0, 0.0]), 10.0, nothing), old, 0.0, 1.5)
    assert leads(Outcome(base, 5.0, nothing), old, 0.1, 1.5)
    assert not leads(Outcome(base + 1, 25.0, nothing), old, 0.1, 1.5)


def test_what_was_found_is_saved_with_its_record(tmp_path: Path) -> None:
    found = evolve_agent(policy(), dataclasses.replace(CONTEST, weight=0.01), dataclasses.replace(BREEDING, sigma=3.0))
    found.policy.model.save(tmp_path / "network")
    opened_again = SpikingModel.open(tmp_path / "network")
    record = opened_again.program.records[-1]
    assert record.name == "EvolveAgent"
    assert record.numbers["genes"] == list(found.genes)
    assert len(record.numbers["history"]) == 2
    assert record.numbers["best"]["return"] == found.best.mean
    assert found.best.energy_nj > 0
    x = torch.randn(16, 4)
    assert torch.equal(opened_again(x), found.policy.model(x))


@pytest.mark.parametrize(
    ("contest", "breeding", "said"),
    [
        (CONTEST, LEARNERS, "judged by what it learns"),
        (LIVING, dataclasses.replace(LEARNERS, plasticity=("haste",)), "unknown parameter of plasticity"),
        (CONTEST, dataclasses.replace(BREEDING, neurons=()), "nothing to search"),
    ],
)
def test_what_cannot_be_searched_is_refused(contest: Contest, breeding: Breeding, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        evolve_agent(policy(), contest, breeding)


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="in pairs of lives"):
        dataclasses.replace(LIVING, lives=1)
    with pytest.raises(ConfigError, match="settling is a part"):
        dataclasses.replace(LIVING, adaptation=2)
    with pytest.raises(ConfigError, match="population_size"):
        Breeding(population_size=5)
    with pytest.raises(ConfigError, match="outside of its bounds"):
        evolve_agent(policy(), LIVING, LEARNERS, learning=Learning(trace=0.2))
    with pytest.raises(ConfigError, match="learns at one step"):
        evolve_agent(policy(2), LIVING, LEARNERS)
