"""Compression: weights on integer grids, connections taken away, what is lost made good to second order (floor 4)."""

from spikeloom.compress.second_order import Allowed, settle

__all__ = ["Allowed", "settle"]
