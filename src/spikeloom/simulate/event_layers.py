"""
The layers of a netlist for events: what a change of their input changes in their output.

A value that is no event is at rest: spikes rest at 0, currents at what the biases of the layers before them give. Changes from rest run
through linear layers by their weights alone (kernels.scatter); where nothing changes nothing is computed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from spikeloom.errors import InternalError
from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Route, evaluate
from spikeloom.kernels.scatter import scatter_convolution, scatter_linear, scatter_sum


@final
@dataclass(frozen=True, eq=False)
class Change:
    """Where a value differs from rest, and by how much. Places are flat, each once, in no order."""

    index: Int[ndarray, " n"]
    amount: Int[ndarray, " n"]


def merged(changes: list[Change]) -> Change:
    """Changes of one value together, each place once and in order."""
    index, where = np.unique(np.concatenate([np.zeros(0, np.int64), *(change.index for change in changes)]), return_inverse=True)
    amount = np.zeros(len(index), np.int64)
    np.add.at(amount, where, np.concatenate([np.zeros(0, np.int64), *(change.amount for change in changes)]))
    return Change(index, amount)


NOTHING = Change(np.zeros(0, np.int64), np.zeros(0, np.int64))


class Layer(ABC):
    """What an operation makes of changes of its operands."""

    @abstractmethod
    def changed(self, changes: list[Change]) -> Change:
        """The change of the output."""


def rests(netlist: Netlist) -> dict[str, Int[ndarray, "..."]]:
    """What every wire carries [*shape] while no neuron sends anything."""
    zero = np.zeros(netlist.wires[netlist.source.name].shape, np.int64)
    found: dict[str, Int[ndarray, ...]] = {netlist.source.name: zero}
    for operation in netlist.operations:
        wire = netlist.wires[operation.name]
        quiet = wire.spikes and not isinstance(operation, Route)
        at_rest = np.zeros(wire.shape, np.int64)
        found[operation.name] = at_rest if quiet else evaluate(operation, [found[name][None] for name in operation.reads])[0]
    return found


def layer_of(operation: Operation, netlist: Netlist) -> Layer:
    """The layer of an operation that gives sums of what it reads. Raises InternalError for another."""
    shape = netlist.wires[operation.reads[0]].shape
    match operation:
        case Affine():
            return LinearLayer(operation, shape)
        case Convolution():
            return ConvolutionLayer(operation, shape, netlist.wires[operation.name].shape)
        case Pool():
            return SumLayer(operation, shape, netlist.wires[operation.name].shape)
        case Add():
            return AddLayer(operation, shape)
        case Route():
            return RouteLayer(operation, [netlist.wires[name].size for name in operation.reads])
        case _:
            raise InternalError(f"{operation.name} gives no sum of what it reads")


@final
class LinearLayer(Layer):
    """Every row of the operand meets all weights."""

    def __init__(self, operation: Affine, shape: tuple[int, ...]) -> None:
        self.weight = np.ascontiguousarray(operation.weight.T.astype(np.int64))
        self.rows = int(np.prod(shape[:-1]))

    def changed(self, changes: list[Change]) -> Change:
        """Sums over the events of each row."""
        (change,) = changes
        if not len(change.index):
            return NOTHING
        inputs, outputs = self.weight.shape
        acc, rows = np.zeros((self.rows, outputs), np.int64), change.index // inputs
        for row in np.unique(rows):
            here = rows == row
            scatter_linear(self.weight, change.index[here] % inputs, change.amount[here], acc[row])
        index = (np.unique(rows)[:, None] * outputs + np.arange(outputs)).reshape(-1)
        return Change(index, acc.reshape(-1)[index])


@final
class ConvolutionLayer(Layer):
    """An event reaches the windows it lies in."""

    def __init__(self, operation: Convolution, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
        groups = operation.groups
        each = operation.weight.reshape(groups, -1, *operation.weight.shape[1:])  # [G, O/G, I/G, KH, KW]
        self.weight = np.ascontiguousarray(each.transpose(3, 4, 0, 2, 1).reshape(*each.shape[3:], shape[0], each.shape[1]).astype(np.int64))
        self.told = (shape[1:], operation.stride, operation.padding, operation.dilation, groups)
        self.acc, self.touched = np.zeros((*out[1:], out[0]), np.int64), np.zeros(out[1:], np.bool_)

    def changed(self, changes: list[Change]) -> Change:
        """All channels of the pixels that were reached."""
        (change,) = changes
        scatter_convolution(self.weight, change.index, change.amount, self.acc, self.touched, *self.told)
        pixels = np.nonzero(self.touched.reshape(-1))[0]
        rows, area, channels = self.acc.reshape(-1, self.acc.shape[2]), self.touched.size, self.acc.shape[2]
        found = Change((np.arange(channels) * area + pixels[:, None]).reshape(-1), rows[pixels].reshape(-1))
        rows[pixels], self.touched[...] = 0, False
        return found


@final
class SumLayer(Layer):
    """An event is added to the windows it lies in."""

    def __init__(self, operation: Pool, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
        self.told = (shape[1:], operation.kernel, operation.stride, operation.padding)
        self.acc, self.touched = np.zeros((*out[1:], out[0]), np.int64), np.zeros((*out[1:], out[0]), np.bool_)

    def changed(self, changes: list[Change]) -> Change:
        """The windows that were reached."""
        (change,) = changes
        scatter_sum(change.index, change.amount, self.acc, self.touched, *self.told)
        y, x, c = np.nonzero(self.touched)
        found = Change((c * self.acc.shape[0] + y) * self.acc.shape[1] + x, self.acc[y, x, c])
        self.acc[y, x, c], self.touched[y, x, c] = 0, False
        return found


@final
class AddLayer(Layer):
    """Changes times their gains, added where operands meet."""

    def __init__(self, operation: Add, shape: tuple[int, ...]) -> None:
        inner = int(np.prod(shape[operation.axis + 1 :]))
        self.gains = operation.gains
        self.places = lambda index: index // inner % shape[operation.axis]

    def changed(self, changes: list[Change]) -> Change:
        """One entry for each place that any operand changed."""
        scaled = list[Int[ndarray, " n"]]()
        for gain, change in zip(self.gains, changes, strict=True):
            scaled.append(change.amount * (gain[0] if gain.size == 1 else gain[self.places(change.index)]))
        if len(changes) == 1:
            return Change(changes[0].index, scaled[0])
        return merged([Change(change.index, amount) for change, amount in zip(changes, scaled, strict=True)])


@final
class RouteLayer(Layer):
    """A change goes wherever its place is copied to."""

    def __init__(self, operation: Route, sizes: list[int]) -> None:
        self.starts, index = np.cumsum([0, *sizes[:-1]]), operation.index
        self.order = self.first = None
        if index is not None:
            self.order = np.argsort(index, kind="stable")
            self.first = np.searchsorted(index[self.order], np.arange(sum(sizes) + 1))

    def changed(self, changes: list[Change]) -> Change:
        """All copies of what changed."""
        index = np.concatenate([change.index + start for change, start in zip(changes, self.starts, strict=True)])
        amount = np.concatenate([change.amount for change in changes])
        if self.order is None or self.first is None:
            return Change(index, amount)
        copies = self.first[index + 1] - self.first[index]
        begin = np.repeat(self.first[index] - np.cumsum(copies) + copies, copies)
        return Change(self.order[begin + np.arange(int(copies.sum()))], np.repeat(amount, copies))


def fan_out(operation: Operation, shape: tuple[int, ...], *, weights: bool) -> Int[ndarray, " n"]:
    """How many synapses each place of the operand has: all, or those whose weight is not 0."""
    x = torch.zeros((1, *shape), dtype=torch.float64, requires_grad=True)
    if isinstance(operation, Pool):
        told = (operation.kernel, operation.stride, operation.padding)
        y = torch.nn.functional.avg_pool2d(x, *told, divisor_override=1)
    elif isinstance(operation, Affine | Convolution):
        w = torch.from_numpy((operation.weight != 0).astype(np.float64) if weights else np.ones(operation.weight.shape))
        if isinstance(operation, Affine):
            y = x @ w.T
        else:
            options = (operation.stride, operation.padding, operation.dilation, operation.groups)
            y = torch.nn.functional.conv2d(x, w, None, *options)
    else:
        return np.zeros(int(np.prod(shape)), np.int64)
    return torch.autograd.grad(y.sum(), x)[0].numpy().astype(np.int64).reshape(-1)
