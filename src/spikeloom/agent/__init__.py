"""Spiking networks that act in an environment (floor 5): policies, their episodes, and what becomes of them there."""

from spikeloom.agent.calibration import Round, in_closed_loop
from spikeloom.agent.contest import Contest
from spikeloom.agent.episodes import normalised, observations, returns, with_residue
from spikeloom.agent.evolution import Breeding, Evolved, evolve_agent
from spikeloom.agent.policy import Policy, policy_of
from spikeloom.datasets.environment import environments
from spikeloom.datasets.episodes import Act, Moment, at_random, played
from spikeloom.datasets.spaces import Action, Continuous, Discrete, Signal, acted

__all__ = [
    "Act",
    "Action",
    "Breeding",
    "Contest",
    "Continuous",
    "Discrete",
    "Evolved",
    "Moment",
    "Policy",
    "Round",
    "Signal",
    "acted",
    "at_random",
    "environments",
    "evolve_agent",
    "in_closed_loop",
    "normalised",
    "observations",
    "played",
    "policy_of",
    "returns",
    "with_residue",
]
