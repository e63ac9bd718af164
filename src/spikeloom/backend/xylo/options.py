"""
What a person can choose for Xylo.
"""

from typing import Literal, final

from pydantic import Field

from spikeloom.backend.target import TargetOptions


@final
class XyloOptions(TargetOptions):
    """The chip, and how fine weights and inputs are."""

    chip: Literal["audio2", "audio3", "imu"] = Field("audio2", description="the member of the family whose limits hold")
    weight_bits: int = Field(8, ge=2, le=8, description="bits of signed weights; fewer keep sums within the 16 bits of a state")
    input_bits: int = Field(4, ge=1, le=4, description="bits of inputs: a channel carries at most 15 events a tick")
    simulator: Literal["auto", "xylosim", "own"] = Field(
        "auto",
        description="what runs the files: the vendor's xylosim, our own of its published behaviour, or the first where it is installed",
    )
