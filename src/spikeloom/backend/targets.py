"""
The targets there are, by name.
"""

from collections.abc import Mapping

from spikeloom.backend.c import TARGET as C
from spikeloom.backend.nir import TARGET as NIR
from spikeloom.backend.target import Target
from spikeloom.backend.xylo import TARGET as XYLO

TARGETS: Mapping[str, Target] = {target.name: target for target in [C, NIR, XYLO]}
