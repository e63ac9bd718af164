"""
The targets there are, by name.
"""

from collections.abc import Mapping

from spikeloom.backend.loihi2 import TARGET as LOIHI2
from spikeloom.backend.target import Target
from spikeloom.backend.truenorth import TARGET as TRUENORTH

TARGETS: Mapping[str, Target] = {target.name: target for target in (LOIHI2, TRUENORTH)}
