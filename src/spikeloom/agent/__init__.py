"""Spiking networks that act in an environment (floor 5): policies, and what becomes of them there."""

from spikeloom.agent.policy import Continuous, Discrete, Policy, Signal

__all__ = ["Continuous", "Discrete", "Policy", "Signal"]
