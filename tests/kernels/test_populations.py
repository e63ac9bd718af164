"""Kernels give what `neuron` gives, bit for bit, on any shape they serve; what they do not serve they refuse."""

import subprocess
import sys
from typing import Any

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikeloom import kernels
from spikeloom.kernels import Place, driven
from spikeloom.kernels.compilation import compiled
from spikeloom.neuron import look_up as search
from spikeloom.neuron import on_grid, read_table
from spikeloom.neuron import run_uniform as by_steps
from spikeloom.simulate.kernel import bank_of_table, read_bank, run_population, table_at

AXES: list[tuple[tuple[int, ...], int | tuple[int, ...]]] = [
    ((2, 3, 5, 7), 1),
    ((4, 33), 1),
    ((2, 9, 70), -1),
    ((3, 1100, 2), 1),
    ((2, 3, 11, 4), (1, 3)),
    ((1, 1, 1), 1),
    ((0, 3), 1),
    ((6, 2, 1, 1), 1),
    ((2, 1500), 0),
    ((2, 3, 4, 5), (0, 2)),
]


def channels_of(shape: tuple[int, ...], axis: int | tuple[int, ...]) -> int:
    return int(torch.tensor([shape[a] for a in ((axis,) if isinstance(axis, int) else axis)]).prod())


def same(a: Tensor, b: Tensor) -> bool:
    """The same numbers with the same signs of zero; any NaN is as good as another."""
    return a.shape == b.shape and bool(
        ((a.contiguous().view(torch.int32) == b.contiguous().view(torch.int32)) | (a.isnan() & b.isnan())).all()
    )


def currents(shape: tuple[int, ...], generator: torch.Generator, odd: bool) -> Tensor:
    """Normal inputs, a third on eighths, so that ties occur; with zeros of both signs, infinities and NaN where they are to be odd."""
    x = torch.randn(shape, generator=generator) * 3
    x = torch.where(torch.rand(shape, generator=generator) < 0.3, (x * 8).round() / 8, x)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan])
    chosen = special[torch.randint(0, 5, shape, generator=generator)]
    return torch.where(torch.rand(shape, generator=generator) < 0.1, chosen, x) if odd else x


@st.composite
def neurons(draw: st.DrawFn) -> dict[str, Any]:
    shape, axis = draw(st.sampled_from(AXES))
    return {
        "shape": shape,
        "axis": axis,
        "levels": draw(st.sampled_from([(1, 0), (15, 0), (7, 7), (3, 1)])),
        "reset": draw(st.sampled_from(["subtract", "zero", "gated"])),
        "timesteps": draw(st.integers(1, 9)),
        "channels": draw(st.booleans()),
        "decays": draw(st.booleans()),
        "leaks": draw(st.booleans()),
        "odd": draw(st.booleans()),
        "moved": draw(st.booleans()),
        "over": draw(st.booleans()),
        "seed": draw(st.integers(0, 10**6)),
    }


@settings(deadline=None, max_examples=60)
@given(neurons())
def test_uniform_populations_are_those_of_neuron_bit_for_bit(case: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(case["seed"])
    shape, steps = case["shape"], case["timesteps"]
    sizes = (channels_of(shape, case["axis"]),) if case["channels"] and case["axis"] not in (0, (0, 2)) else ()
    step, v0 = torch.rand(sizes, generator=generator) + 0.1, torch.randn(sizes, generator=generator)
    decay = torch.rand(sizes, generator=generator) if case["decays"] else 1.0
    leak = torch.randn(sizes, generator=generator) if case["leaks"] else 0.0
    x = currents((steps * shape[0], *shape[1:]), generator, case["odd"])
    if case["moved"] and x.ndim > 2:
        x = x.transpose(1, 2).contiguous().transpose(1, 2)
    options = {"levels": case["levels"][0], "negative": case["levels"][1], "reset": case["reset"], "axis": case["axis"], "timesteps": steps}
    expected, before = by_steps(x, step, v0, decay, leak, **options), x.clone()
    assert same(run_population(x, step, v0, decay, leak, **options), expected)
    assert same(x, before)
    if case["over"]:
        assert same(run_population(x, step, v0, decay, leak, **options, out=x), expected)


def table(kind: str, channels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Thresholds and values [C, K]: on a grid, off it, or padded with infinity; many enough in large ones to be read by ranks."""
    k = {"padded": 9, "large": 40, "grid": 20, "free": 12}[kind]
    widths = torch.rand(channels, k, generator=generator) + 0.05
    thresholds = widths.cumsum(1) - widths.sum(1, keepdim=True) / 2
    if kind == "padded":
        thresholds[:, 5:] = torch.inf
    if kind == "grid":
        thresholds = on_grid(thresholds)
    return thresholds, torch.randn(channels, k + 1, generator=generator)


@st.composite
def readings(draw: st.DrawFn) -> dict[str, Any]:
    shape, axis = draw(st.sampled_from(AXES[:-2]))
    return {
        "shape": shape,
        "axis": axis,
        "kind": draw(st.sampled_from(["grid", "free", "padded", "large"])),
        "channels": draw(st.booleans()),
        "less": draw(st.integers(0, 2)),
        "gain": draw(st.booleans()),
        "beside": draw(st.sampled_from(["rows", "one", "other"])),
        "moved": draw(st.booleans()),
        "over": draw(st.booleans()),
        "seed": draw(st.integers(0, 10**6)),
    }


@settings(deadline=None, max_examples=60)
@given(readings())
def test_tables_are_read_as_a_search_reads_them(case: dict[str, Any]) -> None:
    generator = torch.Generator().manual_seed(case["seed"])
    shape, axis = case["shape"], case["axis"]
    thresholds, values = table(case["kind"], channels_of(shape, axis) if case["channels"] else 1, generator)
    if not case["channels"]:
        thresholds, values = thresholds[0], values[0]
    bank = bank_of_table(thresholds, values)
    if bank is None:  # thresholds of many channels lie too close together for any grid; `Table` searches them then
        return
    sizes = {"rows": (*shape[:-1], 1), "one": (1,) * len(shape), "other": (*[1] * (len(shape) - 1), shape[-1])}[case["beside"]]
    less = tuple(torch.randn(sizes, generator=generator) for _ in range(case["less"]))
    gain = torch.rand(sizes, generator=generator) + 0.5 if case["gain"] else None
    x = currents(shape, generator, odd=False)
    x.view(-1)[:2] = (torch.tensor([-1.0, 1.0]) * (1e30 if case["kind"] == "padded" else torch.inf))[: x.numel()]
    x = x.transpose(1, 2).contiguous().transpose(1, 2) if case["moved"] and x.ndim > 2 else x
    h = driven(x, less, gain)
    expected = read_table(h, thresholds, values, axis)
    options = {"place": bank.places[0], "axis": axis, "less": less}
    assert same(read_bank(x, gain, bank.floats, bank.codes, **options), expected)
    assert same(search(h, table_at(bank.floats, bank.codes, bank.places[0]), axis), expected)
    if case["over"]:
        assert same(read_bank(x, gain, bank.floats, bank.codes, **options, out=x), expected)


def one_table(channels: int = 1, kind: str = "grid") -> tuple[Tensor, Tensor, Place, Tensor, Tensor]:
    thresholds, values = table(kind, channels, torch.Generator().manual_seed(3))
    bank = bank_of_table(thresholds, values)
    assert bank is not None
    return bank.floats, bank.codes, bank.places[0], thresholds, values


def test_large_tables_are_read_by_ranks_and_small_ones_by_cells() -> None:
    assert one_table(300, "large")[2].codes != kernels.NOWHERE
    assert one_table(1, "large")[2].codes == kernels.NOWHERE


def test_the_value_after_the_last_rank_lies_within_the_bank() -> None:
    floats, _, place, *_ = one_table(300, "large")
    assert place.levels + 2 * place.channels * place.ranks + 2 <= len(floats)


@pytest.mark.parametrize("channels", [1, 4, 300])
def test_what_is_not_a_number_has_no_place(channels: int) -> None:
    floats, codes, place, *_ = one_table(channels, "large")
    x = torch.zeros(5, channels)
    x[3, -1] = torch.nan
    with pytest.raises(IndexError, match="not a number"):
        kernels.look_up(x, floats, codes, place, (1,))


def test_tables_of_a_joined_bank_stay_their_own() -> None:
    kinds = [(1, "grid"), (4, "free"), (300, "large"), (4, "padded"), (300, "large")]
    single = [bank_of_table(*table(kind, channels, torch.Generator().manual_seed(n))) for n, (channels, kind) in enumerate(kinds)]
    bank = kernels.joined([each for each in single if each is not None])
    for each, place, (channels, _) in zip(single, bank.places, kinds, strict=True):
        assert each is not None
        x = torch.randn(7, channels)
        found = kernels.look_up(x, bank.floats, bank.codes, place, (1,))
        assert found is not None
        assert torch.equal(found, kernels.look_up(x, each.floats, each.codes, each.places[0], (1,)))  # pyright: ignore[reportArgumentType]


def test_threads_share_large_populations(monkeypatch: pytest.MonkeyPatch) -> None:
    floats, codes, place, thresholds, values = one_table()
    x, step = torch.randn(3, 7, 20000), torch.tensor(0.3)
    row = torch.randn(3, 7, 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(read_bank(x, None, floats, codes, place=place, axis=1), read_table(x, thresholds[0], values[0], 1))
    lower = read_bank(x, None, floats, codes, place=place, axis=1, less=(row,))  # threads begin within rows
    assert torch.equal(lower, read_table(x - row, thresholds[0], values[0], 1))
    options: dict[str, Any] = {"levels": 5, "negative": 2, "reset": "subtract", "axis": 1, "timesteps": 3}
    assert torch.equal(run_population(x, step, step, 1.0, 0.0, **options), by_steps(x, step, step, 1.0, 0.0, **options))
    x[2, 6, -1] = torch.nan
    with pytest.raises(IndexError):
        read_bank(x, None, floats, codes, place=place, axis=1)


def test_other_numbers_and_gradients_are_left_to_neuron() -> None:
    x = torch.randn(3)
    assert kernels.serves(x, None)
    assert not kernels.serves(x.double())
    assert not kernels.serves(x, x.clone().requires_grad_())
    with torch.no_grad():
        assert kernels.serves(x.clone().requires_grad_())
    floats, codes, place, thresholds, values = one_table()
    y, z = (torch.linspace(-2, 2, 9).requires_grad_() for _ in range(2))
    read_bank(y, None, floats, codes, place=place, axis=0).sum().backward()
    read_table(z, thresholds[0], values[0], 0).sum().backward()
    assert y.grad is not None
    assert torch.equal(y.grad, z.grad)  # pyright: ignore[reportArgumentType]
    assert bool(y.grad.any())


def test_channels_that_no_kernel_walks_are_refused() -> None:
    floats, codes, place, *_ = one_table(6, "free")
    assert kernels.look_up(torch.randn(2, 5, 3, 4), floats, codes, place, (0, 2)) is None
    assert kernels.look_up(torch.randn(5, 2, 4, 3), floats, codes, place, (1, 3)) is not None


@pytest.mark.parametrize("moved", [False, True])
def test_the_operator_keeps_what_torch_asks_of_operators(moved: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    floats, codes, place, *_ = one_table(4)
    x = torch.randn(2, 6, 4).transpose(0, 1) if moved else torch.randn(2, 6, 4)
    arguments = (x, floats, codes, list(place), [2], [], torch.rand(*x.shape[:2], 1) + 1)
    for operator in (torch.ops.spikeloom.look_up, torch.ops.spikeloom.read):
        checked = torch.library.opcheck(operator.default, arguments, test_utils=("test_schema", "test_faketensor"))
        assert set(checked.values()) == {"SUCCESS"}
        assert torch.equal(operator(*arguments), read_bank(x, arguments[-1], floats, codes, place=place, axis=2))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_small_look_ups_are_written_out_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config
    from torch._inductor.utils import run_and_get_code

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    made = [one_table(channels, kind) for channels, kind in ((1, "grid"), (24, "free"), (24, "padded"), (300, "large"))]
    places = [(2, 0, False), (2, 1, False), ((1, 3), 2, True), ((1, 3), 1, True)]
    shapes = [(3, 5, 24), (3, 5, 24), (2, 4, 5, 6), (2, 30, 3, 10)]
    assert [each[2].codes != kernels.NOWHERE for each in made] == [False, False, False, True]
    assert [each[2].splits != kernels.NOWHERE for each in made] == [False, True, True, False]

    def read(given: list[tuple[Tensor, list[Tensor], Tensor]]) -> list[Tensor]:
        told = zip(given, made, places, strict=True)
        return [
            read_bank(x, gain if divided else None, *table[:2], place=table[2], axis=axis, less=tuple(less[:count]))
            for (x, less, gain), table, (axis, count, divided) in told
        ]

    def inputs() -> list[tuple[Tensor, list[Tensor], Tensor]]:
        rows = [(*shape[:-1], 1) for shape in shapes]
        edges = torch.tensor([torch.inf, -torch.inf, 1e30, -1e30])
        given = [
            (torch.randn(shape), [torch.randn(row), torch.randn(row)], torch.rand(row) + 1) for shape, row in zip(shapes, rows, strict=True)
        ]
        for x, *_ in given:
            x.view(-1)[-4:] = edges  # the last number of the last rank, of the last table too
        return given

    torch.compiler.reset()
    written = torch.compile(read, fullgraph=True, dynamic=False)
    with torch.no_grad(), config.patch(fx_graph_cache=False):  # pytest's own patch leaves the configuration without the key
        given = inputs()
        found, (code,) = run_and_get_code(written, given)
        assert all(same(a, b) for a, b in zip(found, read(given), strict=True))
        assert "spikeloom" not in code and "TORCH_CHECK" not in code  # noqa: PT018
        given = [(torch.full_like(x, torch.nan), less, gain) for x, less, gain in given]
        assert all(bool(o.isnan().all()) for o in written(given))


def test_kernels_are_compiled_where_there_is_no_place_to_keep_them() -> None:
    space: dict[str, Any] = {}
    exec("def answer(number):\n    return number > 3", space)  # a function of no file
    assert compiled("n")(space["answer"])(4)


def test_nothing_is_compiled_before_a_population_runs() -> None:
    told = "import sys, spikeloom, spikeloom.simulate; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
