"""
Measuring one architecture: capture, check, convert with N = 255 and N = 1023 levels, and compare outputs at T = 1.

    error(N) = ‖snn − ann‖ / ‖ann‖                                over the calibration pictures            (1)
    error of differences(N) = ‖snn − ann‖ / ‖ann − mean ann‖      the mean over pictures taken out         (2)

A quantiser's error falls as 1/N, so from N = 255 to 1023 by 4; (2) is what shows a conversion that has lost the picture
although an offset common to all pictures hides it in (1).
"""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from covered import building, texts
from covered.architectures import READERS, Architecture
from covered.building import Built
from harness.rows import commit
from spikeloom.calibrate import Balance
from spikeloom.capture import capture
from spikeloom.convert import Spike, Unfold
from spikeloom.errors import UserError
from spikeloom.ir import Context, PlanRow, Program, calls, function_of, note, run
from spikeloom.plan import Fuse, Plan, plan, spike_share
from spikeloom.simulate import executable, primary

COARSE, FINE = 255, 1023
EQUAL_ERROR = 0.01  # of an SNN without floating operations, at N = 1023
FLOATING_ERROR = 0.05  # of one with them
CLOSE_ERROR = 0.05  # of a network that adds up errors (random weights, many layers), but fewer with every level
FALLS_AS_IT_SHOULD = 3.0
DIFFERENCES_ERROR = 0.25
FALLS_BY = 2.0  # at least, from N = 255 to N = 1023; 4 is ideal
CAPTURE_ERROR = 1e-4
ROUNDING_ERROR = 1e-5  # below it, errors need not fall further


@dataclass(frozen=True)
class Finding:
    """What was found of one architecture: `status` is equal, close, floating, unsupported, not captured, not built or WRONG."""

    address: str
    status: str
    detail: str = ""
    error_255: float | None = None
    error_1023: float | None = None
    differences_1023: float | None = None
    populations: int = 0
    spike_share: float | None = None
    macs: int = 0
    seconds: float = 0.0
    commit: str = ""  # where it was measured; not kept in the first runs


def measure(architecture: Architecture) -> Finding:
    """The finding of one architecture; whatever goes wrong on the way becomes its status and detail."""
    began = time.perf_counter()
    found = _measured(architecture)
    return Finding(**{**found.__dict__, "seconds": round(time.perf_counter() - began, 1), "commit": commit()})


def _measured(architecture: Architecture) -> Finding:
    address = architecture.address
    try:
        built = (texts if architecture.group == READERS else building).build(architecture)
    except UserError as error:
        return Finding(address, "not captured", said(error))
    except Exception as error:  # a library's own limits: a kernel package that is missing, a configuration it refuses
        return Finding(address, "not built", said(error))
    if not bool(torch.isfinite(built.wanted).all()):
        return Finding(address, "not built", "the random network's outputs are not finite")
    try:
        program = capture(built.model, (), dict(built.inputs), structure=built.structure, lengths=built.lengths)
    except UserError as error:
        return Finding(address, "not captured", said(error))
    rows = plan(program)
    unsupported = sorted({f"{row.operation} ({row.reason})" for row in rows if row.status == "unsupported"})
    if unsupported:
        return Finding(address, "unsupported", "; ".join(unsupported))
    try:
        return compared(address, program, built, rows)
    except Exception as error:  # a plan without problems promises a network that runs
        return Finding(address, "WRONG", f"fails after a plan without problems: {said(error)}")


def compared(address: str, program: Program, built: Built, rows: tuple[PlanRow, ...]) -> Finding:
    """The finding of a program that can be converted; of texts of two lengths, the worse."""
    samples = [(tuple(inputs.values()), wanted) for inputs, wanted in filter(None, ((built.inputs, built.wanted), built.other))]
    with torch.no_grad():
        captured = max(relative(primary(program.module()(*inputs)), wanted) for inputs, wanted in samples)
    if captured > CAPTURE_ERROR:
        return Finding(address, "WRONG", f"the captured program's outputs differ from the model's by {captured:.1e}")
    errors: dict[int, float] = {}
    differences = 0.0
    made: Program = program
    for levels in (COARSE, FINE):
        chain = [Plan(), Fuse(), Unfold(), Spike(levels=levels), Balance(method="maximum")]
        made = run(chain, program, Context(calibration=lambda: [inputs for inputs, _ in samples]))
        with torch.no_grad():
            found = [(primary(executable(made, 1)(*inputs)), wanted) for inputs, wanted in samples]
        errors[levels] = max(relative(snn, ann) for snn, ann in found)
        differences = max(relative(snn, ann, ann.mean(0, keepdim=True)) for snn, ann in found)
    floating = sorted({function_of(node) for node in calls(made.graph) if "floating" in note(node)})
    status, detail = judged(errors[COARSE], errors[FINE], differences, floating)
    populations = next(int(record.numbers["populations"]) for record in made.records if record.name == "Spike")
    share, macs = spike_share(rows), sum(row.macs for row in rows)
    return Finding(address, status, detail, errors[COARSE], errors[FINE], differences, populations, share, macs)


def judged(coarse: float, fine: float, differences: float, floating: list[str]) -> tuple[str, str]:
    """Status and detail of a network's errors at N = 255 and N = 1023."""
    limit = FLOATING_ERROR if floating else EQUAL_ERROR
    kept = f"stays floating: {', '.join(floating)}" if floating else ""
    if limit < fine <= CLOSE_ERROR and fine * FALLS_AS_IT_SHOULD <= coarse and differences <= DIFFERENCES_ERROR:
        return "close", "; ".join(filter(None, [f"error {fine:.2%} at N={FINE}, falls with N as it should", kept]))
    if not fine <= limit:
        return "WRONG", "; ".join(filter(None, [f"error {fine:.2%} at N={FINE}", kept]))
    if not (fine * FALLS_BY <= coarse or coarse <= ROUNDING_ERROR):
        return "WRONG", "; ".join(filter(None, [f"the error does not fall with N: {coarse:.2%}, {fine:.2%}", kept]))
    if not differences <= DIFFERENCES_ERROR:
        return "WRONG", "; ".join(filter(None, [f"error of differences between pictures {differences:.0%}", kept]))
    return ("floating", kept) if floating else ("equal", "")


def relative(found: Tensor, wanted: Tensor, origin: Tensor | float = 0.0) -> float:
    """‖found − wanted‖ / ‖wanted − origin‖, (1) and (2)."""
    return float((found - wanted).norm() / (wanted - origin).norm().clamp_min(1e-12))


def said(error: BaseException) -> str:
    """An exception in one line of at most 160 characters: a user's error with what was found, another with its type."""
    if isinstance(error, UserError):
        text = " · ".join(line.strip() for line in str(error).splitlines()[:2])
    else:
        text = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    return text if len(text) <= 160 else f"{text[:157]}…"
