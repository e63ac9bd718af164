"""
Contexts: a network that met a drift keeps its calm self beside the adapted one, and knows of every sample which of them it belongs to.

What the first population receives depends on no neuron's state, so that the means and mean squares of its channels, sample by sample, tell
in what world a sample was taken. A context is where those marks f lie; a sample belongs to the nearest,

    d_k = mean_u ((f_u - c_ku)/s_u)²,   s_u their spread at calibration.                                                 (1)

A context is left where the recent mean of the samples that came to it, m ← m + (f - m)/R, lies further away than chance would have it:

    R · mean_u ((m_u - c_ku)/s_u)² > vigilance        (about 1/2 while nothing has changed)                              (2)

Then a new context begins with them, as the calm one is. Context 0 is the calibrated one and never moves; others move with their samples.

Sources: vigilance: Carpenter & Grossberg 1987, doi:10.1016/S0734-189X(87)80014-2; (2) as a control chart: Roberts 1959.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from spikeloom.errors import ConfigError
from spikeloom.ir import Program, clone
from spikeloom.train.intrinsic import Knob

RECENT = 64
"""R of (2), in samples."""


@final
@dataclass(frozen=True)
class Contexts:
    """At most so many contexts, the calm one among them (1: there is but one, and it adapts); and the vigilance of (2)."""

    most: int = 4
    vigilance: float = 20.0

    def check(self) -> None:
        """Raises ConfigError for options out of range."""
        if not 1 <= self.most <= 64:
            raise ConfigError("contexts.most is out of range", found=self.most, allowed="1 to 64")
        if not self.vigilance > 0:
            raise ConfigError("contexts.vigilance is out of range", found=self.vigilance, allowed="above 0")


class Place(NamedTuple):
    """Where a context lies, m of (2), and how many samples came to it."""

    centre: Float[Tensor, " u"]
    recent: Float[Tensor, " u"]
    members: int


def front(program: Program, knob: Knob) -> fx.GraphModule:
    """What computes the current that the first population receives."""
    graph = clone(program.graph)
    current = next(node for node in graph.nodes if node.name == knob.current)
    output = next(iter(reversed(graph.nodes)))
    output.args = (current,)
    graph.eliminate_dead_code()
    used = {str(node.target) for node in graph.nodes if node.op == "get_attr"}
    return fx.GraphModule({name: program.tensors[name] for name in used}, graph)


def marks(current: Float[Tensor, "b *rest"], knob: Knob) -> Float[Tensor, "b u"]:
    """f: of every sample and channel the mean and the mean square of its current."""
    over = tuple(place for place in knob.over if place)
    parts = (current.mean(over), current.square().mean(over)) if over else (current, current.square())
    return torch.cat([part.flatten(1) for part in parts], 1)


def spread_of(found: Float[Tensor, "n u"]) -> Float[Tensor, " u"]:
    """s of (1); marks that never differ count for what others do."""
    spread = found.std(0, correction=0)
    return spread.clamp_min(1e-3 * float(spread.mean()) + 1e-30)


def nearest(found: Float[Tensor, "b u"], places: Sequence[Place], spread: Float[Tensor, " u"]) -> Int64[Tensor, " b"]:
    """(1)."""
    centres = torch.stack([place.centre for place in places])
    return ((found[:, None] - centres) / spread).square().mean(2).argmin(1)


def visited(place: Place, found: Float[Tensor, "b u"], horizon: int, *, moves: bool) -> Place:
    """A context after these samples came to it."""
    count, mean = len(found), found.mean(0)
    keep = (1 - 1 / RECENT) ** count
    recent = keep * place.recent + (1 - keep) * mean
    if not moves:
        return Place(place.centre, recent, place.members + count)
    rate = count / min(place.members + count, max(horizon, count))
    return Place(place.centre + rate * (mean - place.centre), recent, place.members + count)


def left(place: Place, spread: Float[Tensor, " u"], vigilance: float) -> bool:
    """(2)."""
    return RECENT * float(((place.recent - place.centre) / spread).square().mean()) > vigilance
