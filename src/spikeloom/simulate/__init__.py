"""The reference interpreter: runs spiking programs for T steps, streams them, counts, prices, measures fidelity (floor 3)."""

from spikeloom.simulate.abreast import Abreast
from spikeloom.simulate.ann_counts import beside_ann
from spikeloom.simulate.audit import Audit, AuditRow, audit, floating_of
from spikeloom.simulate.chunks import Chunk, chunk
from spikeloom.simulate.decoding import Decoder, Kept, with_cache
from spikeloom.simulate.energy import ASSUMPTIONS, EnergyRow, energy, verdict
from spikeloom.simulate.events import ENCODINGS, Counter, Counts, LayerCount, level_of
from spikeloom.simulate.execute import decoded, executable, firing, primary, repeated
from spikeloom.simulate.fidelity import Fidelity, Recorder, counterparts, fidelity, populations, worst
from spikeloom.simulate.frontier import Frontier, size_of, widest_cut
from spikeloom.simulate.function import channel_function, float_function
from spikeloom.simulate.model import Profile, SpikingModel
from spikeloom.simulate.moments import Moments, add, centred, empty, merge
from spikeloom.simulate.patches import rows, solvable
from spikeloom.simulate.reference import driving, reference
from spikeloom.simulate.stream import State, Stream
from spikeloom.simulate.structure import filled

__all__ = [
    "ASSUMPTIONS",
    "ENCODINGS",
    "Abreast",
    "Audit",
    "AuditRow",
    "Chunk",
    "Counter",
    "Counts",
    "Decoder",
    "EnergyRow",
    "Fidelity",
    "Frontier",
    "Kept",
    "LayerCount",
    "Moments",
    "Profile",
    "Recorder",
    "SpikingModel",
    "State",
    "Stream",
    "add",
    "audit",
    "beside_ann",
    "centred",
    "channel_function",
    "chunk",
    "counterparts",
    "decoded",
    "driving",
    "empty",
    "energy",
    "executable",
    "fidelity",
    "filled",
    "firing",
    "float_function",
    "floating_of",
    "level_of",
    "merge",
    "populations",
    "primary",
    "reference",
    "repeated",
    "rows",
    "size_of",
    "solvable",
    "verdict",
    "widest_cut",
    "with_cache",
    "worst",
]
