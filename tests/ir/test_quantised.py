"""Quantised weights: what is kept, read, saved and loaded; what does not fit is refused."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.errors import ConfigError, ProgramError, VerifyError
from spikeloom.ir import WEIGHTS, Dialect, Grid, Program, Quantised, bytes_of, grid_named, load, on_disk, quantised, save, text, verify
from spikeloom.ir.quantised import packed, unpacked
from spikeloom.ir.store import body_digest


def weight(shape: tuple[int, ...] = (6, 8), name: str = "4", group: int | None = None, *, zero: bool = False) -> tuple[Quantised, Tensor]:
    """A quantised weight, and the numbers it stands for."""
    generator, grid = torch.Generator().manual_seed(1), grid_named(name, group)
    codes = torch.randint(grid.low, grid.high + 1, shape, generator=generator, dtype=torch.int8)
    inputs = codes[0].numel()
    scale = torch.rand(shape[0], 1 if group is None else inputs // group, generator=generator) + 0.5
    points = torch.randint(grid.low, grid.high + 1, scale.shape, generator=generator, dtype=torch.int8) if zero else None
    less = codes.view(*scale.shape, -1).float() - (0 if points is None else points[..., None].float())
    return quantised(codes, scale, grid, points), (less * scale[..., None]).view(shape)


def network(kept: Tensor, dialect: Dialect = Dialect.QNN) -> Program:
    program = capture(nn.Sequential(nn.Linear(8, 6), nn.ReLU()), (torch.randn(2, 8),))
    return program.replaced(tensors={**program.tensors, "0.weight": kept}, dialect=dialect)


@given(st.sampled_from(sorted(WEIGHTS)), st.integers(0, 40), st.integers(0, 1000))
def test_packing_loses_nothing(name: str, count: int, seed: int) -> None:
    grid = grid_named(name)
    codes = torch.randint(grid.low, grid.high + 1, (count,), generator=torch.Generator().manual_seed(seed), dtype=torch.int8)
    kept = packed(codes, grid)
    assert torch.equal(unpacked(kept, grid, count), codes)
    assert kept.nbytes == -(-count * {"8": 8, "4": 4, "ternary": 2}[name] // 8)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("group", [None, 4])
@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_operations_read_the_numbers(name: str, group: int | None, zero: bool) -> None:
    kept, numbers = weight(name=name, group=group, zero=zero)
    x = torch.randn(3, 8)
    assert torch.equal(F.linear(x, kept), F.linear(x, numbers))
    assert torch.equal(kept * 2, numbers * 2)
    assert isinstance(kept.detach(), Quantised)
    assert torch.equal(on_disk(kept) + 0, numbers)


def test_a_ternary_weight_takes_two_bits() -> None:
    kept, _ = weight((64, 64), "ternary")
    assert bytes_of(kept) == 64 * 64 // 4 + 64 * 4
    assert grid_named("ternary").bits == 1.58


@pytest.mark.parametrize("shard_bytes", [None, 16])
@pytest.mark.parametrize("zero", [False, True])
def test_saved_and_loaded_it_is_the_same(tmp_path: Path, zero: bool, shard_bytes: int | None) -> None:
    kept, numbers = weight(group=4, zero=zero)
    kept.error = 0.25
    program = network(kept)
    verify(program)
    save(program, tmp_path / "a", shard_bytes=shard_bytes)
    again = load(tmp_path / "a")
    found = again.tensors["0.weight"]
    assert isinstance(found, Quantised)
    assert (found.grid, found.error, text(again)) == (Grid(-8, 7, 4), 0.25, text(program))
    assert torch.equal(found + 0, numbers)
    x = torch.randn(5, 8)
    assert torch.equal(again.module()(x), program.module()(x))
    save(again, tmp_path / "b", shard_bytes=shard_bytes)
    assert torch.equal(load(tmp_path / "b").tensors["0.weight"] + 0, numbers)


def test_a_compiled_graph_takes_them() -> None:
    module = network(weight()[0]).module()
    x = torch.randn(2, 8)
    torch.testing.assert_close(torch.compile(module, backend="aot_eager")(x), module(x))


def test_a_qnn_with_weights_on_no_grid_is_refused() -> None:
    with pytest.raises(VerifyError, match="weights on no grid"):
        verify(network(weight()[1]))
    verify(network(weight()[1], Dialect.ANN))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"shape": [6, 9]}, "no weight on the grid"),
        ({"shape": [4, 12]}, "scales"),
        ({"low": -1, "high": 1}, "no weight on the grid"),
        ({"low": 5, "high": 1}, "cannot take"),
        ({"low": -500}, "cannot take"),
    ],
)
def test_a_folder_whose_grid_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], what: str) -> None:
    save(network(weight()[0]), tmp_path / "a")
    path = tmp_path / "a" / "program.json"
    body = json.loads(path.read_text())
    body["grids"]["0.weight"] |= change
    body["digests"]["program.json"] = body_digest(body)
    path.write_text(json.dumps(body))
    with pytest.raises((ProgramError, ConfigError), match=what):
        load(tmp_path / "a")


def test_unknown_weights_and_scales_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown"):
        grid_named("3")
    with pytest.raises(ConfigError, match="scales do not fit"):
        quantised(torch.zeros(6, 8, dtype=torch.int8), torch.ones(5, 1), Grid(-8, 7))
