"""
Sums that have no place in whole numbers.

A current gets one unit for each place of one axis (`currents`), so what is summed while it is a current must have its channels on one axis.
Followed here is what lowering does: a layer's current has the axis of its outputs; sums, and products with a number, keep it; what several
operations read, and what anything else reads, becomes a wire, whose axis is free.
"""

from torch import fx

from spikeloom.ir import Kind, Program, kind, name_of

LAYERS = ("aten.linear.", "aten.conv1d.", "aten.conv2d.")
SCALES = ("aten.mul.", "aten.div.", "aten.neg.")
SUMS = ("aten.add.", "aten.sub.", "aten.rsub.")
Problem = tuple[str, str]
"""What is allowed, and what to do."""
Axes = dict[fx.Node, int | None]
"""The axis of a sample on which a current's channels lie, by the node that gives it; none where it is free."""


def unsummable(program: Program, live: set[fx.Node]) -> dict[fx.Node, Problem]:
    """The sums of a program that cannot be in whole numbers."""
    axes, found = Axes(), dict[fx.Node, Problem]()
    for node in program.graph.nodes:
        if node.op != "call_function" or node not in live:
            continue
        name, what = name_of(node.target), kind(node, live)
        if what is Kind.AFFINE and name.startswith(LAYERS):
            axes[node] = len(shape_of(node, program)) - 2 if name.startswith("aten.linear.") else 0
        elif what is Kind.AFFINE and name.startswith(SCALES):
            axes[node] = next((_current(operand, axes) for operand in node.all_input_nodes if operand in live), None)
        elif what is Kind.ADD and name.startswith(SUMS):
            axes[node], problem = _sum(node, program, live, axes)
            if problem is not None:
                found[node] = problem
    return found


def shape_of(node: fx.Node, program: Program) -> tuple[int, ...]:
    """The shape of what a node gives, of a constant without a batch; () where it is not known."""
    if node.op == "get_attr":
        return tuple(program.tensor(node).shape)
    return tuple(node.meta["spec"][0]) if "spec" in node.meta else ()


def _current(operand: fx.Node, axes: Axes) -> int | None:
    """The axis of an operand's channels; none where it is free."""
    return None if len(operand.users) > 1 else axes.get(operand)


def _sum(node: fx.Node, program: Program, live: set[fx.Node], axes: Axes) -> tuple[int | None, Problem | None]:
    """The axis of a sum's channels, and what stands against it."""
    shape, axis = shape_of(node, program)[1:], None
    for operand in (operand for operand in node.args[:2] if isinstance(operand, fx.Node)):
        size = shape_of(operand, program)
        if operand not in live:
            axis, fits = _with_constant(axis, size, shape)
            if not fits:
                return axis, ("a constant of one number for each channel", "fold the constant into a layer")
            continue
        if size[1:] != shape:
            return axis, ("operands of one shape", "expand the smaller one")
        other = _current(operand, axes)
        if axis is not None and other is not None and axis != other:
            return axis, ("currents whose channels lie on one axis", "move the axes of one before they are summed")
        axis = other if axis is None else axis
    return axis, None


def _with_constant(axis: int | None, size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int | None, bool]:
    """The axis of a current's channels once a constant is added, and whether it can be."""
    places = [place - len(size) + len(shape) for place, side in enumerate(size) if side > 1]
    if not places:
        return axis, True
    fits = len(places) == 1 and places[0] >= 0 and axis in (None, places[0])
    return places[0], fits
