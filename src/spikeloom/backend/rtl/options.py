"""
What can be chosen, and the devices there are.

Sources of the devices' numbers: Lattice ECP5 data sheet FPGA-DS-02012, iCE40 UltraPlus FPGA-DS-02008, iCE40 LP/HX FPGA-DS-02029.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

from pydantic import Field, field_validator, model_validator

from spikeloom.backend.target import Form, TargetOptions

DeviceName = Literal["ecp5-25k", "ecp5-85k", "ice40-up5k", "ice40-hx8k", "any"]


UNBOUND = 1 << 30
"""As much as is wanted, where no device is named."""


@final
@dataclass(frozen=True)
class Device:
    """What a device has: 4-input look-up tables, block RAMs and the (depth, width) each can be, multipliers; how nextpnr is told of
    it; `clock_pin` is where the clock enters on a common board."""

    title: str
    family: Literal["ecp5", "ice40"]
    luts: int
    blocks: int
    block_shapes: tuple[tuple[int, int], ...]
    multipliers: int
    place: tuple[str, ...]
    clock_pin: str
    board: str

    @property
    def block_bits(self) -> int:
        """Bits of a block."""
        return max(depth * width for depth, width in self.block_shapes)


_ECP5_BLOCKS = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
_ICE40_BLOCKS = ((2048, 2), (1024, 4), (512, 8), (256, 16))

DEVICES: Mapping[str, Device] = {
    "ecp5-25k": Device(
        "Lattice ECP5 LFE5U-25F", "ecp5", 24288, 56, _ECP5_BLOCKS, 28, ("--25k", "--package", "CABGA381", "--speed", "6"), "G2", "ULX3S"
    ),
    "ecp5-85k": Device(
        "Lattice ECP5 LFE5U-85F", "ecp5", 83640, 208, _ECP5_BLOCKS, 156, ("--85k", "--package", "CABGA381", "--speed", "6"), "G2", "ULX3S"
    ),
    "ice40-up5k": Device("Lattice iCE40 UP5K", "ice40", 5280, 30, _ICE40_BLOCKS, 8, ("--up5k", "--package", "sg48"), "35", "iCEBreaker"),
    "ice40-hx8k": Device(
        "Lattice iCE40 HX8K", "ice40", 7680, 32, _ICE40_BLOCKS, 0, ("--hx8k", "--package", "ct256"), "J3", "HX8K breakout board"
    ),
    "any": Device("no device", "ecp5", UNBOUND, UNBOUND, _ECP5_BLOCKS, UNBOUND, ("--85k", "--package", "CABGA381"), "G2", "ULX3S"),
}


@final
class RtlOptions(TargetOptions):
    """Options of `--target rtl`."""

    style: Literal["event", "logic"] = Field(
        "event", description="event: an event-driven core; logic: small binary networks as gates alone"
    )
    device: DeviceName = Field(
        "ecp5-25k", description="what it has to fit: ecp5-25k, ecp5-85k, ice40-up5k or ice40-hx8k; any: simulation only"
    )
    parallel: int = Field(8, ge=1, le=64, description="neurons that are updated in a cycle, a power of two")
    input: Literal["events", "values"] = Field("events", description="what a beat of the incoming stream is")
    fifo_depth: int = Field(16, ge=2, le=4096, description="events that a queue between stages holds")
    frequency_mhz: float = Field(50.0, gt=0, le=500, description="the clock that place and route aims at")
    weight_bits: int = Field(8, ge=2, le=16, description="width of signed weights")
    synthesise: bool = Field(False, description="run yosys and nextpnr for the report (minutes)")
    simulator: Literal["auto", "icarus", "verilator", "amaranth"] = Field(
        "auto",
        description="what runs the golden vectors: Icarus on the Verilog (auto, if installed), Verilator (minutes to build, then far "
        "faster: large networks), or Amaranth's simulator on the same design",
    )

    @field_validator("parallel")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError(f"{value} is no power of two")
        return value

    @model_validator(mode="after")
    def _placed_somewhere(self) -> "RtlOptions":
        if self.synthesise and self.device == "any":
            raise ValueError("synthesise needs a device, not any")
        return self

    @property
    def chip(self) -> Device:
        """The device chosen."""
        return DEVICES[self.device]


def form_of(options: RtlOptions) -> Form:
    """Weights of the width chosen; at T = 1 everything constant in the thresholds."""
    return Form("where needed", weight_bits=options.weight_bits)
