"""CUDA: kernels generated for a network in whole numbers, all ticks layer by layer; the same source runs, emulated, on a CPU."""

from spikeloom.backend.cuda.options import CudaOptions
from spikeloom.backend.cuda.target import TARGET

__all__ = ["TARGET", "CudaOptions"]
