"""
The targets there are, by name.
"""

from collections.abc import Mapping

from spikeloom.backend.c import TARGET as C
from spikeloom.backend.cuda import TARGET as CUDA
from spikeloom.backend.loihi2 import TARGET as LOIHI2
from spikeloom.backend.nir import TARGET as NIR
from spikeloom.backend.rtl import TARGET as RTL
from spikeloom.backend.target import Target
from spikeloom.backend.truenorth import TARGET as TRUENORTH
from spikeloom.backend.xylo import TARGET as XYLO

TARGETS: Mapping[str, Target] = {target.name: target for target in [C, CUDA, RTL, NIR, LOIHI2, TRUENORTH, XYLO]}
