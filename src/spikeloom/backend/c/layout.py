"""
How the numbers of each wire lie in memory, and which wires share a buffer.

Pictures [C, H, W] lie with their channels innermost, with a frame of zeros as wide as the convolutions that read them look beyond the edge;
all else lies as it is counted. Where two operations want different forms, a `Convert` is put between them; a reshaping that moves nothing
is no work at all, and what only weights read keeps whatever order it has: the weights are put into that order.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.ir.hardware import Add, Affine, Convolution, Netlist, Operation, Pool, Population, Requantise, Route, Wire

Elementwise = Add | Requantise | Population
Pair = tuple[int, int]


@final
@dataclass(frozen=True)
class Convert:
    """The same numbers in another form, `plus` a number."""

    name: str
    reads: tuple[str, ...]
    plus: int = 0


Work = Operation | Convert


@final
@dataclass(frozen=True, eq=False)
class Layout:
    """Where each number of a wire lies: in an image y, x, channel with a frame of zeros, else in order, or in `order`, for flat wires that
    are images unrolled."""

    shape: tuple[int, ...]
    image: bool = False
    halo: Pair = (0, 0)
    order: Int[ndarray, " n"] | None = None

    @property
    def pitch(self) -> int:
        """Numbers from one row of an image to the next, frame included; of others, from one run of the last axis to the next."""
        if self.image:
            return (self.shape[2] + 2 * self.halo[1]) * self.shape[0]
        return self.shape[-1] if self.shape else 1

    @property
    def size(self) -> int:
        """How many numbers the buffer holds, frame included."""
        if self.image:
            return (self.shape[1] + 2 * self.halo[0]) * self.pitch
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def rows(self) -> int:
        """Rows of an image, or runs of the last axis."""
        return self.shape[1] if self.image else self.size // self.pitch

    @property
    def row(self) -> int:
        """Numbers in a row, frame left out."""
        return self.shape[0] * self.shape[2] if self.image else self.pitch

    @property
    def origin(self) -> int:
        """Where the first number lies."""
        return self.halo[0] * self.pitch + self.halo[1] * self.shape[0] if self.image else 0

    @property
    def places(self) -> Int[ndarray, " n"]:
        """Where each number lies, in the order in which the wire counts them."""
        if not self.image:
            return np.arange(self.size) if self.order is None else self.order
        c, y, x = (np.arange(side) for side in self.shape)
        return (self.origin + c[:, None, None] + y[None, :, None] * self.pitch + x[None, None, :] * self.shape[0]).reshape(-1)


@final
@dataclass
class Laid:
    """The work of a netlist in order with what each wire is and how it lies; `same` leads from a wire to the one whose buffer it shares."""

    netlist: Netlist
    work: list[Work] = field(default_factory=list[Work])
    wires: dict[str, Wire] = field(default_factory=dict[str, Wire])
    layouts: dict[str, Layout] = field(default_factory=dict[str, Layout])
    same: dict[str, str] = field(default_factory=dict[str, str])

    def root(self, name: str) -> str:
        """The wire whose buffer a wire lies in."""
        while name in self.same:
            name = self.same[name]
        return name

    def readers(self, name: str) -> list[Work]:
        """The work that reads a wire."""
        return [work for work in self.work if name in work.reads]

    def __iter__(self) -> Iterator[Work]:
        """What is work: sharing a buffer is none."""
        return (work for work in self.work if work.name not in self.same)


@final
@dataclass(frozen=True)
class Wishes:
    """What kernels want: `framed` a frame of zeros around what a convolution reads; `raised` what its input, and it, are raised by;
    `beyond` to look a few bytes beyond the end of what is read (never so at the network's input, which is the caller's)."""

    framed: Callable[[Convolution, Wire], bool]
    raised: Callable[[Affine | Convolution, Wire], int]
    raise_by: Callable[[Affine | Convolution, int], Affine | Convolution]
    beyond: Callable[[Work, Wire], bool]


def laid_out(netlist: Netlist, wishes: Wishes) -> Laid:
    """Forms for all wires."""
    laid, beyond, framed = Laid(netlist, wires=dict(netlist.wires)), wishes.beyond, wishes.framed
    image = _images(netlist)
    for operation in netlist.operations:
        laid.work.append(_reading(laid, operation, image, wishes))
    for name, wire in laid.wires.items():
        pads = [w.padding for w in laid.readers(name) if isinstance(w, Convolution) and framed(w, wire)] if image[name] else []
        halo = (max((pad[0] for pad in pads), default=0), max((pad[1] for pad in pads), default=0))
        laid.layouts[name] = Layout(wire.shape, image[name], halo)
    for work in laid.work:
        if isinstance(work, Route | Convert):
            _share(laid, work, beyond)
    return laid


def _images(netlist: Netlist) -> dict[str, bool]:
    """Which wires lie as images."""
    image = {netlist.source.name: False}
    for operation in netlist.operations:
        match operation:
            case Convolution() | Pool():
                made = True
            case Affine():
                made = False
            case Route():
                made = len(operation.shape) == 3 and any(isinstance(w, Convolution | Pool | Add) for w in netlist.readers(operation.name))
            case _:
                made = any(image[read] for read in operation.reads)
        image[operation.name] = made
    return image


def _reading(laid: Laid, operation: Operation, image: dict[str, bool], wishes: Wishes) -> Operation:
    """An operation that reads what lies as it wants it; conversions are put before it."""
    by = wishes.raised(operation, laid.wires[operation.reads[0]]) if isinstance(operation, Affine | Convolution) else 0
    reads = tuple(_wanted(laid, operation, read, image, wishes.beyond, by) for read in operation.reads)
    if by and isinstance(operation, Affine | Convolution):
        operation = wishes.raise_by(operation, by)
    return operation if reads == operation.reads else dataclasses.replace(operation, reads=reads)


def _wanted(laid: Laid, operation: Operation, read: str, image: dict[str, bool], beyond: Callable[[Work, Wire], bool], by: int) -> str:
    """The wire that an operation reads in place of `read`: itself, or converted."""
    match operation:
        case Convolution() | Pool():
            wanted = True
        case Affine():
            wanted = False
        case Route():
            wanted = image[read]
        case _:
            wanted = image[operation.name]
    copied = read == laid.netlist.source.name and beyond(operation, laid.wires[read])
    if image[read] == wanted and not copied and not by:
        return read
    name = f"{read}@{'image' if wanted else 'flat'}{by or ''}"
    if name not in laid.wires:
        wire = laid.wires[read]
        laid.work.append(Convert(name, (read,), by))
        laid.wires[name] = Wire(wire.shape, wire.low + by, wire.high + by, wire.spikes)
        image[name] = wanted
    return name


def _share(laid: Laid, work: Route | Convert, beyond: Callable[[Work, Wire], bool]) -> None:
    """Lets a wire lie where the one lies that it is made of, if nothing moves."""
    read, readers = work.reads[0], laid.readers(work.name)
    if len(work.reads) > 1 or (isinstance(work, Route) and work.index is not None) or (isinstance(work, Convert) and work.plus):
        return
    source, target = laid.layouts[read], laid.layouts[work.name]
    foreign = laid.root(read) == laid.netlist.source.name
    if foreign and any(beyond(reader, laid.wires[work.name]) for reader in readers):
        return
    if target.size == source.size and bool((source.places == target.places).all()):
        laid.same[work.name] = read
        return
    moved = len(target.shape) == 1 and source.halo == (0, 0) and work.name != laid.netlist.output
    if moved and all(isinstance(reader, Affine | Route) for reader in readers):
        laid.same[work.name] = read
        laid.layouts[work.name] = Layout(target.shape, order=source.places)
