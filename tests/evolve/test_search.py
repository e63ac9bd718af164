"""The search: it gets better, spends what it may, goes on from a state to the same answer, and keeps what the hardware allows."""

from pathlib import Path

import numpy as np
import pytest
from tests.evolve.networks import bench, spiking
from tests.simulate.networks import ann, correlated, damaged

from spikeloom.errors import ConfigError
from spikeloom.evolve import Evolve, Plan, Search
from spikeloom.evolve.bench import Tally
from spikeloom.evolve.executor import opened
from spikeloom.evolve.objective import Outcome, better, ranked
from spikeloom.evolve.state import Written
from spikeloom.ir import Context

PLAN = Plan(population_size=8, generations=3)


def searched(folder: Path, plan: Plan = PLAN, **options: object) -> Search:
    with opened("loky", 1) as executor:
        search = Search(bench(folder, spiking(), **options), plan, executor)
        search.run()
        return search


def test_a_damaged_population_is_mended_on_samples_nobody_searched_on_too(tmp_path: Path) -> None:
    program = damaged(spiking(), "spike_relu", 2.0)
    with opened("loky", 1) as executor:
        search = Search(bench(tmp_path / "a", program, groups=1), Plan(population_size=12, generations=5), executor)
        search.run()
    assert search.best.outcome.divergence < 0.7 * search.start.divergence
    fresh = Context(lambda: [(correlated(ann("residual"), 256, seed=99),)], reference=ann("residual"))
    evolve = Evolve(groups=1, batch_size=64)
    unseen = evolve.bench(tmp_path / "b", program, fresh, evolve.checked(fresh)[1])
    before, after = (unseen.outcome(genes).divergence for genes in (np.zeros_like(search.best.genes), search.best.genes))
    assert after < 0.95 * before


@pytest.mark.parametrize("population", [5, 8, 20])
def test_a_generation_spends_its_evaluations(tmp_path: Path, population: int) -> None:
    plan = Plan(population_size=population, generations=2)
    assert 1 + 3 * plan.steps + sum(plan.shares) == population
    assert searched(tmp_path, plan).evaluations == 1 + 2 * population


def test_the_same_seed_gives_the_same_answer_and_another_another(tmp_path: Path) -> None:
    first, second, third = (searched(tmp_path / str(k), Plan(8, 2, polish=0.0, seed=seed)) for k, seed in enumerate((1, 1, 2)))
    assert first.history == second.history
    assert first.history != third.history


@pytest.mark.parametrize("front", [False, True])
def test_a_state_is_all_that_the_rest_depends_on(tmp_path: Path, front: bool) -> None:
    plan, states = Plan(population_size=8, generations=4, front=front), list[Written]()
    with opened("loky", 1) as executor:
        whole = Search(bench(tmp_path, spiking()), plan, executor)
        whole.run(states.append)
        halves = Search(whole.bench, plan, executor)
        halves.restore(states[1])
        halves.run()
    assert halves.history == whole.history
    assert np.array_equal(halves.best.genes, whole.best.genes)
    assert halves.front == whole.front


def test_a_front_trades_divergence_for_energy(tmp_path: Path) -> None:
    front = searched(tmp_path, Plan(population_size=12, generations=6, front=True), groups=2).front
    assert len(front) > 1
    energies, divergences = [point.energy_pj for point in front], [point.divergence for point in front]
    assert energies == sorted(energies)
    assert divergences == sorted(divergences, reverse=True)


def test_rates_outside_of_the_band_are_infeasible_and_a_search_finds_its_way_in(tmp_path: Path) -> None:
    rates = rates_of(searched(tmp_path / "plain", Plan(5, 1)))
    search = searched(tmp_path / "bound", Plan(12, 6), max_rate=0.97 * max(rates.values()))
    assert search.start.violation == pytest.approx(0.03 * max(rates.values()), rel=0.01)
    assert search.best.outcome.violation < 0.5 * search.start.violation


def rates_of(search: Search) -> dict[str, float]:
    """The firing rates of the program as given."""
    tally = Tally(search.bench)
    search.bench.over(search.bench.tensors(np.zeros(search.bench.space.size)), tally, None, None)
    return tally.rates()


def test_feasible_ones_come_before_all_others_and_numbers_before_none() -> None:
    good, bad = Outcome(9.0, 0.1, 1.0), Outcome(0.1, 0.9, 1.0, violation=0.2)
    worse, lost = Outcome(0.1, 0.9, 1.0, violation=0.5), Outcome(float("nan"), 0.0, 1.0)
    keys = ranked([good, bad, worse, lost], 0.0, 1.0)
    assert keys[0] < keys[1] < keys[2]
    assert keys[0] < keys[3]


def test_better_asks_for_more_than_chance() -> None:
    old = Outcome(1.0, 0.0, 1.0, losses=(0.5, 1.5, 0.5, 1.5))
    surely = Outcome(0.9, 0.0, 1.0, losses=(0.4, 1.4, 0.4, 1.4))
    luckily = Outcome(0.9, 0.0, 1.0, losses=(2.0, 0.1, 1.0, 0.5))
    assert better(surely, old, 0.0, 1.0, 1.5)
    assert not better(luckily, old, 0.0, 1.0, 1.5)
    assert better(luckily, old, 0.0, 1.0, 0.0)
    assert not better(old, surely, 0.0, 1.0, 0.0)
    assert better(Outcome(1.0, 0.0, 0.5, losses=old.losses), old, 1.0, 1.0, 1.5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"population_size": 0}, "5 or more"),
        ({"population_size": 4}, "5 or more"),
        ({"generations": 0}, "1 or more"),
        ({"polish": 1.0}, "0 … 0.9"),
        ({"weight": -1.0}, "weight"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(given: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Plan(**given)  # pyright: ignore[reportArgumentType]
