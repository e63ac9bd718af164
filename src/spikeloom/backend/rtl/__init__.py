"""
FPGA: an event-driven core behind AXI-Stream, or a small network as gates alone, in Verilog for ECP5 and iCE40.
"""

from spikeloom.backend.rtl.emit import emitted
from spikeloom.backend.rtl.options import RtlOptions, form_of
from spikeloom.backend.rtl.refusals import refusals
from spikeloom.backend.rtl.report import reported
from spikeloom.backend.rtl.verify import verified
from spikeloom.backend.target import Target

TARGET = Target(
    name="rtl",
    title="FPGA (Verilog, ECP5 and iCE40)",
    takes={
        "Affine": "on one axis",
        "Convolution": "any",
        "Pool": "sums and maxima",
        "Add": "any",
        "Route": "any",
        "Requantise": "any",
        "Population": "any: thresholds, heights, decay, leak, either reset",
        "style=logic": "T = 1 and binary signals; no Requantise",
    },
    options=RtlOptions,
    form=form_of,
    refusals=refusals,
    emit=emitted,
    verify=verified,
    report=reported,
)
