"""
Capture: a torch module becomes a program of the ANN dialect through `torch.export`, with a dynamic batch dimension.

The exported graph is kept at ATen's own level (`run_decompositions({})`: convolution, linear, batch norm, layer norm,
GELU, attention stay one node each). Dropout, copies and guards go; whatever depends on no input is computed once.

Source: torch.export (https://docs.pytorch.org/docs/stable/export.html).
"""

import contextlib
import dataclasses
import inspect
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from spikeloom.capture.halves import casts_to_half, in_dtype, in_full
from spikeloom.errors import UnsupportedError
from spikeloom.ir import RULES, Dialect, Program, TensorSpec, calls, constant_name, dynamic, name_of, shaped, source_of, swept, target_of

log = logging.getLogger(__name__)

FOLD_LIMIT_BYTES = 256 * 2**20
_COPIES = frozenset(
    f"aten.{name}.default"
    for name in ("alias", "clone", "contiguous", "detach", "detach_", "lift_fresh_copy", "dropout", "feature_dropout")
)
_CASTS = frozenset({"aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten._to_copy.default", "aten.type_as.default"})
_FUSED = {"aten.addcmul.default": torch.ops.aten.mul.Tensor, "aten.addcdiv.default": torch.ops.aten.div.Tensor}
_MAXIMA = frozenset({"aten.maximum.default", "aten.max.other"})
_VIEWS = frozenset({"aten.view.default", "aten._unsafe_view.default"})
_GUARDS = frozenset(
    f"aten.{name}.default" for name in ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size")
)


def set_eval(model: nn.Module) -> None:
    """The model is in eval mode; a module that came out of `torch.export` has no modes and stays as it is."""
    with contextlib.suppress(NotImplementedError):
        model.eval()


def export_model(
    model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], lengths: int | None = None
) -> tuple[ExportedProgram, bool]:
    """The exported program and whether its batch dimension is dynamic; the model is put in eval mode and not changed.

    A model whose graph fixes the batch is exported with the batch it was given. Where `lengths` is a size of the example, further
    dimensions of that size vary too (the length of a text). Raises UnsupportedError where
    `torch.export` cannot take the model at all.
    """
    set_eval(model)
    batch = next(value.shape[0] for value in pytree.tree_leaves((args, dict(kwargs))) if isinstance(value, Tensor) and value.dim() > 0)
    failure: Exception | None = None
    for dim in (Dim.DYNAMIC, None):
        inputs, words = pytree.tree_map(_fresh, (args, dict(kwargs)))
        shapes = pytree.tree_map(lambda value, dim=dim: _dims(value, batch, dim, lengths), (inputs, words))
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exported = export(model, inputs, words, dynamic_shapes=_shapes(model, *shapes) if dim else None, strict=False)
                return exported.run_decompositions({}), dim is not None
        except Exception as error:
            log.debug("export with batch %s failed: %s", dim, error)
            failure = failure or error
    reason = str(failure).strip().splitlines()[0] if str(failure).strip() else type(failure).__name__
    raise UnsupportedError(
        f"torch.export cannot capture {type(model).__name__}",
        found=reason,
        todo="remove control flow that depends on values from forward(), or export it yourself and give `pt2:<file>`",
    ) from failure


def _fresh(value: Any) -> Any:
    """A tensor that no earlier attempt has marked: `export` writes on its example which dimensions vary."""
    return value.detach().clone() if isinstance(value, Tensor) else value


def _dims(value: Any, batch: int, dim: Any, lengths: int | None) -> Any:
    if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != batch:
        return None
    return {0: dim} | {place: dim for place, size in enumerate(value.shape) if place > 0 and size == lengths}


def _shapes(model: nn.Module, args: Any, kwargs: Any) -> Any:
    names = [name for name, parameter in inspect.signature(model.forward).parameters.items() if parameter.kind != parameter.VAR_KEYWORD]
    if any(parameter.kind == parameter.VAR_POSITIONAL for parameter in inspect.signature(model.forward).parameters.values()):
        return {names[0]: tuple(args), **kwargs} if len(names) == 1 else (*args, *kwargs.values())
    return {**dict(zip(names, args, strict=False)), **kwargs}


def capture(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    structure: Mapping[str, str] | None = None,
    lengths: int | None = None,
) -> Program:
    """The program of a model at example inputs (batch of 2 or more).

    Its outputs equal the model's; where the model returns a mapping or a dataclass of tensors, the program returns a
    dict. `settings` is kept with the program. Operations outside the rule tables are kept for `check` to name. `structure` names
    inputs that tell positions or masks (`ir.structure_of`); `lengths` is the size of the example that varies besides the batch. A model
    in half precision becomes a float32 program, and its weights stay as they are; one that casts values to half precision itself is
    captured with its casts.
    """
    given, named = tuple(args), dict(kwargs or {})
    with in_full(model) as handles:
        if handles:
            exported, batched = export_model(model, in_dtype(given, torch.float32), in_dtype(named, torch.float32), lengths)
            if not casts_to_half(exported):
                return program_of(exported, batched, settings or {}, structure, handles)
    exported, batched = export_model(model, given, named, lengths)
    return program_of(exported, batched, settings or {}, structure)


def program_of(
    exported: ExportedProgram,
    is_dynamic: bool,
    settings: Mapping[str, Any],
    structure: Mapping[str, str] | None = None,
    handles: Mapping[int, Tensor] | None = None,
) -> Program:
    """An exported program (already functional, ATen level) as a program of the ANN dialect; `handles` take the places of the
    parameters at their addresses (`halves`)."""
    graph, tensors, inputs = _lifted(exported, is_dynamic)
    tensors = {name: (handles or {}).get(tensor.data_ptr(), tensor) for name, tensor in tensors.items()}
    for node in graph.nodes:
        if node.op == "placeholder" and node.name in (structure or {}):
            node.meta["note"] = {"structure": dict(structure or {})[node.name]}
    program = Program(graph, tensors, Dialect.ANN, inputs, settings=dict(settings))
    for tidy in (_plain_batch_norm, _plain_maximum, _without_copies, _views_as_reshapes, _unfused):
        tidy(program.graph)
    program = folded(swept(program))
    _without_idle_bounds(program)
    _numbers_chosen(program)
    program = swept(program)
    return shaped(program) if _all_known(program) else program


def _all_known(program: Program) -> bool:
    return all(name_of(node.target) in RULES for node in calls(program.graph))


def _lifted(exported: ExportedProgram, is_dynamic: bool) -> tuple[fx.Graph, dict[str, Tensor], tuple[TensorSpec, ...]]:
    """The exported graph with parameters as constants of their own names, and the outputs in their Python structure."""
    graph, seen = fx.Graph(), dict[fx.Node, Any]()
    tensors: dict[str, Tensor] = {}
    inputs: list[TensorSpec] = []
    weights: dict[str, Any] = {**exported.constants, **exported.state_dict}
    specs = {spec.arg.name: spec for spec in exported.graph_signature.input_specs}
    mutated = [spec for spec in exported.graph_signature.output_specs if spec.kind is not OutputKind.USER_OUTPUT]
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            spec = specs[node.name]
            if isinstance(spec.arg, ConstantArgument):
                seen[node] = spec.arg.value
            elif spec.kind is InputKind.USER_INPUT:
                seen[node] = graph.placeholder(node.name)
                seen[node].target = seen[node].name  # fx renames what is also a Python builtin: `input` is `input_1` everywhere
                inputs.append(_spec_of(seen[node].name, node.meta["val"], is_dynamic))
            else:
                tensors[str(spec.target)] = weights[str(spec.target)].detach()
                seen[node] = graph.get_attr(str(spec.target))
        elif node.op == "output":
            flat = [seen.get(value, value) if isinstance(value, fx.Node) else value for value in node.args[0][len(mutated) :]]
            structure = exported.call_spec.out_spec
            graph.output(_plain(flat if structure is None else pytree.tree_unflatten(flat, structure)))
        elif _is_idle_cast(node):
            seen[node] = seen[source_of(node)]
        else:
            seen[node] = graph.node_copy(node, lambda operand: seen[operand])
            seen[node].meta = {}
    return graph, tensors, tuple(inputs)


def _is_idle_cast(node: fx.Node) -> bool:
    """Whether a cast gives the dtype that its value has already; such casts are how exported models guard mixed precision."""
    if node.op != "call_function" or name_of(node.target) not in _CASTS or not isinstance(node.args[0], fx.Node):
        return False
    before, after = node.args[0].meta["val"], node.meta["val"]
    return before.dtype == after.dtype and before.device == after.device


def _spec_of(name: str, value: Tensor, is_dynamic: bool) -> TensorSpec:
    shape = tuple(_hint(size) for size in value.shape)
    varies = [place for place, size in enumerate(value.shape) if is_dynamic and isinstance(size, torch.SymInt)]
    return TensorSpec(name, shape, str(value.dtype).removeprefix("torch."), 0 in varies, tuple(place for place in varies if place > 0))


def _hint(size: int | torch.SymInt) -> int:
    """A size as a number; a dynamic one at the example's, else 2."""
    return int(size.node.hint or 2) if isinstance(size, torch.SymInt) else int(size)


def _plain(value: Any) -> Any:
    """Outputs as plain Python: a lone tensor, tuples, and dicts for mappings and dataclasses (None left out)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, Mapping):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        items = tuple(_plain(item) for item in value)
        return items[0] if len(items) == 1 else items
    return value


def _plain_batch_norm(graph: fx.Graph) -> None:
    for node in list(calls(graph)):
        if name_of(node.target) == "aten._native_batch_norm_legit_no_training.default":
            x, weight, bias, mean, variance, momentum, epsilon = node.args
            with graph.inserting_before(node):
                args = (x, weight, bias, mean, variance, False, momentum, epsilon, False)
                twin = graph.call_function(torch.ops.aten.batch_norm.default, args)
            for user in list(node.users):
                user.replace_all_uses_with(twin)
                graph.erase_node(user)
            graph.erase_node(node)


def _plain_maximum(graph: fx.Graph) -> None:
    """A maximum along a dimension whose indices nothing reads is the maximum alone."""
    for node in list(graph.nodes):
        if node.op != "call_function" or name_of(node.target) != "aten.max.dim" or any(user.args[1] != 0 for user in node.users):
            continue
        x, dim, *keep = node.args
        with graph.inserting_before(node):
            twin = graph.call_function(torch.ops.aten.amax.default, (x, [dim], *keep))
        for user in list(node.users):
            user.replace_all_uses_with(twin)
            graph.erase_node(user)
        graph.erase_node(node)


def _without_idle_bounds(program: Program) -> None:
    """A maximum with the lowest finite number is its other operand: a bound that masked scores are kept at."""
    for node in list(calls(program.graph)):
        if name_of(node.target) not in _MAXIMA:
            continue
        for x, bound in (node.args[:2], node.args[1::-1]):
            lowest = isinstance(bound, fx.Node) and bound.op == "get_attr" and _is_lowest(program.tensors[constant_name(bound)])
            if lowest and isinstance(x, fx.Node) and node.users:
                node.replace_all_uses_with(x)


def _is_lowest(bound: Tensor) -> bool:
    return bound.numel() == 1 and bound.is_floating_point() and float(bound) <= torch.finfo(bound.dtype).min


def _numbers_chosen(program: Program) -> None:
    """A choice between a value and a constant that is one number is written with that number."""
    for node in list(calls(program.graph)):
        if name_of(node.target) != "aten.where.self":
            continue
        condition, *chosen = node.args
        numbers = [_number(value, program.tensors) for value in chosen]
        if sum(number is not None for number in numbers) == 1:
            node.target = torch.ops.aten.where.ScalarSelf if numbers[0] is not None else torch.ops.aten.where.ScalarOther
            node.args = (condition, *(value if number is None else number for value, number in zip(chosen, numbers, strict=True)))


def _number(value: Any, tensors: Mapping[str, Tensor]) -> float | None:
    """The number that a floating constant without axes holds; None for any other value."""
    held = tensors[constant_name(value)] if isinstance(value, fx.Node) and value.op == "get_attr" else None
    return float(held) if held is not None and held.dim() == 0 and held.is_floating_point() else None


def _without_copies(graph: fx.Graph) -> None:
    for node in list(calls(graph)):
        name = name_of(node.target)
        if name in _GUARDS:
            graph.erase_node(node)
        elif name in _COPIES or _is_whole_slice(node, name):
            node.replace_all_uses_with(source_of(node))
            graph.erase_node(node)


def _views_as_reshapes(graph: fx.Graph) -> None:
    """Views become reshapes: with the copies gone, a value may have other strides than the view was traced with."""
    for node in calls(graph):
        if name_of(node.target) in _VIEWS:
            node.target = torch.ops.aten.reshape.default


def _is_whole_slice(node: fx.Node, name: str) -> bool:
    if name != "aten.slice.Tensor":
        return False
    end = node.args[3] if len(node.args) > 3 else None
    return node.args[2:3] in ((), (0,), (None,)) and end in (None, 2**63 - 1) and node.args[4:5] in ((), (1,))


def _unfused(graph: fx.Graph) -> None:
    """a + v·b·c and a + v·b/c, one operation in ATen, become the product and the sum they are."""
    for node in list(calls(graph)):
        name = name_of(node.target)
        if name in _FUSED:
            addend, left, right = node.args
            with graph.inserting_before(node):
                product = graph.call_function(_FUSED[name], (left, right))
                scale = {"alpha": value} if (value := node.kwargs.get("value", 1)) != 1 else {}
                total = graph.call_function(torch.ops.aten.add.Tensor, (addend, product), scale)
            node.replace_all_uses_with(total)
            graph.erase_node(node)


def folded(program: Program) -> Program:
    """The program with every value that depends on no input (nor on the batch) computed once and kept as a constant."""
    live = dynamic(program.graph)
    sized = _depends_on_sizes(program.graph)
    values: dict[fx.Node, Any] = {}
    tensors = dict(program.tensors)
    for node in list(program.graph.nodes):
        if node.op == "get_attr":
            values[node] = tensors[constant_name(node)]
        elif node.op == "call_function" and node not in live and node not in sized and _computable(node, values):
            args, kwargs = fx.map_arg((node.args, node.kwargs), lambda operand: values[operand])
            with torch.no_grad():
                values[node] = target_of(node)(*args, **kwargs)
    for node in [node for node in values if node.op == "call_function"]:
        if isinstance(values[node], Tensor) and any(user not in values for user in node.users):
            with program.graph.inserting_before(node):
                name = f"folded.{node.name}"
                tensors[name] = values[node].detach().contiguous()
                twin = program.graph.get_attr(name)
            node.replace_all_uses_with(twin, delete_user_cb=lambda user: user not in values)
    return swept(program.replaced(tensors=tensors))


def _depends_on_sizes(graph: fx.Graph) -> set[fx.Node]:
    found: set[fx.Node] = set()
    for node in graph.nodes:
        named = node.op == "call_function" and name_of(node.target).startswith(("aten.sym_", "torch.sym_"))
        if named or any(operand in found or operand.op == "placeholder" for operand in node.all_input_nodes):
            found.add(node)
    return found


def _computable(node: fx.Node, values: Mapping[fx.Node, Any]) -> bool:
    rule = RULES.get(name_of(node.target))
    if rule is None or any(operand not in values for operand in node.all_input_nodes):
        return False
    size = sum(value.nbytes for operand in node.all_input_nodes if isinstance(value := values[operand], Tensor))
    return size <= FOLD_LIMIT_BYTES
