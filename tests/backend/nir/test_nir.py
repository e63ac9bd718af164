"""NIR: files that come back bit for bit, that another executor runs as the reference does, and files of other tools."""

import importlib.util
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.backend.netlists import Recipe, golden, made, recipes, uniform
from torch import nn

from spikeloom.backend import Golden
from spikeloom.backend.nir import TARGET, NirOptions, read
from spikeloom.backend.nir.executor import run_graph
from spikeloom.backend.nir.reading import graph_at
from spikeloom.backend.nir.window import window_of
from spikeloom.backend.nir.writing import differences, graph_of
from spikeloom.errors import ProgramError, UnsupportedError
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Pool, Route, Source, Wire, netlist_files, netlist_of
from spikeloom.simulate.integers import run_integers

if importlib.util.find_spec("nir") is None:
    pytest.skip("nir is not installed", allow_module_level=True)
import nir

PLAIN = NirOptions()
Sides = tuple[int, ...]


def emitted(netlist: Netlist, given_: Golden, folder: Path, options: NirOptions = PLAIN) -> Path:
    assert TARGET.refusals(netlist, options) == []
    folder.mkdir(exist_ok=True)
    for name, content in TARGET.emit(netlist, given_, options).items():
        (folder / name).write_bytes(content)
    return folder


def ticks(netlist: Netlist, inputs: Any) -> Any:
    streamed = inputs.ndim == len(netlist.wires[netlist.source.name].shape) + 2
    return inputs if streamed else np.broadcast_to(inputs, (netlist.timesteps, *inputs.shape))


@given(recipes())
@settings(max_examples=40, deadline=None)
def test_every_netlist_comes_back_and_runs(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> None:
    netlist = recipe()
    for streamed in (False, True):
        given_ = golden(netlist, 3, streamed=streamed)
        folder = emitted(netlist, given_, tmp_path_factory.mktemp("nir"))
        verdict = TARGET.verify(folder, netlist, given_, PLAIN)
        assert (verdict.samples, verdict.mismatches) == (3, 0)
        assert netlist_files(read(folder / "network.nir")) == netlist_files(netlist)


@given(recipes())
@settings(max_examples=15, deadline=None)
def test_the_same_netlist_gives_the_same_bytes(recipe: Recipe) -> None:
    netlist = recipe()
    given_ = golden(netlist)
    assert TARGET.emit(netlist, given_, PLAIN) == TARGET.emit(recipe(), given_, PLAIN)


@given(recipes(frozenset({"convolution", "sum", "add", "zero", "leak", "residual"})))
@settings(max_examples=60, deadline=None)
def test_plain_readers_run_what_the_file_says_they_run(recipe: Recipe) -> None:
    """Where nothing is said to differ, NIR's own law gives the reference's spikes; the file's types are those of nir."""
    netlist = recipe()
    if differences(netlist):
        return
    given_ = golden(netlist, 4)
    graph = graph_of(netlist, PLAIN)
    assert (run_graph(graph, ticks(netlist, given_.inputs), "plain") == given_.outputs).all()


def hard(timesteps: int = 6, **options: Any) -> Netlist:
    rng = np.random.default_rng(1)
    told: dict[str, Any] = {"reset": "zero", "initial": 0} | options
    operations = [
        Convolution("conv", ("x",), rng.integers(-20, 30, (2, 1, 3, 3)), rng.integers(-9, 9, 2), padding=(1, 1)),
        uniform("n1", "conv", [40, 55], 1, **told),
        Pool("pool", ("n1",), "sum", (2, 2), (2, 2)),
        Route("flat", ("pool",), (18,)),
        Affine("fc", ("flat",), rng.integers(-20, 30, (5, 18)), rng.integers(-9, 9, 5)),
        uniform("n2", "fc", 60, 1, **told),
    ]
    return netlist_of(Source("x", 1.0), Wire((1, 6, 6), 0, 3, True), operations, "n2", timesteps=timesteps)


@pytest.mark.parametrize(("options", "why"), [({}, ""), ({"reset": "subtract"}, "subtraction"), ({"initial": 20}, "initial potential")])
def test_what_a_plain_reader_makes_of_a_network(options: dict[str, Any], why: str) -> None:
    netlist = hard(**options)
    given_ = golden(netlist, 40, streamed=True)
    plain = run_graph(graph_of(netlist, PLAIN), given_.inputs, "plain")
    assert why in " ".join(differences(netlist).values())
    assert bool((plain == given_.outputs).all()) == (why == "")


def test_an_initial_potential_is_in_the_threshold_at_one_tick() -> None:
    netlist = hard(timesteps=1, reset="subtract", initial=20)
    given_ = golden(netlist, 40)
    assert differences(netlist) == {}
    assert (run_graph(graph_of(netlist, PLAIN), given_.inputs[None], "plain") == given_.outputs).all()


@pytest.mark.parametrize("integrator", ["lif", "cubalif"])
def test_other_spellings_give_the_netlist_back(tmp_path: Path, integrator: Any) -> None:
    netlist, options = hard(), NirOptions(integrator=integrator, dt=1e-4, batch_axis=True)
    folder = emitted(netlist, golden(netlist), tmp_path / integrator, options)
    assert netlist_files(read(folder / "network.nir")) == netlist_files(netlist)
    kinds = {type(node).__name__ for node in graph_at(folder / "network.nir").nodes.values()}
    assert {"lif": "LIF", "cubalif": "CubaLIF"}[integrator] in kinds


def test_lif_of_plain_nir_is_ours_where_nothing_is_rounded() -> None:
    """a = 1/2, even numbers: one Euler step of dt = 2 with τ = 4 is (decay·v) >> shift, and the leak is in v_leak."""
    operations = [
        Affine("w", ("x",), np.full((1, 1), 16)),
        uniform("p", "w", 41, 1, initial=0, reset="zero", decay=np.array([1]), decay_shift=1, leak=np.array([4])),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((1,), 0, 3, True), operations, "p", timesteps=3)
    given_ = golden(netlist, 30, streamed=True)
    graph = graph_of(netlist, NirOptions(dt=2.0))
    assert float(graph.nodes["p"].tau[0]) == 4.0
    assert (run_graph(graph, given_.inputs, "plain") == given_.outputs).all()


def test_nir_reads_the_file_and_checks_its_types(tmp_path: Path) -> None:
    netlist = hard()
    graph = nir.read(emitted(netlist, golden(netlist), tmp_path / "f") / "network.nir")
    assert [type(graph.nodes[name]).__name__ for name in ("conv", "n1", "pool", "flat", "fc", "n2")] == [
        "Conv2d", "IF", "SumPool2d", "Flatten", "Affine", "IF",
    ]  # fmt: skip
    told = graph.nodes["n1"].metadata
    assert (told["reset"], told["levels"], list(told["initial_potential"])) == ("zero", 1, [0])
    assert list(graph.nodes["n1"].v_threshold[:, 0, 0]) == [39.5, 54.5]
    assert {"conv", "n1", "n2"} <= set(graph.nodes)
    assert ("conv", "n1") in [tuple(edge) for edge in graph.edges]


def test_a_residual_is_edges_that_meet(tmp_path: Path) -> None:
    operations = [
        uniform("a", "x", 3, 1, initial=0),
        Affine("w", ("a",), np.array([[2, -1], [1, 3]])),
        Add("sum", ("w", "a"), (np.array([1]), np.array([5, 7]))),
        uniform("b", "sum", 4, 1, initial=0),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((2,), 0, 4, True), operations, "b", timesteps=2)
    edges = [tuple(edge) for edge in graph_of(netlist, PLAIN).edges]
    assert {("w", "sum"), ("a", "sum__gain1"), ("sum__gain1", "sum"), ("sum", "b")} <= set(edges)


def test_routes_that_plain_readers_follow(tmp_path: Path) -> None:
    """A shortcut that takes every second row and third column into chosen channels, then a choice out of two operands."""
    places = np.arange(2 * 5 * 7).reshape(2, 5, 7)[:, ::2, ::3]
    index = np.full((4, 3, 3), -1)
    index[1], index[2] = places[1], places[0]
    chosen = np.array([40, 3, -1, 36, 35, 7, 71])
    operations = [
        Route("cut", ("x",), (4, 3, 3), index.reshape(-1)),
        Route("flat", ("cut",), (36,)),
        Affine("w", ("flat",), np.random.default_rng(0).integers(-3, 4, (36, 36))),
        Route("both", ("cut", "w"), (7,), chosen),
    ]
    netlist = netlist_of(Source("x", 1.0), Wire((2, 5, 7), 0, 9, True), operations, "both")
    given_ = golden(netlist, 5)
    assert differences(netlist) == {}
    folder = emitted(netlist, given_, tmp_path / "f")
    graph = graph_at(folder / "network.nir")
    assert list(graph.nodes["cut"].stride) == [2, 3]
    assert (run_graph(graph, given_.inputs[None], "plain") == given_.outputs).all()
    assert TARGET.verify(folder, netlist, given_, PLAIN).mismatches == 0


@given(
    st.tuples(*[st.integers(1, 6)] * 2),
    st.tuples(*[st.integers(-3, 3)] * 4),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.lists(st.integers(-1, 1), min_size=1, max_size=3),
)
def test_borders_and_strides_are_convolutions(size: Sides, border: Sides, stride: Sides, channels: list[int]) -> None:
    """Rows and columns put around a picture or cut off, more on one side than on the other, then every s-th of some channels."""
    places = torch.arange(1, 1 + 2 * size[0] * size[1]).reshape(2, *size)
    assume(all(side + min(put, 0) + min(more, 0) > 0 for side, put, more in zip(size, border[2::-2], border[3::-2], strict=True)))
    moved = nn.functional.pad(places, border)[:, :: stride[0], :: stride[1]]
    index = torch.stack([moved[channel] if channel >= 0 else torch.zeros_like(moved[0]) for channel in channels]).numpy() - 1
    netlist = netlist_of(Source("x", 1.0), Wire((2, *size), 0, 9, True), [Route("cut", ("x",), index.shape, index.reshape(-1))], "cut")
    given_ = golden(netlist, 3)
    assert TARGET.refusals(netlist, PLAIN) == []
    graph = graph_of(netlist, PLAIN)
    assert type(graph.nodes["cut"]).__name__ == "Conv2d"
    assert (run_graph(graph, given_.inputs[None], "plain") == given_.outputs).all()


def test_a_border_of_one_side_costs_a_row() -> None:
    """The padding "same" of an even kernel: five rows above, four below."""
    index = nn.functional.pad(torch.arange(1, 13).reshape(1, 3, 4), (1, 1, 5, 4)).numpy() - 1
    window = window_of(Route("r", ("x",), index.shape, index.reshape(-1)), [Wire((1, 3, 4), 0, 1, True)])
    assert window is not None
    assert (window.weight.tolist(), window.stride, window.padding) == ([[[[1], [0]]]], (1, 1), (5, 1))


def test_a_decay_is_said_to_be_rounded() -> None:
    assert "rounded" in differences(hard(decay=np.array([3]), decay_shift=2))["n1"]


def test_gains_as_layers_run_alike(tmp_path: Path) -> None:
    for seed in range(6):
        netlist = made(seed, frozenset({"convolution", "add", "residual", "zero"}), 2)
        given_, options = golden(netlist), NirOptions(scales="layer")
        folder = emitted(netlist, given_, tmp_path / str(seed), options)
        assert TARGET.verify(folder, netlist, given_, options).mismatches == 0
        assert "Scale" not in {type(node).__name__ for node in graph_of(netlist, options).nodes.values()}


def test_what_has_no_node_is_refused() -> None:
    operations = [Route("r", ("x",), (2, 2, 3), np.arange(12)[::-1].copy())]
    netlist = netlist_of(Source("x", 1.0), Wire((12,), 0, 1, True), operations, "r")
    (refusal,) = TARGET.refusals(netlist, PLAIN)
    assert refusal.where == "r"
    assert "(2, 2, 3)" in refusal.found


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    netlist = made(3)
    path = emitted(netlist, golden(netlist), tmp_path / "f") / "network.nir"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ProgramError):
        read(path)
    (tmp_path / "text.nir").write_text("no HDF5")
    with pytest.raises(ProgramError, match="no NIR graph"):
        read(tmp_path / "text.nir")


def test_a_wrong_number_in_the_file_is_seen(tmp_path: Path) -> None:
    netlist = hard()
    given_ = golden(netlist, 20)
    graph = graph_of(netlist, PLAIN)
    graph.nodes["fc"].weight[2, 3] += 40
    nir.write(tmp_path / "network.nir", graph)
    assert TARGET.verify(tmp_path, netlist, given_, PLAIN).mismatches > 0


def foreign(tmp_path: Path, nodes: dict[str, Any], edges: list[tuple[str, str]]) -> Path:
    nir.write(tmp_path / "foreign.nir", nir.NIRGraph(dict(nodes), list(edges)))
    return tmp_path / "foreign.nir"


def test_a_file_of_another_tool_is_read_by_nirs_own_law(tmp_path: Path) -> None:
    """Weights on a grid of 1/8, thresholds between and on it, a skip with a Scale: the same spikes as NIR's law in float64."""
    rng = np.random.default_rng(0)

    def eighths(*shape: int) -> Any:
        return (rng.integers(-9, 12, shape) / 8).astype(np.float32)

    nodes = {
        "input": nir.Input({"input": np.array([2, 6, 6])}),
        "c": nir.Conv2d((6, 6), eighths(2, 2, 3, 3), 1, 1, 1, 1, eighths(2)),
        "n": nir.IF(np.full((2, 6, 6), 2.0), np.full((2, 6, 6), 0.75)),
        "skip": nir.Scale(np.full((2, 6, 6), 0.25)),
        "c2": nir.Conv2d((6, 6), eighths(2, 2, 3, 3), 1, 1, 1, 1, eighths(2)),
        "n2": nir.IF(np.full((2, 6, 6), 2.0), np.full((2, 6, 6), 0.8)),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "f": nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
        "l": nir.Linear(eighths(4, 18)),
        "n3": nir.IF(np.full(4, 2.0), np.full(4, 1.0)),
        "output": nir.Output({"output": np.array([4])}),
    }
    chain = ["input", "c", "n", "c2", "n2", "pool", "f", "l", "n3", "output"]
    edges = [*pairwise(chain), ("n", "skip"), ("skip", "n2")]
    path = foreign(tmp_path, nodes, edges)
    netlist = read(path, timesteps=7, input_range=(0, 3))
    assert netlist.settings["exact"] is True
    inputs = rng.integers(0, 4, (7, 30, 2, 6, 6))
    graph = graph_at(path)
    graph.metadata = {"dt": 0.5}
    expected = run_graph(graph, inputs, "plain")
    assert 0 < expected.mean() < 7
    assert (run_integers(netlist, inputs) == expected).all()
    folder = emitted(netlist, Golden(inputs, run_integers(netlist, inputs)), tmp_path / "again")  # and written again
    assert netlist_files(read(folder / "network.nir")) == netlist_files(netlist)


def chain(weight: Any, node: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    out, inner = weight.shape
    nodes = {"i": nir.Input({"input": np.array([inner])}), "l": nir.Linear(weight), "n": node, "o": nir.Output({"output": np.array([out])})}
    return nodes, [("i", "l"), ("l", "n"), ("n", "o")]


def test_weights_on_no_grid_are_refused_or_rounded(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 1, (3, 4)).astype(np.float32)
    path = foreign(tmp_path, *chain(weight, nir.IF(np.ones(3), np.ones(3))))
    with pytest.raises(UnsupportedError, match="weight_bits"):
        read(path)
    netlist = read(path, weight_bits=8, timesteps=4)
    assert netlist.settings["rounded"] == ["l"]
    assert np.abs(netlist.operations[0].weight).max() <= 127  # pyright: ignore[reportAttributeAccessIssue]
    inputs = np.random.default_rng(1).integers(0, 2, (4, 200, 4))
    graph = graph_at(path)
    assert (run_integers(netlist, inputs) != run_graph(graph, inputs, "plain")).mean() < 0.05


def test_lif_of_another_tool_is_near(tmp_path: Path) -> None:
    weight = np.array([[0.5, 0.75], [1.0, -0.25]], np.float32)
    node = nir.LIF(np.full(2, 4.0), np.full(2, 4.0), np.zeros(2), np.full(2, 1.3))
    path = foreign(tmp_path, *chain(weight, node))
    netlist = read(path, dt=1.0, timesteps=12)
    assert netlist.settings["exact"] is False
    inputs = np.random.default_rng(1).integers(0, 2, (12, 100, 2))
    graph = graph_at(path)
    graph.metadata = {"dt": 1.0}
    assert (run_integers(netlist, inputs) != run_graph(graph, inputs, "plain")).mean() < 0.05


@pytest.mark.parametrize(
    ("node", "match"),
    [
        (nir.IF(np.ones(3), np.ones(3), np.full(3, 0.5)), "rest at 0"),
        (nir.LI(np.ones(3), np.ones(3), np.zeros(3)), "no place"),
        (nir.IF(np.ones(3), np.full(3, -1.0)), "fire at rest"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, node: Any, match: str) -> None:
    path = foreign(tmp_path, *chain(np.ones((3, 4), np.float32), node))
    with pytest.raises(UnsupportedError, match=match):
        read(path)


def test_a_loop_is_refused(tmp_path: Path) -> None:
    nodes, edges = chain(np.ones((3, 3), np.float32), nir.IF(np.ones(3), np.ones(3)))
    with pytest.raises(UnsupportedError, match="loop"):
        read(foreign(tmp_path, nodes, [*edges, ("n", "l")]))


def test_the_page_says_what_readers_do() -> None:
    soft = hard(reset="subtract")
    page = TARGET.emit(soft, golden(soft), PLAIN)["README.md"].decode()
    assert "n1: reset by subtraction" in page
    assert "sinabs" in page
    assert json.dumps(TARGET.report(soft, PLAIN))
