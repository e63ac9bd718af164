"""
Spiking networks that act in an environment (floor 5): policies, their episodes, and what becomes of them there.

    policy       a network between spaces: `policy_of`;  episodes: `returns`;  calibration: `in_closed_loop`;  residue: between decisions
    agent        `Agent`: init, step; `learning`, `tail`, `exploring`, `critic`, `monitor`, `trials` are its parts
    body         what it acts through, and late actions undone by the `forward` model;  `diagnosis`: what of it has changed
    living       the closed loop: `usual_of`, `acquainted`, `lived`, `settled`
    adapting     `adapt`: all of it, from a policy to what became of it;  store, reliving, logbook: kept and taken up again
    evolution    `evolve_agent`: neurons and plasticity on return;  contest: what a candidate gets, `entered`;  genes
    worlds       environments that change;  rules: a policy in rules, guards, corrections
"""

from spikeloom.agent.adaptation import Adaptation
from spikeloom.agent.adapting import adapt
from spikeloom.agent.agent import Agent
from spikeloom.agent.arrival import Arrival
from spikeloom.agent.calibration import Round, in_closed_loop
from spikeloom.agent.contest import Contest, entered
from spikeloom.agent.course import Course
from spikeloom.agent.episodes import normalised, observations, returns, with_residue
from spikeloom.agent.evolution import Breeding, Evolved, evolve_agent
from spikeloom.agent.learning import Learning
from spikeloom.agent.living import acquainted, foreseen, live, lived, settled, usual_of
from spikeloom.agent.policy import Policy, open_policy, policy_of
from spikeloom.agent.state import AgentState, Usual
from spikeloom.datasets.environment import environments
from spikeloom.datasets.episodes import Act, Moment, at_random, played
from spikeloom.datasets.spaces import Action, Continuous, Discrete, Signal, acted

__all__ = [
    "Act",
    "Action",
    "Adaptation",
    "Agent",
    "AgentState",
    "Arrival",
    "Breeding",
    "Contest",
    "Continuous",
    "Course",
    "Discrete",
    "Evolved",
    "Learning",
    "Moment",
    "Policy",
    "Round",
    "Signal",
    "Usual",
    "acquainted",
    "acted",
    "adapt",
    "at_random",
    "entered",
    "environments",
    "evolve_agent",
    "foreseen",
    "in_closed_loop",
    "live",
    "lived",
    "normalised",
    "observations",
    "open_policy",
    "played",
    "policy_of",
    "returns",
    "settled",
    "usual_of",
    "with_residue",
]
