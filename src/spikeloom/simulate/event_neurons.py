"""
Neurons and maxima for events: at a tick's end only those are looked at that something reached, or that go on by themselves.

A membrane goes on by itself where a bias, a leak or a decay changes it at every tick, or where it holds enough for another spike.
"""

from abc import ABC, abstractmethod
from typing import final

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from spikeloom.errors import InternalError
from spikeloom.ir.hardware import Netlist, Pool, Population, Requantise, pooled, requantised
from spikeloom.simulate.event_layers import Change


class End(ABC):
    """What waits for a tick's end: it needs all of what it reads."""

    @abstractmethod
    def tick(self, change: Change) -> Change:
        """What it sends for the changes, since rest, of what it reads (each place once, in order)."""


@final
class EventPopulation(End):
    """A population between events; `updates` counts how many neurons were looked at."""

    def __init__(self, operation: Population, rest: Int[ndarray, "..."]) -> None:
        shape, membrane = rest.shape, operation.membrane
        inner, size = int(np.prod(shape[operation.axis + 1 :])), rest.size
        self.operation, self.membrane, self.rest, self.updates = operation, membrane, rest.reshape(-1), 0
        self.channel = np.arange(size) // inner % shape[operation.axis]
        self.everyone = np.arange(size)
        self.steady = membrane is not None and (bool(rest.any()) or membrane.decays or membrane.leaks)
        self.v = np.zeros(size, np.int64) if membrane is None else self._of(membrane.initial, self.everyone).copy()
        self.waiting = self.everyone[self._moves(self.everyone, self.rest if membrane is None else self.v)]

    def tick(self, change: Change) -> Change:
        """What is sent for the changes of the current since rest (each place once)."""
        here = self.everyone if self.steady else np.union1d(change.index, self.waiting)
        current = self.rest[here].copy()
        current[np.searchsorted(here, change.index)] += change.amount
        self.updates += len(here)
        sent = self._fire(here, current)
        return Change(here[sent != 0], sent[sent != 0])

    def _fire(self, here: Int[ndarray, " n"], current: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
        if self.membrane is None:
            return self._row(self.operation.heights, here, self._crossed(here, current))
        kept = self.v[here]
        if self.membrane.decays:
            kept = (self._of(self.membrane.decay, here) * kept) >> self.membrane.decay_shift
        h = kept + current - self._of(self.membrane.leak, here)
        crossed = self._crossed(here, h)
        if self.membrane.reset == "subtract":
            after = h - self._row(self.membrane.taken, here, crossed)
        else:
            after = np.where(crossed == self._silent(here), h, 0)
        self.v[here] = after
        if not self.steady:
            self.waiting = here[self._moves(here, after)]
        return self._row(self.operation.heights, here, crossed)

    def _moves(self, here: Int[ndarray, " n"], h: Int[ndarray, " n"]) -> ndarray:
        """Whether a neuron at h, with no current, would send something or change."""
        crossed = self._crossed(here, h)
        sends = self._row(self.operation.heights, here, crossed) != 0
        if self.membrane is None:
            return sends
        if self.membrane.reset == "subtract":
            return sends | (self._row(self.membrane.taken, here, crossed) != 0)
        return sends | (crossed != self._silent(here))

    def _crossed(self, here: Int[ndarray, " n"], h: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
        rows = self.operation.thresholds
        if rows.shape[0] == 1:
            return np.searchsorted(rows[0], h, side="right")
        return (rows[self.channel[here]] <= h[:, None]).sum(1)

    def _silent(self, here: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
        return self._of((self.operation.thresholds <= 0).sum(1), here)

    def _of(self, values: Int[ndarray, " c"], here: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
        return np.full(len(here), values[0]) if values.size == 1 else values[self.channel[here]]

    def _row(self, table: Int[ndarray, "c k"], here: Int[ndarray, " n"], crossed: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
        return table[0][crossed] if table.shape[0] == 1 else table[self.channel[here], crossed]


@final
class EventRequantise(End):
    """What changed is requantised anew."""

    def __init__(self, operation: Requantise, rest: Int[ndarray, "..."]) -> None:
        self.operation, self.rest = operation, rest
        self.at_rest = requantised(operation, rest[None])[0].reshape(-1)

    def tick(self, change: Change) -> Change:
        """The differences to what it is at rest."""
        now = self.rest.reshape(-1).copy()
        now[change.index] += change.amount
        after = requantised(self.operation, now.reshape(1, *self.rest.shape))[0].reshape(-1)[change.index]
        return Change(change.index, after - self.at_rest[change.index])


@final
class EventMaximum(End):
    """A maximum over windows between events, of one tick (T = 1) or of sums since the first, of which it sends the changes. Where currents
    that rest elsewhere than at 0 are read, all windows are computed."""

    def __init__(self, operation: Pool, netlist: Netlist, rest: Int[ndarray, "..."]) -> None:
        self.operation, self.rest, self.over_time = operation, rest, netlist.timesteps > 1
        self.everything = bool(rest.any())
        self.values = np.zeros(rest.size, np.int64)
        self.before = np.zeros(netlist.wires[operation.name].size, np.int64)
        self.at_rest = pooled(operation, rest[None])[0].reshape(-1)
        numbered = np.arange(1, rest.size + 1).reshape(rest.shape)
        self.windows = _windows(operation, numbered) - 1
        order = np.argsort(self.windows.reshape(-1), kind="stable")
        self.order = order // self.windows.shape[1]
        self.first = np.searchsorted(self.windows.reshape(-1)[order], np.arange(rest.size + 1))

    def tick(self, change: Change) -> Change:
        """What it sends for the changes of what it reads."""
        if not self.over_time:
            self.values[:] = 0
        if self.everything:
            return self._whole(change)
        self.values[change.index] += change.amount
        where = np.unique(np.concatenate([self.order[self.first[i] : self.first[i + 1]] for i in change.index] or [np.zeros(0, np.int64)]))
        lowest = np.iinfo(np.int64).min
        found = np.where(self.windows[where] < 0, lowest, self.values[self.windows[where]]).max(1, initial=lowest)
        sent = found - self.before[where] if self.over_time else found
        self.before[where] = found
        return Change(where[sent != 0], sent[sent != 0])

    def _whole(self, change: Change) -> Change:
        now = self.rest.reshape(-1).copy()
        now[change.index] += change.amount
        self.values += now
        found = pooled(self.operation, self.values.reshape(1, *self.rest.shape))[0].reshape(-1)
        sent = (found - self.before if self.over_time else found) - self.at_rest
        self.before = found
        where = np.nonzero(sent)[0]
        return Change(where, sent[where])


def _windows(operation: Pool, numbered: Int[ndarray, "c h w"]) -> Int[ndarray, "n k"]:
    """The numbers in each window, 0 where it reaches outside."""
    (kh, kw), (sh, sw), (ph, pw) = operation.kernel, operation.stride, operation.padding
    padded = np.pad(numbered, ((0, 0), (ph, ph), (pw, pw)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), (1, 2))[:, ::sh, ::sw]
    found = views.reshape(-1, kh * kw)
    if len(found) != numbered.shape[0] * ((padded.shape[1] - kh) // sh + 1) * ((padded.shape[2] - kw) // sw + 1):
        raise InternalError(f"the windows of {operation.name} are not those of its output")
    return found
