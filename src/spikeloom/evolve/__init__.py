"""HSEO: evolution over the physical parameters of neuron populations, steered by spike statistics, polished by gradients (floor 4)."""

from spikeloom.evolve.bench import Bench
from spikeloom.evolve.evolving import Evolve
from spikeloom.evolve.executor import BACKENDS, Executor
from spikeloom.evolve.front import BUDGETS, Point, merged, pick
from spikeloom.evolve.limits import Limits
from spikeloom.evolve.objective import OBJECTIVES, Outcome
from spikeloom.evolve.search import Plan, Search
from spikeloom.evolve.setting import set_up
from spikeloom.evolve.space import PARAMETERS, Space

__all__ = [
    "BACKENDS",
    "BUDGETS",
    "OBJECTIVES",
    "PARAMETERS",
    "Bench",
    "Evolve",
    "Executor",
    "Limits",
    "Outcome",
    "Plan",
    "Point",
    "Search",
    "Space",
    "merged",
    "pick",
    "set_up",
]
