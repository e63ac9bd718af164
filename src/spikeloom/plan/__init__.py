"""Planning and fusing: what each operation will become, and exact simplifications of the ANN (floor 4)."""

from spikeloom.plan.fuse import Fuse, commute, fold
from spikeloom.plan.plan import Plan, macs, plan, refuse_unsupported, spike_share
from spikeloom.plan.rotate import Rotate

__all__ = ["Fuse", "Plan", "Rotate", "commute", "fold", "macs", "plan", "refuse_unsupported", "spike_share"]
