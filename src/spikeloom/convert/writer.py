"""
Writing operations into a graph: calls by their ATen names, put before a chosen node, that take over its name and its readers.
"""

import math
from typing import Any, final

import torch
from torch import Tensor, fx

from spikeloom.errors import InternalError
from spikeloom.ir import dynamic, resolve


@final
class Writer:
    """One graph and its tensors under rewriting. `live` is what depends on the input, as of the last `look`."""

    def __init__(self, graph: fx.Graph, tensors: dict[str, Tensor]) -> None:
        self.graph, self.tensors = graph, tensors
        self.place: fx.Node | None = None
        self.live = dynamic(graph)

    def look(self) -> None:
        """See what depends on the input now."""
        self.live = dynamic(self.graph)

    def at(self, node: fx.Node) -> "Writer":
        """The same writer, putting what comes before `node`."""
        self.place = node
        return self

    def call(self, name: str, *args: Any, **kwargs: Any) -> fx.Node:
        """A call of ``aten.<name>``; its shape is known at once."""
        target = resolve(f"aten.{name}")
        if target is None or self.place is None:
            raise InternalError(f"cannot write aten.{name}")
        with self.graph.inserting_before(self.place):
            node = self.graph.call_function(target, args, kwargs)
        fake = fx.map_arg((args, kwargs), _empty)
        value = target(*fake[0], **fake[1])
        node.meta["spec"] = (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        return node

    def again(self, node: fx.Node, x: fx.Node) -> fx.Node:
        """The operation of `node` on `x` in place of what it reads first, a value of the same shape."""
        with self.graph.inserting_before(self.place):
            new = self.graph.create_node("call_function", node.target, (x, *node.args[1:]), dict(node.kwargs))
        new.meta["spec"] = (node.meta["spec"][0], x.meta["spec"][1])
        return new

    def constant(self, name: str, value: Tensor) -> fx.Node:
        """A new constant; a number is added to its name where that is taken."""
        free = next(full for k in range(len(self.tensors) + 1) if (full := f"{name}.{k}") not in self.tensors)
        self.tensors[free] = value
        with self.graph.inserting_before(self.place):
            node = self.graph.get_attr(free)
        node.meta["spec"] = (tuple(value.shape), str(value.dtype).removeprefix("torch."))
        return node

    def replace(self, node: fx.Node, new: fx.Node) -> None:
        """`new` takes the readers of `node` and its name; `node` is gone."""
        node.replace_all_uses_with(new)
        name = node.name
        new.meta.setdefault("spec", node.meta.get("spec"))
        self.graph.erase_node(node)
        new.name = name


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape of a value at the example batch."""
    if not isinstance(node, fx.Node) or node.meta.get("spec") is None:
        raise InternalError(f"the shape of {node} is not known")
    return node.meta["spec"][0]


def size_of(node: fx.Node, axes: tuple[int, ...]) -> int:
    """How many elements a value has along some axes."""
    return math.prod(shape_of(node)[axis] for axis in axes)


def _empty(node: fx.Node) -> Any:
    """A value's stand-in without memory; a size (no tensor) is 2."""
    spec = node.meta.get("spec")
    if spec is None:
        return 2
    return torch.empty(spec[0], dtype=getattr(torch, spec[1]), device="meta")
