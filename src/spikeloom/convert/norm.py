"""
Normalisation in spikes: a population whose thresholds another neuron scales (divisive normalisation).

    c   = x − mean x          LayerNorm and GroupNorm; RMSNorm has c = x. A sum of currents is a current              (1)
    v   = mean c²             square neurons, and their sum at a membrane                                          (2)
    s   = √(v + ε)            a square-root neuron                                                               (3)
    y   = (γ·c + β·s) / s     neurons of the current γ·c + β·s with the thresholds s·θ_k: equal to γ·c/s + β         (4)

(4) multiplies nothing with a current: h ≥ s·θ_k compares a membrane with thresholds that the spikes of (3) scale. γ belongs to
the synapses that made c, β to synapses from the square-root neuron. Models that write the norm out, x·rsqrt(v), are read as x/√v.

Source: Carandini & Heeger 2012, "Normalization as a canonical neural computation", doi:10.1038/nrn3136.
"""

from typing import Any

import torch
from torch import fx

from spikeloom.convert.writer import Writer, shape_of
from spikeloom.ir import args_of, argument, calls, dynamic, function_of, name_of

_SCALES = ("aten.mul.Tensor", "aten.mul.Scalar")
_SHIFTS = ("aten.add.Tensor", "aten.add.Scalar")


def unfold_layer_norm(writer: Writer, node: fx.Node) -> fx.Node:
    """(1)–(4) over the last axes."""
    x, sizes = args_of(node)[:2]
    weight, bias, epsilon = argument(node, 2, "weight"), argument(node, 3, "bias"), argument(node, 4, "eps", 1e-5)
    axes = list(range(-len(sizes), 0))
    return _divided(writer, _centred(writer, x, axes), axes, epsilon, weight, bias)


def unfold_rms_norm(writer: Writer, node: fx.Node) -> fx.Node:
    """(2)–(4) over the last axes."""
    x, sizes = args_of(node)[:2]
    epsilon = argument(node, 3, "eps")
    epsilon = torch.finfo(torch.float32).eps if epsilon is None else epsilon
    return _divided(writer, x, list(range(-len(sizes), 0)), epsilon, argument(node, 2, "weight"), None)


def unfold_group_norm(writer: Writer, node: fx.Node) -> fx.Node:
    """(1)–(4) over the channels of a group and all places: [B, C, …] as [B, G, C/G, …]."""
    x, groups = args_of(node)[:2]
    weight, bias, epsilon = argument(node, 2, "weight"), argument(node, 3, "bias"), argument(node, 4, "eps", 1e-5)
    _, channels, *places = shape_of(x)
    apart = writer.call("unflatten.int", x, 1, [groups, channels // groups])
    axes = list(range(2, len(places) + 3))
    weight, bias = (_per_channel(writer, each, [1, groups, channels // groups, *[1] * len(places)]) for each in (weight, bias))
    return writer.call("flatten.using_ints", _divided(writer, _centred(writer, apart, axes), axes, epsilon, weight, bias), 1, 2)


def _per_channel(writer: Writer, parameter: Any, shape: list[int]) -> Any:
    return None if parameter is None else writer.call("reshape.default", parameter, shape)


def unfold_norm(writer: Writer, node: fx.Node) -> fx.Node:
    """‖x‖₂ = √Σx²."""
    x, axes, keep = node.args[0], argument(node, 2, "dim"), bool(argument(node, 3, "keepdim", False))
    axes = list(range(len(shape_of(x)))) if axes is None else axes
    return writer.call("sqrt.default", writer.call("sum.dim_IntList", writer.call("square.default", x), axes, keep))


def unfold_variance(writer: Writer, node: fx.Node) -> fx.Node:
    """The mean of the centred squares, n/(n − correction) times."""
    x, axes, keep = node.args[0], argument(node, 1, "dim"), bool(argument(node, 3, "keepdim", False))
    correction = argument(node, 2, "correction", 1)
    correction = 1 if correction is None else int(correction)
    axes = list(range(len(shape_of(x)))) if axes is None else axes
    count = torch.tensor([shape_of(x)[axis] for axis in axes]).prod().item()
    mean = writer.call("mean.dim", writer.call("square.default", _centred(writer, x, axes)), axes, keep)
    return mean if not correction else writer.call("mul.Tensor", mean, count / (count - correction))


def _centred(writer: Writer, x: Any, axes: list[int]) -> fx.Node:
    """(1)"""
    return writer.call("sub.Tensor", x, writer.call("mean.dim", x, axes, True))


def _divided(writer: Writer, c: Any, axes: list[int], epsilon: float, weight: Any, bias: Any) -> fx.Node:
    """(2)–(4)"""
    variance = writer.call("mean.dim", writer.call("square.default", c), axes, True)
    root = writer.call("sqrt.default", writer.call("add.Scalar", variance, epsilon))
    return writer.call("div.Tensor", _affine(writer, c, root, weight, bias), root)


def _affine(writer: Writer, c: Any, root: fx.Node, weight: Any, bias: Any) -> Any:
    """γ·c + β·s of (4)."""
    scaled = c if weight is None else writer.call("mul.Tensor", c, weight)
    return scaled if bias is None else writer.call("add.Tensor", scaled, writer.call("mul.Tensor", root, bias))


def divide_by_root(writer: Writer) -> list[str]:
    """x·rsqrt(v), with the constant scale and shift that follow, becomes (4); the names of the products that were."""
    written: list[str] = []
    for node in list(calls(writer.graph)):
        found = _rooted(node)
        if found is None:
            continue
        x, reciprocal = found
        end, weight, bias = _constants_after(node, dynamic(writer.graph))
        writer.at(end)
        root = writer.call("sqrt.default", reciprocal.args[0])
        written.append(end.name)
        writer.replace(end, writer.call("div.Tensor", _affine(writer, x, root, weight, bias), root))
    return written


def _rooted(node: fx.Node) -> tuple[fx.Node, fx.Node] | None:
    """The x and the rsqrt(v) of a product, or None."""
    if name_of(node.target) != "aten.mul.Tensor" or not all(isinstance(each, fx.Node) for each in node.args[:2]):
        return None
    for x, other in (node.args[:2], node.args[1::-1]):
        if isinstance(x, fx.Node) and isinstance(other, fx.Node) and other.op == "call_function" and _is_reciprocal_root(other):
            return x, other
    return None


def _is_reciprocal_root(node: fx.Node) -> bool:
    return function_of(node) == "rsqrt" or (function_of(node) == "pow" and args_of(node)[1] == -0.5)


def _constants_after(node: fx.Node, live: set[fx.Node]) -> tuple[fx.Node, Any, Any]:
    """The constant scale and shift that alone read a value, and the last node of them."""
    weight: Any = None
    scale = _only_reader(node, _SCALES, live)
    if scale is not None:
        node, weight = scale
    shift = _only_reader(node, _SHIFTS, live)
    return (node, weight, None) if shift is None or "alpha" in shift[0].kwargs else (shift[0], weight, shift[1])


def _only_reader(node: fx.Node, names: tuple[str, ...], live: set[fx.Node]) -> tuple[fx.Node, Any] | None:
    if len(node.users) != 1:
        return None
    (user,) = node.users
    if user.op != "call_function" or name_of(user.target) not in names or user.meta.get("spec") != node.meta.get("spec"):
        return None
    others = [each for each in user.args[:2] if each is not node]
    return None if len(others) != 1 or others[0] in live else (user, others[0])
