"""The bench: an evaluation is what the program gives, from a cut as from the start; prices are the counter's; gradients point downhill."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.evolve.networks import bench, inputs, spiking
from tests.simulate.networks import ann

from spikeloom.evolve.bench import evaluated
from spikeloom.evolve.cuts import Cuts
from spikeloom.evolve.polish import gradient_of
from spikeloom.evolve.refit import refitted
from spikeloom.evolve.space import Genes
from spikeloom.evolve.steering import correction, listened, steered
from spikeloom.simulate import Counter, SpikingModel, energy, primary

NETWORKS = [("residual", "scale_and_fire", 1), ("gate", "scale_and_fire", 1), ("attention", "scale_and_fire", 1), ("linear", "lif", 4)]


def genes_of(size: int, seed: int = 0, width: float = 1.0) -> Genes:
    return width * np.random.default_rng(seed).standard_normal(size)


@pytest.mark.parametrize(("name", "method", "timesteps"), NETWORKS)
def test_an_evaluation_is_what_the_program_gives(tmp_path: Path, name: str, method: str, timesteps: int) -> None:
    program = spiking(name, timesteps, method=method)
    made = bench(tmp_path, program, name, timesteps=timesteps, groups=2)
    genes = genes_of(made.space.size).clip(made.space.bounds[:, 0], made.space.bounds[:, 1])
    snn, x = SpikingModel(made.space.applied(program, genes), timesteps=timesteps), inputs(name)
    with torch.no_grad():
        p, q = (primary(y).log_softmax(-1) for y in (ann(name).module()(x), snn(x)))
    found = made.outcome(genes)
    assert found.divergence == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-4, abs=1e-7)
    assert found.accuracy == pytest.approx(float((p.argmax(-1) == q.argmax(-1)).float().mean()))


@pytest.mark.parametrize(("name", "method", "timesteps"), NETWORKS)
def test_from_a_cut_it_is_the_same_to_the_last_bit(tmp_path: Path, name: str, method: str, timesteps: int) -> None:
    made = bench(tmp_path, spiking(name, timesteps, method=method), name, timesteps=timesteps, max_rate=0.5)
    base = genes_of(made.space.size, 1).clip(made.space.bounds[:, 0], made.space.bounds[:, 1])
    outcome, folder, _ = listened(made, base)
    assert outcome == made.outcome(base)
    cuts = Cuts.opened(tmp_path / folder)
    assert cuts.places
    for site in made.space.sites:
        genes = base.copy()
        genes[site.span] = 0.7 * genes[site.span] + 0.1
        genes = genes.clip(made.space.bounds[:, 0], made.space.bounds[:, 1])
        assert made.outcome(genes, cuts) == made.outcome(genes)
        assert evaluated(str(tmp_path), genes.tolist(), folder)[0] == made.outcome(genes).divergence


@pytest.mark.parametrize("encoding", ["graded", "unary", "binary"])
def test_prices_give_the_counters_energy_on_what_they_were_measured_on(tmp_path: Path, encoding: str) -> None:
    program = spiking()
    made = bench(tmp_path, program, encoding=encoding, samples=16)
    counter = Counter(program, 1)
    counter.add((inputs()[:16],))
    exact = next(row.total_pj for row in energy(counter.counts()) if row.network == f"SNN ({encoding})")
    assert made.outcome(np.zeros(made.space.size)).energy_pj == pytest.approx(exact, rel=1e-4)


def test_fewer_spikes_cost_less(tmp_path: Path) -> None:
    made = bench(tmp_path, spiking())
    higher = np.zeros(made.space.size)
    for site in made.space.sites:
        higher[site.genes["threshold"]] = 6.0
    assert made.outcome(higher).energy_pj < made.outcome(np.zeros(made.space.size)).energy_pj


@pytest.mark.parametrize(("name", "method", "timesteps"), NETWORKS[:3])
def test_surrogate_gradients_point_downhill_from_where_it_is_steep(tmp_path: Path, name: str, method: str, timesteps: int) -> None:
    made = bench(tmp_path, spiking(name, timesteps, method=method), name, timesteps=timesteps)
    low, high = made.space.bounds.T
    away = np.zeros(made.space.size)
    for site in made.space.sites:
        away[site.genes["threshold"]] = 3.0
    gradient = gradient_of(made, away.clip(low, high), 0.0)
    nearer = (away - gradient / np.abs(gradient).max()).clip(low, high)
    assert np.isfinite(gradient).all()
    assert made.outcome(nearer).divergence < made.outcome(away.clip(low, high)).divergence


def test_refitting_goes_back_from_damage(tmp_path: Path) -> None:
    made = bench(tmp_path, spiking())
    damaged, part = np.zeros(made.space.size), made.space.sites[0].genes["threshold"]
    damaged[part] = 4.0
    assert (refitted(made, damaged)[part] < damaged[part]).all()
    damaged[part] = -4.0
    assert (refitted(made, damaged)[part] > damaged[part]).all()


def test_a_population_that_sends_too_little_is_steered_upwards(tmp_path: Path) -> None:
    made = bench(tmp_path, spiking())
    site = made.space.sites[0]
    quiet = np.zeros(made.space.size)
    quiet[site.genes["initial"]] = -4.0
    _, _, heard = listened(made, quiet)
    assert float(heard[site.node].deficit[0]) > 0
    assert correction(made, heard, leaking=False)[site.genes["initial"]][0] > 0
    moved = steered(made, quiet, heard, 0.0, np.random.default_rng(0))
    changed = np.flatnonzero(moved != quiet)
    assert len(changed)
    assert np.array_equal(moved, steered(made, quiet, heard, 0.0, np.random.default_rng(0)))
