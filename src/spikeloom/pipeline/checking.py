"""
Checking a model before any work: what every operation would become.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from torch import nn

from spikeloom.capture import load
from spikeloom.ir import PlanRow
from spikeloom.plan import plan, spike_share
from spikeloom.zoo import ARCHITECTURES


@final
@dataclass(frozen=True)
class CheckResult:
    """The plan of a model: one row per operation, the share of MACs that will be spike-driven, and what is known of the source."""

    rows: tuple[PlanRow, ...]
    spike_share: float
    macs: int
    parameters: int
    settings: dict[str, Any]

    @property
    def convertible(self) -> bool:
        """Whether no operation is unsupported."""
        return all(row.status != "unsupported" for row in self.rows)


def check(
    source: str | nn.Module,
    example: Any = None,
    *,
    weights: Path | None = None,
    classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    allow_pickle: bool = False,
    random_weights: bool = False,
) -> CheckResult:
    """What a model's operations would become, all problems at once; unsupported operations are rows, not errors.

    `source` is an address or a module, `example` its inputs (a tensor or a tuple). Raises a UserError only where there
    is no model, or `torch.export` cannot capture it. Our own architectures need no weights to be checked.
    """
    options = {"weights": weights, "classes": classes, "input_shape": input_shape, "allow_pickle": allow_pickle}
    untrained = random_weights or (isinstance(source, str) and weights is None and source.removeprefix("zoo:") in ARCHITECTURES)
    program = load(source, example=example, random_weights=untrained, **options)
    rows = plan(program)
    parameters = sum(tensor.numel() for tensor in program.tensors.values())
    return CheckResult(rows, spike_share(rows), sum(row.macs for row in rows), parameters, dict(program.settings))
