"""
Comparisons: what gives truth values or whole numbers, and of what.

Of the input's own values they are constants, the same at every step: which tokens are padding, which pixels are dark. Of what the network
computes they are none: spikes carry that in levels, over several steps in parts, and a truth value is no current.
"""

from torch import fx

from spikeloom.ir.graph import kind
from spikeloom.ir.rules import Kind, name_of

ELEMENTWISE = ("aten.mul.", "aten.div.", "aten.add.", "aten.sub.", "aten.rsub.", "aten.neg.", "aten.batch_norm.")
"""Linear operations that give an element for an element."""
_ORDERS = ("aten.lt.", "aten.gt.", "aten.le.", "aten.ge.", "aten.eq.", "aten.ne.")
_COMBINED = tuple(f"aten.{name}." for name in ("logical_not", "logical_and", "logical_or", "bitwise_not", "bitwise_and", "bitwise_or"))
_COMPARISONS = (*_ORDERS, *_COMBINED, "aten.__and__.", "aten.__or__.")
_CASTS = ("aten.to.", "aten._to_copy.", "aten.type_as.")
_PLAIN = frozenset({Kind.MOVE, Kind.SHAPE, Kind.CREATE, Kind.MAX, Kind.ADD, Kind.AFFINE, Kind.PRODUCT})


def is_floating(node: fx.Node) -> bool:
    """Whether a value's numbers are floating, as far as is known: neither whole ones nor truth values."""
    spec = node.meta.get("spec")
    return spec is None or "float" in spec[1]


def compares(node: fx.Node) -> bool:
    """Whether a call gives truth values of what it reads: it compares, or combines comparisons."""
    return node.op == "call_function" and name_of(node.target).startswith(_COMPARISONS)


def casts(node: fx.Node) -> bool:
    """Whether a call gives what it reads in another dtype."""
    return node.op == "call_function" and name_of(node.target).startswith(_CASTS)


def judges(node: fx.Node, live: set[fx.Node]) -> bool:
    """Whether a call makes truth values or whole numbers of floating values that the network computed."""
    if not compares(node) and not (casts(node) and not is_floating(node)):
        return False
    return any(is_floating(operand) and not _of_input(operand, live) for operand in node.all_input_nodes if operand in live)


def _of_input(value: fx.Node, live: set[fx.Node]) -> bool:
    """Whether a live value is made of the input's own values without weights and neurons."""
    waiting, met = [value], set[fx.Node]()
    while waiting:
        node = waiting.pop()
        met.add(node)
        if node.op == "call_function":
            weighs = kind(node, live) is Kind.AFFINE and not name_of(node.target).startswith(ELEMENTWISE)
            if kind(node, live) not in _PLAIN or (weighs and any(operand.op == "get_attr" for operand in node.all_input_nodes)):
                return False
            waiting += [operand for operand in node.all_input_nodes if operand in live and operand not in met]
    return True
