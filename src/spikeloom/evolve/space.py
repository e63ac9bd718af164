"""
The space that is searched: what a vector of genes makes of every population's physical parameters.

    threshold   θ  = θ0 · exp(0.1·g)                of a table its heights too, where f is homogeneous                  (1)
    initial     v0 = θ · (v0⁰/θ0 + 0.1·g)           of a table its thresholds move down by 0.1·g of their mean distance (2)
    decay       a  = exp(−max(κ0 + 0.02·g, 0)),     κ0 = −ln a0 = Δt/τ_mem                                              (3)
    leak        ℓ  = θ · (ℓ0/θ0 + 0.05·g)                                                                               (4)

The zero vector is the program as given (but for what the hardware forces). Every gene stands for one group of neighbouring channels, or
for the whole population. At T = 1 decay and leak act through v0 alone: they are left out. Neurons of DESIGN.md §4 (1)–(3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from spikeloom.errors import ConfigError
from spikeloom.evolve.limits import Limits, on_lattice, reaches
from spikeloom.ir import Program, constant_name, kwargs_of, note, population, read
from spikeloom.neuron import are_shifts
from spikeloom.simulate import populations

PARAMETERS = ("threshold", "initial", "decay", "leak")
SCALES: Mapping[str, float] = {"threshold": 0.1, "initial": 0.1, "decay": 0.02, "leak": 0.05}
"""What one unit of a gene is: a tenth of the threshold, a tenth of a step, 0.02 of Δt/τ, a twentieth of a step."""
REACH: Mapping[str, float] = {"threshold": math.log(2.0), "initial": 1.0, "decay": 0.5, "leak": 1.0}
"""How far each goes on either side."""
DEGREES: Mapping[str, float] = {"relu": 1.0, "identity": 1.0, "leaky_relu": 1.0, "prelu": 1.0, "abs": 1.0, "pow": 2.0, "sqrt": 0.5}
"""f(c·x) = c^n·f(x) for c > 0: heights scale with thresholds, so that the table goes on standing for its function."""

Genes = Float[np.ndarray, " d"]


@final
@dataclass(frozen=True)
class Site:
    """One population in the space: where its genes lie, and the names of its tensors by role."""

    node: str
    table: bool
    levels: int
    channels: int
    tensors: Mapping[str, str]
    genes: Mapping[str, slice]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def span(self) -> slice:
        """All of its genes."""
        return slice(min(part.start for part in self.genes.values()), max(part.stop for part in self.genes.values()))


def group_of(channels: int, groups: int) -> Int64[Tensor, " c"]:
    """The group of every channel: neighbours together, as equal in size as can be."""
    return torch.arange(channels) * groups // max(channels, 1)


@final
class Space:
    """The genes of a program's populations, and back: `decode` gives the tensors that a vector of genes stands for.

    Raises ConfigError where nothing can be searched, or where the hardware's grid has no value within the bounds.
    """

    def __init__(self, program: Program, timesteps: int, limits: Limits, groups: int = 1, parameters: Sequence[str] = PARAMETERS) -> None:
        _check(groups, parameters)
        self.program, self.timesteps, self.limits = program, timesteps, limits
        self.parameters = tuple(name for name in PARAMETERS if name in parameters and self._acts(name))
        self.sites, place = list[Site](), 0
        for node in populations(program):
            site = self._site(node, groups, place)
            if site.genes:
                self.sites.append(site)
                place = site.span.stop
        self.size = place
        if not self.size:
            raise ConfigError("there is nothing to search", found=", ".join(parameters) or "no parameters", allowed=", ".join(PARAMETERS))
        self.start = {name: read(tensor).double() for name, tensor in program.tensors.items() if name in self._names()}
        self.bounds = self._bounds()
        self._check_grid()

    def _acts(self, name: str) -> bool:
        return name in ("threshold", "initial") or (self.timesteps > 1 and not (name == "decay" and self.limits.decay is not None))

    def _names(self) -> set[str]:
        return {name for site in self.sites for name in site.tensors.values()}

    def _site(self, node: fx.Node, groups: int, place: int) -> Site:
        table = node.target is not population
        roles = ("thresholds", "values") if table else ("step", "v0", "decay", "leak")
        names = {role: constant_name(operand) for role, operand in zip(roles, node.args[1:], strict=False)}
        first = self.program.tensors[names[roles[0]]]
        channels = first.shape[0] if first.ndim > table else 1
        count, genes = min(groups, channels), dict[str, slice]()
        wanted = self.parameters if not table else tuple(name for name in self.parameters if name in ("threshold", "initial"))
        for name in () if "known" in note(node) else wanted:
            genes[name] = slice(place, place := place + count)
        options = kwargs_of(node)
        levels = options.get("levels", first.shape[-1] if first.ndim else 1)
        told = {"function": str(options.get("function")), "axis": options.get("axis", 1), "negative": options.get("negative", 0)}
        return Site(node.name, table, levels, channels, names, genes, told)

    def _bounds(self) -> Float[np.ndarray, "d 2"]:
        found = np.zeros((self.size, 2))
        for site in self.sites:
            for name, part in site.genes.items():
                reach = REACH[name] / SCALES[name]
                low = -reach if name != "decay" else -float(_kappa(self.start[site.tensors["decay"]]).min()) / SCALES[name]
                found[part] = (low, reach)
        return found

    def decode(self, genes: Float[Tensor, " d"]) -> dict[str, Tensor]:
        """The tensors, by name, that these genes stand for: in the program's dtypes, on the hardware's grid; differentiable."""
        found = dict[str, Tensor]()
        for site in self.sites:
            found |= (self._table if site.table else self._identity)(site, genes)
        return {name: tensor.to(self.program.tensors[name].dtype) for name, tensor in found.items()}

    def _spread(self, site: Site, genes: Tensor, name: str) -> Tensor:
        """A gene's change, one a channel, or one for all where there is one group; 0 where the parameter is not searched."""
        if name not in site.genes:
            return torch.zeros((), dtype=torch.float64)
        part = genes[site.genes[name]] * SCALES[name]
        return part[0] if len(part) == 1 else part[group_of(site.channels, len(part))]

    def _identity(self, site: Site, genes: Tensor) -> dict[str, Tensor]:
        step0, v0, decay, leak = (self.start[site.tensors[role]] for role in ("step", "v0", "decay", "leak"))
        step = step0 * self._spread(site, genes, "threshold").exp()  # (1)
        if self.limits.threshold_bits is not None:
            step = on_lattice(step, *self._threshold_grid(site))
        initial = step * (v0 / step0 + self._spread(site, genes, "initial"))  # (2)
        kept = (-(_kappa(decay) + self._spread(site, genes, "decay")).clamp_min(0.0)).exp()  # (3)
        if self.limits.decay is not None:
            kept = torch.full_like(decay, self.limits.decay)
        lost = step * (leak / step0 + self._spread(site, genes, "leak"))  # (4)
        if self.limits.leak_bits is not None and self.timesteps > 1:
            lost = on_lattice(lost, *self._leak_grid(site))
        shapes = zip(("step", "v0", "decay", "leak"), (step, initial, kept, lost), strict=True)
        return {site.tensors[role]: tensor for role, tensor in shapes}

    def _table(self, site: Site, genes: Tensor) -> dict[str, Tensor]:
        thresholds, values = (self.start[site.tensors[role]] for role in ("thresholds", "values"))
        factor, shift = self.moved(site, genes)
        if thresholds.ndim > 1:
            factor, shift = factor[..., None], shift[..., None]
        moved = thresholds * factor - shift
        if self.limits.threshold_bits is not None:
            moved = on_lattice(moved, *self._threshold_grid(site))
        scaled = values * factor ** self._degree(site)
        return {site.tensors["thresholds"]: moved, site.tensors["values"]: scaled}

    def moved(self, site: Site, genes: Tensor) -> tuple[Tensor, Tensor]:
        """By what a table's thresholds are multiplied and then lessened: one number a channel, or one for all."""
        width = mean_distance(self.start[site.tensors["thresholds"]])
        return self._spread(site, genes, "threshold").exp(), width * self._spread(site, genes, "initial")

    def _degree(self, site: Site) -> float:
        """0 leaves heights alone: those of other functions, and those that are powers of two."""
        shifts = are_shifts(self.program.tensors[site.tensors["values"]])
        return 0.0 if shifts else DEGREES.get(site.options["function"], 0.0)

    def _threshold_grid(self, site: Site) -> tuple[Tensor, int, int]:
        bits = self.limits.threshold_bits or MOST
        if site.table:
            thresholds, top = self.start[site.tensors["thresholds"]], max(2 ** (bits - 1) - 1, 1)
            largest = thresholds[thresholds.isfinite()].abs().max() if bool(thresholds.isfinite().any()) else torch.ones(())
            return largest.double().clamp_min(1e-30) * math.exp(REACH["threshold"]) / top, -top, top
        top = 2**bits - 1
        return self.start[site.tensors["step"]].max() * math.exp(REACH["threshold"]) / top, 1, top

    def _leak_grid(self, site: Site) -> tuple[Tensor, int, int]:
        top = 2 ** ((self.limits.leak_bits or MOST) - 1) - 1
        step, leak = (self.start[site.tensors[role]] for role in ("step", "leak"))
        return (step.max() * math.exp(REACH["threshold"]) * (REACH["leak"] + (leak / step).abs().max())) / top, -top, top

    def _check_grid(self) -> None:
        if self.limits.threshold_bits is None:
            return
        ratio = math.exp(REACH["threshold"]) if "threshold" in self.parameters else math.sqrt(2.0)
        for site in self.sites:
            step = self.start[site.tensors["thresholds" if site.table else "step"]]
            unit, _, top = self._threshold_grid(site)
            if not site.table and not reaches(step / ratio, step * ratio, unit, top):
                raise ConfigError(
                    f"thresholds of {self.limits.threshold_bits} bits have no value within the bounds of %{site.node}",
                    found=f"steps from {float(step.min()):.4g} to {float(step.max()):.4g}, grid of {float(unit):.4g}",
                    allowed=f"between 1/{ratio:.2g} and {ratio:.2g} times each",
                    todo="give thresholds more bits, or convert with one threshold a layer (--no-per-channel)",
                )

    def applied(self, program: Program, genes: Genes) -> Program:
        """A program of these populations with the parameters of the genes in the places of its own."""
        with torch.no_grad():
            tensors = self.decode(torch.from_numpy(np.asarray(genes, dtype=np.float64)))
        return program.replaced(tensors={**program.tensors, **tensors})

    def first_changed(self, genes: Genes, base: Genes) -> int | None:
        """The first site, by number, whose genes differ; None where none does."""
        return next((place for place, site in enumerate(self.sites) if not np.array_equal(genes[site.span], base[site.span])), None)


MOST = 24


def mean_distance(thresholds: Float[Tensor, "*c k"]) -> Float[Tensor, "*c"]:
    """The mean distance between neighbouring finite thresholds of each channel; with fewer than two the first one's size, at least 1e-6."""
    finite = thresholds.isfinite()
    count = finite.sum(-1)
    high = thresholds.masked_fill(~finite, -math.inf).amax(-1)
    low = thresholds.masked_fill(~finite, math.inf).amin(-1)
    width = torch.where(count > 1, (high - low) / (count - 1).clamp_min(1), low.abs())
    return width.nan_to_num(1.0, 1.0, 1.0).clamp_min(1e-6)


def _kappa(decay: Tensor) -> Tensor:
    return -decay.clamp_min(1e-6).log()


def _check(groups: int, parameters: Sequence[str]) -> None:
    if groups < 1:
        raise ConfigError("the number of channel groups is out of range", found=groups, allowed="1 or more")
    unknown = [name for name in parameters if name not in PARAMETERS]
    if unknown:
        raise ConfigError("unknown neuron parameter", found=", ".join(unknown), allowed=", ".join(PARAMETERS))
