"""Questions to a graph: what depends on the input, and how an operation treats spikes, its operands considered."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.ir.networks import Wired, captured
from torch import fx, nn

from spikeloom.ir import MONOTONE, Dialect, Kind, Program, bounds, calls, clone, dynamic, kind, name_of, swept, text
from spikeloom.ir.rules import RULES

A = torch.ops.aten


def kind_of(target: Callable[..., Any], *args: Any) -> Kind | None:
    """The kind of one call; "x" and "y" among its arguments are values, "w" is a constant."""
    graph = fx.Graph()
    named = {"x": graph.placeholder("x"), "y": graph.placeholder("y"), "w": graph.get_attr("w")}

    def known(value: Any) -> Any:
        return [known(item) for item in value] if isinstance(value, list) else named.get(value, value) if isinstance(value, str) else value

    node = graph.call_function(target, tuple(known(value) for value in args))
    return kind(node, dynamic(graph))


@pytest.mark.parametrize(
    ("target", "args", "what"),
    [
        (A.mul.Tensor, ("x", "w"), Kind.AFFINE),
        (A.mul.Tensor, ("w", "x"), Kind.AFFINE),
        (A.mul.Tensor, ("x", 2.0), Kind.AFFINE),
        (A.mul.Scalar, ("x", 2), Kind.AFFINE),
        (A.mul.Tensor, ("x", "y"), Kind.PRODUCT),
        (A.mul.Tensor, ("x", "x"), Kind.PRODUCT),
        (A.div.Tensor, ("x", "w"), Kind.AFFINE),
        (A.div.Tensor, ("x", 2), Kind.AFFINE),
        (A.div.Tensor, ("w", "x"), Kind.NORM),
        (A.div.Tensor, (1, "x"), Kind.NORM),
        (A.div.Tensor, ("x", "y"), Kind.NORM),
        (A.div.Tensor, ("x", "x"), Kind.NORM),
        (A.matmul.default, ("x", "w"), Kind.AFFINE),
        (A.matmul.default, ("w", "x"), Kind.AFFINE),
        (A.matmul.default, ("x", "y"), Kind.PRODUCT),
        (A.bmm.default, ("x", "x"), Kind.PRODUCT),
        (A.einsum.default, ("bi,ij->bj", ["x", "w"]), Kind.AFFINE),
        (A.einsum.default, ("bi,bj->bij", ["x", "y"]), Kind.PRODUCT),
        (A.einsum.default, ("bi,bj->bij", ["x", "x"]), Kind.PRODUCT),
        (A.linear.default, ("x", "w"), Kind.AFFINE),
        (A.linear.default, ("x", "y"), Kind.PRODUCT),
        (A.linear.default, ("x", "x"), Kind.PRODUCT),
        (A.conv2d.default, ("x", "w", None), Kind.AFFINE),
        (A.conv2d.default, ("x", "y", None), Kind.PRODUCT),
        (A.add.Tensor, ("x", "x"), Kind.ADD),
        (A.cat.default, (["x", "x"],), Kind.MOVE),
        (A.maximum.default, ("x", "y"), Kind.MAX),
        (A.relu.default, ("x",), Kind.ACTIVATION),
        (A.softmax.int, ("x", 1), Kind.NORM),
        (A.lgamma.default, ("x",), None),
    ],
    ids=lambda value: str(value) if not isinstance(value, tuple) else ",".join(map(str, value)),
)
def test_the_kind_of_a_call_follows_from_its_operands(target: Callable[..., Any], args: tuple[Any, ...], what: Kind | None) -> None:
    assert kind_of(target, *args) is what


@pytest.mark.parametrize(
    ("target", "args", "kwargs", "wanted"),
    [
        (A.relu.default, (), {}, (0.0, None)),
        (A.relu6.default, (), {}, (0.0, 6.0)),
        (A.hardtanh.default, (), {}, (-1.0, 1.0)),
        (A.hardtanh.default, (-2,), {}, (-2.0, 1.0)),
        (A.hardtanh.default, (), {"max_val": 3.0}, (-1.0, 3.0)),
        (A.hardtanh.default, (0.0, 6.0), {}, (0.0, 6.0)),
        (A.clamp.default, (None, 6), {}, (None, 6.0)),
        (A.clamp.default, (), {"max": 6}, (None, 6.0)),
        (A.clamp.default, (0.5,), {}, (0.5, None)),
        (A.clamp_min.default, (0,), {}, (0.0, None)),
        (A.clamp_max.default, (4,), {}, (None, 4.0)),
    ],
)
def test_bounds_of_a_clip_are_read_from_wherever_they_stand(
    target: Any, args: Any, kwargs: Any, wanted: tuple[float | None, float | None]
) -> None:
    graph = fx.Graph()
    assert bounds(graph.call_function(target, (graph.placeholder("x"), *args), kwargs)) == wanted


def test_sizes_do_not_depend_on_values() -> None:
    program = captured(Wired(lambda x: x.reshape(x.shape[0], -1) + torch.ones(x.shape[0], 1)), 3, 2, 3)
    live = {node.name for node in dynamic(program.graph)}
    still = [name_of(node.target) for node in calls(program.graph) if node.name not in live]
    assert still == ["aten.sym_size.int", "aten.ones.default"]
    assert {"x", "output"} <= live


def test_what_nothing_reads_is_swept_away() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    dead = graph.call_function(A.mul.Tensor, (x, graph.get_attr("unused")))
    graph.call_function(A.relu.default, (dead,))
    graph.output(graph.call_function(A.mul.Tensor, (x, graph.get_attr("used"))))
    tensors = {"used": torch.ones(1), "unused": torch.ones(1), "unread": torch.ones(1)}
    program = swept(Program(graph, tensors, Dialect.ANN, ()))
    assert [node.name for node in calls(program.graph)] == ["mul_tensor_1"]
    assert list(program.tensors) == ["used"]


def test_a_clone_has_the_same_text_and_its_own_notes() -> None:
    program = captured(nn.Linear(3, 2), 2, 3)
    twin = program.replaced(graph=clone(program.graph))
    assert text(twin) == text(program)
    next(calls(twin.graph)).meta["note"] = {"floating": "here"}
    node = next(calls(clone(twin.graph)))
    node.meta["note"]["floating"] = "there"
    assert next(calls(twin.graph)).meta["note"] == {"floating": "here"}
    assert "note" not in next(calls(program.graph)).meta


def test_inputs_are_random_floats_and_zeros_of_the_declared_shapes() -> None:
    program = captured(nn.Linear(3, 2), 2, 3)
    (x,), (again,), (other,) = program.example(5), program.example(5), program.example(5, seed=1)
    assert x.shape == (5, 3)
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert program.example()[0].shape == (2, 3)


def test_what_moves_before_a_max_pool_is_monotone() -> None:
    grid = torch.linspace(-8, 8, 401)
    given = {"clamp": (-0.5, 1.0), "clamp_min": (0.25,)}
    for function in MONOTONE:
        values = getattr(A, function).default(grid, *given.get(function, ()))
        assert bool((values.diff() >= 0).all()), function
        assert RULES[f"aten.{function}.default"].kind is Kind.ACTIVATION
