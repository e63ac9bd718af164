"""
Trainable populations: the staircases of the neuron law as modules, for layers that are written in spikes (`spiking_attention`).

    identity    o = s·clip(⌊x/s + ½⌋, −N, N),  s = exp(log_step)           signed, equal steps, v[0] = s/2     (1)
    function    o = values[k],  k = number of thresholds ≤ h              2N thresholds, 2N + 1 values        (2)

(1) runs over time as the law says, reset by subtraction; (2) is a function, which who calls it puts over time (`neuron.difference`).
Steps are trained by their logarithm: they stay positive, and an optimiser's stride is relative to them. Values are trained, the
thresholds of (2) stay where they are. Gradients are those of `neuron.uniform` and `neuron.table`.

While a population observes, it passes on x or f(h) itself and keeps a sample of what it receives, or counts of it; `settle` chooses
s by the mean-squared error on the sample, or the table by `fit_staircase` on the counts.

Sources: step gradients, LSQ, Esser et al. 2020, arXiv 1902.08153; steps by mean-squared error, Li et al. 2021, arXiv 2106.06984.
"""

import math
from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from spikeloom.errors import NumericError
from spikeloom.neuron import Axis, Histogram, Staircase, by_channel, fit_staircase, read_table, run_uniform

SAMPLES = 8192
"""How many values a channel an identity looks at in a calibration, over all its batches; a function counts all of them."""
BINS = 1 << 14
LOWEST, HIGHEST = -30.0, 12.0
"""The range of what functions count, in the logarithm of what `log` reads: below it exp is taken for 0, above it nothing is told apart."""
MARGIN = 1.25
"""How far an identity that covers reaches beyond what it saw: a coarser maximum costs a softmax nothing, a missed one does."""
LEAST_STEP = 1e-7
"""The step of a channel that was always 0."""


def mse_step(x: Float[Tensor, "c n"], levels: int, rounds: int = 2) -> Float[Tensor, " c"]:
    """argmin_s E[(x − o)²] of (1) for each channel, over shares of the maximum: a grid, refined once a round around its best."""
    top = (x.abs().amax(1) / levels).clamp_min(LEAST_STEP)
    centre, width = torch.full_like(top, 0.55), 0.5
    for _ in range(rounds):
        grid = (centre + width * torch.linspace(-1, 1, 33, dtype=x.dtype, device=x.device)[:, None]).clamp_min(0.02)
        losses = torch.stack([(rounded(x, step[:, None], levels) - x).square().mean(1) for step in grid * top])
        centre, width = grid.gather(0, losses.argmin(0, keepdim=True))[0], width / 16
    return centre * top


def rounded(x: Float[Tensor, "c n"], step: Float[Tensor, "c 1"], levels: int) -> Float[Tensor, "c n"]:
    """Equation (1) at T=1."""
    return (x / step + 0.5).floor_().clamp_(-levels, levels).mul_(step)


def at_most_one(h: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """min(exp h, 1): what a softmax gives, also where the logarithm that h was lessened by came out too small."""
    return h.clamp_max(0.0).exp()


FUNCTIONS = {"exp": torch.exp, "log": torch.log, "share": at_most_one}


def spread(count: int, size: int) -> Int[Tensor, " k"]:
    """`count` places of `size`, or all of them, by the golden ratio: evenly spread, and in step with no axis of what is sampled."""
    if size <= count:
        return torch.arange(size)
    return ((torch.arange(count, dtype=torch.float64) * ((5**0.5 - 1) / 2)) % 1 * size).long()


class Population(nn.Module):
    """What both kinds share: a scale group a channel on `axis` (one for all where it is None), and observing."""

    def __init__(self, axis: Axis | None, levels: int) -> None:
        super().__init__()
        self.axis, self.levels = axis, levels
        self.quota, self.seen = 0, list[Tensor]()

    def observe(self, batches: int) -> None:
        """From now on the function itself, with a sample kept of each of that many batches; 0 ends it."""
        self.quota, self.seen = (-(-SAMPLES // batches) if batches else 0), []

    def settle(self, timesteps: int) -> None:
        """Thresholds for what was observed, for a run of T steps; spikes from now on."""
        seen = torch.cat(self.seen, dim=1)
        self.observe(0)
        self.fit(seen, timesteps)

    def keep(self, x: Float[Tensor, "..."]) -> None:
        """Part of a batch goes into the sample."""
        rows = by_channel(x.detach(), self.axis)
        self.seen.append(rows[:, spread(self.quota, rows.shape[1]).to(rows.device)])

    def fit(self, seen: Float[Tensor, "c n"], timesteps: int) -> None:
        """Chooses the thresholds; each kind has its way."""
        raise NotImplementedError


@final
class IdentityNeurons(Population):
    """(1), with a step for each of `channels` (() shares one). `covers` spans more than is seen, instead of the least mean error.

    Before it has settled its levels span `reach` on either side."""

    def __init__(self, channels: tuple[int, ...], axis: Axis, levels: int, *, reach: float = 3.0, covers: bool = False) -> None:
        super().__init__(axis if channels else None, levels)
        self.covers = covers
        self.log_step = nn.Parameter(torch.full(channels, math.log(reach / levels)))

    @property
    def step(self) -> Float[Tensor, " *c"]:
        """s, positive."""
        return self.log_step.exp()

    def forward(self, x: Float[Tensor, "tb *rest"], timesteps: int = 1) -> Float[Tensor, "tb *rest"]:
        """T steps on inputs [T·B, …], time-major."""
        if self.quota:
            self.keep(x)
            return x
        step, axis = self.step, -1 if self.axis is None else self.axis
        return run_uniform(
            x, step, step / 2, 1.0, 0.0, levels=self.levels, negative=self.levels, reset="subtract", axis=axis, timesteps=timesteps
        )

    def keep(self, x: Float[Tensor, "..."]) -> None:
        if not self.covers:
            return super().keep(x)
        rows = by_channel(x.detach(), self.axis)
        return self.seen.append(rows.masked_fill(~rows.isfinite(), 0.0).abs().amax(1, keepdim=True))

    @torch.no_grad()
    def fit(self, seen: Float[Tensor, "c n"], timesteps: int) -> None:
        """With T steps the mean has N·T levels, of s/T."""
        seen = seen.masked_fill(~seen.isfinite(), 0.0)  # a row that is masked altogether
        step = MARGIN * seen.amax(1) / self.levels if self.covers else mse_step(seen, self.levels * timesteps) * timesteps
        step = step.clamp_min(LEAST_STEP)
        self.log_step.copy_(step.log().view_as(self.log_step))


@final
class FunctionNeurons(Population):
    """(2) for one of `FUNCTIONS`, one table a head on axis 1. The lowest value of `exp` and `share` is 0 for good: what is masked
    stays silent.

    Before it has settled the thresholds lie at equal distances over `span`, in the logarithm of what is read."""

    thresholds: Tensor

    def __init__(self, function: str, heads: int, levels: int, span: tuple[float, float]) -> None:
        super().__init__(1, levels)
        self.function, self.silent = function, function != "log"
        logs = torch.linspace(*span, 2 * levels)
        inner = (logs[1:] + logs[:-1]) / 2
        values = FUNCTIONS[function](torch.cat([inner, logs[-1:]])) if self.silent else torch.cat([logs[:1], inner, logs[-1:]])
        self.register_buffer("thresholds", (logs if self.silent else logs.exp()).repeat(heads, 1))
        self.values = nn.Parameter(values.repeat(heads, 1))

    def forward(self, h: Float[Tensor, "b heads *rest"]) -> Float[Tensor, "b heads *rest"]:
        if self.quota:
            self.keep(h)
            return FUNCTIONS[self.function](h)
        return read_table(h, self.thresholds, nn.functional.pad(self.values, (1, 0)) if self.silent else self.values, 1)

    def keep(self, x: Float[Tensor, "..."]) -> None:
        """Counts; what is masked is NaN, infinite, or exp is 0 of it."""
        rows = by_channel(x.detach().double(), self.axis)
        places = ((rows if self.silent else rows.log()) - LOWEST) / (HIGHEST - LOWEST) * BINS
        places = places.nan_to_num(-1, posinf=-1).floor().clamp(-1, BINS - 1).long() + 1
        counts = torch.zeros(len(rows), BINS + 1, device=rows.device).scatter_add_(1, places, torch.ones_like(places, dtype=torch.float32))
        self.seen = [self.seen[0] + counts[:, 1:] if self.seen else counts[:, 1:]]

    @torch.no_grad()
    def fit(self, seen: Float[Tensor, "c n"], timesteps: int) -> None:
        """The best table for each head by its counts; over time it is the same one, for it reads running means."""
        if not bool(seen.any(1).all()):
            raise NumericError("attention saw nothing but masked places", found=f"{self.function} neurons without input")
        edges = torch.linspace(LOWEST, HIGHEST, BINS + 1, dtype=torch.float64)
        edges, size = (edges if self.silent else edges.exp()), self.thresholds.shape[1]
        for head, counts in enumerate(seen):
            thresholds, values = self._table((edges, counts))
            missing = size - len(thresholds)
            self.thresholds[head] = nn.functional.pad(thresholds, (0, missing), value=math.inf)  # never reached
            self.values[head] = torch.cat([values, values[-1:].expand(missing)])[self.silent :]

    def _table(self, seen: Histogram) -> Staircase:
        function = FUNCTIONS[self.function]
        if not self.silent:
            return fit_staircase(function, seen, 2 * self.levels)
        thresholds, values = fit_staircase(function, seen, 2 * self.levels - 1)
        return torch.cat([(values[:1] / 2).log(), thresholds]), torch.cat([torch.zeros_like(values[:1]), values])
