"""
What a TrueNorth chip holds, with where each number is from.

Sources: Merolla et al., Science 345, 668 (2014) and its supplement; Cassidy et al., IJCNN 2013 (the neuron); Akopyan et al., IEEE TCAD
34(10), 2015. Widths of leak, thresholds and reset are the simulator NeMo's and the papers' as quoted; where papers differ the smaller is
taken.
"""

CORES = 4096
AXONS = 256
"""Axons of a core, and so the fan-in of a neuron."""
NEURONS = 256
TYPES = 4
"""Axon types; a neuron has a weight for each."""
WEIGHT = 255
"""Signed 9 bits, taken as ±255: of weights, and of the leak."""
THRESHOLD = (1 << 18) - 1
"""18 bits: of the threshold and of the negative threshold."""
MEMBRANE = (1 << 19) - 1
"""Signed 20 bits."""
DELAY = 15
"""Ticks from a spike to its axon: 1 to 15."""
TICK_MS = 1.0
"""1 kHz."""

TOLD = {
    "cores": CORES,
    "axons_per_core": AXONS,
    "neurons_per_core": NEURONS,
    "axon_types": TYPES,
    "greatest_weight": WEIGHT,
    "greatest_threshold": THRESHOLD,
    "greatest_membrane": MEMBRANE,
    "greatest_delay": DELAY,
    "tick_ms": TICK_MS,
    "source": "Merolla et al. 2014, Cassidy et al. 2013, Akopyan et al. 2015",
}
