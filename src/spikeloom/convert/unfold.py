"""
Unfolding: functions of several values are taken apart, exactly, into what neurons do: scalar functions, sums, maxima, products.

    softmax, attention                     `attention`
    LayerNorm, RMSNorm, GroupNorm, x·v^-½  `norm`
    a / b                                  a · (1/b)
    ‖x‖₂                                   √Σx²
    the k largest, and what they choose    `selection`

What comes out is an ANN program that computes the same; each new scalar function becomes a population of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from torch import fx

from spikeloom.convert.attention import unfold_attention, unfold_log_softmax, unfold_softmax
from spikeloom.convert.norm import divide_by_root, unfold_group_norm, unfold_layer_norm, unfold_norm, unfold_rms_norm, unfold_variance
from spikeloom.convert.selection import unfold_topk
from spikeloom.convert.writer import Writer
from spikeloom.errors import ConfigError
from spikeloom.ir import Context, Dialect, Pass, Program, calls, clone, dynamic, function_of, shaped, swept, unfolds

Unfolding = Callable[[Writer, fx.Node], fx.Node]
ATTENTION: dict[str, Unfolding] = {"scaled_dot_product_attention": unfold_attention}
NEURONS: dict[str, Unfolding] = {
    "softmax": unfold_softmax,
    "_softmax": unfold_softmax,
    "log_softmax": unfold_log_softmax,
    "layer_norm": unfold_layer_norm,
    "rms_norm": unfold_rms_norm,
    "group_norm": unfold_group_norm,
    "linalg_vector_norm": unfold_norm,
    "var": unfold_variance,
}
PARTS = ("all", "attention")


def unfold_division(writer: Writer, node: fx.Node) -> fx.Node:
    """a / b = a · (1/b)."""
    return writer.call("mul.Tensor", node.args[0], writer.call("reciprocal.default", node.args[1]))


@final
@dataclass(frozen=True)
class Unfold(Pass):
    """Takes functions of several values apart. `parts` 'attention' opens fused attention alone, so that its operands can be seen."""

    parts: str = "all"

    takes: ClassVar[frozenset[Dialect]] = frozenset({Dialect.ANN, Dialect.QNN})
    touches: ClassVar[frozenset[str]] = frozenset({"nodes", "tensors"})
    papers: ClassVar[tuple[str, ...]] = ("Carandini & Heeger 2012, doi:10.1038/nrn3136 (divisive normalisation)",)

    def __call__(self, program: Program, context: Context) -> Program:
        if self.parts not in PARTS:
            raise ConfigError("parts to unfold are unknown", found=self.parts, allowed=", ".join(PARTS))
        writer = Writer(clone(program.graph), dict(program.tensors))
        opened = [node.name for node in list(calls(writer.graph)) if self._open(writer, node, ATTENTION)]
        if self.parts == "all":
            writer.look()
            for node in [node for node in calls(writer.graph) if function_of(node) == "topk" and unfolds(node, writer.live)]:
                opened.append(node.name)
                unfold_topk(writer, node)
            opened += [node.name for node in list(calls(writer.graph)) if self._open(writer, node, NEURONS)]
            opened += divide_by_root(writer)
            live = dynamic(writer.graph)
            rest = [node for node in calls(writer.graph) if function_of(node) == "div" and unfolds(node, live)]
            for node in rest:
                opened.append(node.name)
                writer.replace(node, unfold_division(writer.at(node), node))
        writer.graph.lint()
        after = swept(program.replaced(graph=writer.graph, tensors=writer.tensors))
        return shaped(after).recorded(self.record(unfolded=opened))

    def _open(self, writer: Writer, node: fx.Node, table: dict[str, Unfolding]) -> bool:
        live = writer.live
        if node not in live or function_of(node) not in table or not unfolds(node, live):
            return False
        writer.replace(node, table[function_of(node)](writer.at(node), node))
        return True
