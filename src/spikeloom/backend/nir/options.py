"""
What a person can choose for NIR files. The defaults give plain NIR; the others are for readers that take only a part of it.
"""

from typing import Literal, final

from pydantic import Field

from spikeloom.backend.target import TargetOptions


@final
class NirOptions(TargetOptions):
    """How the graph is spelt; what it means is the same."""

    dt: float = Field(1.0, gt=0, description="the length of a tick in the time unit of τ: with it r = 1/dt (IF), r = τ/dt (LIF)")
    membranes: Literal["where needed", "always"] = Field(
        "where needed",
        description="at one tick: thresholds that hold start and bias exactly, or 'always' a membrane with its start and equal steps",
    )
    gains: bool = Field(True, description="whether a layer may be followed by gains (Scale nodes), which keeps all bits of its weights")
    integrator: Literal["if", "lif", "cubalif"] = Field(
        "if", description="the node that a neuron without decay becomes; snntorch reads 'lif' only, norse resets softly by 'cubalif' only"
    )
    batch_axis: bool = Field(
        False,
        description="count the axes of Flatten with the batch in front, as norse, snntorch and nirtorch want; nir then checks no types",
    )
    scales: Literal["scale", "layer"] = Field(
        "scale",
        description="a gain as a Scale node, or as a 1x1 Conv2d or an Affine that passes every channel on, for readers without Scale",
    )
