"""
The targets there are, by name.
"""

from collections.abc import Mapping

from spikeloom.backend import rtl
from spikeloom.backend.target import Target

TARGETS: Mapping[str, Target] = {target.name: target for target in (rtl.TARGET,)}
