"""
The libraries of environments, loaded where they are needed: ResourceError names the extra `agents` where they are not installed.
"""

from spikeloom.datasets.environment import gymnasium, minigrid

__all__ = ["gymnasium", "minigrid"]
