"""The space: zero is the program as given, every gene does what its equation says, hardware grids are kept."""

import numpy as np
import pytest
import torch
from tests.evolve.networks import spiking

from spikeloom.errors import ConfigError
from spikeloom.evolve import Limits, Space
from spikeloom.evolve.space import SCALES, group_of, mean_distance


@pytest.mark.parametrize(
    ("name", "method", "timesteps"), [("residual", "scale_and_fire", 1), ("gate", "scale_and_fire", 1), ("linear", "lif", 4)]
)
def test_zero_is_the_program_as_given(name: str, method: str, timesteps: int) -> None:
    program = spiking(name, timesteps, method=method)
    space = Space(program, timesteps, Limits(), groups=3)
    again = space.applied(program, np.zeros(space.size))
    for key, tensor in program.tensors.items():
        torch.testing.assert_close(again.tensors[key].expand_as(tensor), tensor, rtol=1e-6, atol=1e-7, msg=key)


def test_at_one_step_decay_and_leak_are_left_out() -> None:
    assert Space(spiking(), 1, Limits()).parameters == ("threshold", "initial")
    assert Space(spiking("linear", 4, method="lif"), 4, Limits()).parameters == ("threshold", "initial", "decay", "leak")
    assert "decay" not in Space(spiking("linear", 4, method="lif"), 4, Limits(decay=0.9)).parameters


def test_genes_do_what_their_equations_say() -> None:
    program = spiking("linear", 4, method="lif")
    space, site = Space(program, 4, Limits()), Space(program, 4, Limits()).sites[0]
    step, v0, decay, leak = (program.tensors[site.tensors[role]].double() for role in ("step", "v0", "decay", "leak"))
    genes = torch.zeros(space.size, dtype=torch.float64)
    for name, value in {"threshold": 2.0, "initial": 1.0, "decay": 3.0, "leak": -1.0}.items():
        genes[site.genes[name]] = value
    found = {role: space.decode(genes)[name].double() for role, name in site.tensors.items()}
    theta = step * np.exp(2.0 * SCALES["threshold"])
    torch.testing.assert_close(found["step"], theta, rtol=1e-6, atol=0)
    torch.testing.assert_close(found["v0"], theta * (v0 / step + SCALES["initial"]), rtol=1e-6, atol=0)
    torch.testing.assert_close(found["decay"].expand_as(decay), decay * np.exp(-3.0 * SCALES["decay"]), rtol=1e-6, atol=0)
    torch.testing.assert_close(found["leak"].expand_as(leak), theta * (leak / step - SCALES["leak"]), rtol=1e-6, atol=1e-9)


def test_a_table_moves_as_an_initial_potential_would_move_it() -> None:
    program = spiking("gate")
    space = Space(program, 1, Limits())
    site = next(site for site in space.sites if site.table)
    genes = torch.zeros(space.size, dtype=torch.float64)
    genes[site.genes["initial"]] = 2.0
    thresholds = program.tensors[site.tensors["thresholds"]].double()
    found = space.decode(genes)[site.tensors["thresholds"]].double()
    moved = 2.0 * SCALES["initial"] * mean_distance(thresholds)
    torch.testing.assert_close(found, thresholds - (moved[:, None] if thresholds.ndim > 1 else moved), rtol=1e-5, atol=1e-6)
    assert torch.equal(space.decode(genes)[site.tensors["values"]], program.tensors[site.tensors["values"]])


def test_groups_are_neighbours_of_about_the_same_number() -> None:
    assert group_of(7, 3).tolist() == [0, 0, 0, 1, 1, 2, 2]
    program = spiking()
    assert Space(program, 1, Limits(), groups=2).size == 2 * Space(program, 1, Limits()).size
    most = Space(program, 1, Limits(), groups=10**6)
    assert all(part.stop - part.start == site.channels for site in most.sites for part in site.genes.values())


def test_thresholds_and_leaks_lie_on_the_hardwares_grid_and_decay_is_what_it_says() -> None:
    program = spiking("linear", 4, method="lif")
    space = Space(program, 4, Limits(threshold_bits=5, leak_bits=4, decay=0.9), groups=2)
    genes = torch.randn(space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = space.decode(genes)
    for site in space.sites:
        step, leak, decay = (found[site.tensors[role]].double() for role in ("step", "leak", "decay"))
        assert len(step.unique()) > 1 or step.ndim == 0
        unit = program.tensors[site.tensors["step"]].double().max() * 2 / 31
        assert torch.allclose(step / unit, (step / unit).round(), atol=1e-4)
        assert int((step / unit).round().max()) <= 31
        levels = leak[leak != 0].abs()
        assert not len(levels) or bool(((leak / levels.min()) - (leak / levels.min()).round()).abs().max() < 1e-3)
        assert torch.allclose(decay, torch.tensor(0.9, dtype=torch.float64))


def test_what_cannot_be_searched_is_refused() -> None:
    for groups, parameters, told in (
        (0, ("threshold",), "groups"),
        (1, ("weights",), "unknown neuron parameter"),
        (1, ("decay",), "nothing"),
    ):
        with pytest.raises(ConfigError, match=told):
            Space(spiking(), 1, Limits(), groups, parameters)
