"""
What the report tells: one record of plain data, gathered elsewhere, checked here, kept as JSON beside the page.

A part that is empty is left out of the page and said to be: `reasons` holds why, by the part's name.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from spikeloom.errors import ProgramError

Row = Mapping[str, Any]

# Per part, what each row holds and of what kind; a key with "!" is required, any other may be missing or null.
SCHEMA: dict[str, dict[str, str]] = {
    "plan": {
        "node!": "text", "operation!": "text", "becomes!": "text", "status!": "status", "reason": "text", "todo": "text",
        "parameters": "number", "macs": "number", "spiking": "flag",
    },
    "curve": {
        "timesteps!": "number", "accuracy": "fraction", "agreement": "fraction", "control": "fraction", "ann": "fraction",
        "perplexity": "quantities", "kl_nats": "number", "cosine": "quantities", "rank_agreement": "quantities",
    },
    "sweep": {
        "levels!": "count", "timesteps!": "count", "accuracy": "fraction", "agreement": "fraction", "control": "fraction",
        "ann": "fraction", "perplexity": "quantities", "kl_nats": "number", "cosine": "quantities", "rank_agreement": "quantities",
        "control_agreement": "fraction", "samples": "number",
    },
    "noise": {"noise!": "fraction", "ann": "fraction", "snn": "fraction", "control": "fraction"},
    "fidelity": {
        "node!": "text", "source": "text", "function": "text", "sqnr_db": "number", "cosine": "number", "firing_rate": "number",
        "saturation": "number", "silent": "number", "events": "number",
    },
    "thresholds": {
        "node!": "text", "threshold": "number", "step": "number", "levels": "number", "edges!": "numbers", "counts!": "numbers",
    },
    "raster": {"node!": "text", "timesteps!": "count", "neurons!": "count", "events!": "events"},
    "before": {"node!": "text", "sqnr_db": "number", "firing_rate": "number"},
    "history": {"run!": "text", "step!": "number", "best": "number", "mean": "number", "accuracy": "fraction", "relative": "flag"},
    "front": {
        "of!": "text", "energy_pj!": "number", "timesteps": "number", "levels": "number", "accuracy": "fraction", "agreement": "fraction",
        "perplexity": "number", "cosine": "number", "divergence": "number", "picked": "flag",
    },
    "energy": {"network!": "text", "compute_pj": "number", "memory_pj": "number", "total_pj!": "number", "operations": "text"},
    "records": {"name!": "text", "options": "table", "numbers": "table", "papers": "texts", "seconds": "number"},
}  # fmt: skip
METRICS: dict[str, str] = {
    "accuracy": "fractions", "agreement": "fraction", "timesteps": "number", "levels": "number", "samples": "number",
    "spikes_per_inference": "number", "synaptic_operations": "number", "energy_pj": "quantities", "seconds": "quantities",
    "reasons": "table", "floating_operations": "texts", "nonlinear_share": "fraction", "running_means": "texts",
    "seen_in_calibration": "number", "perplexity": "quantities", "bits_per_token": "quantities",
    "next_token_accuracy": "fractions", "next_token_agreement": "fraction", "kl_nats": "number", "of_control": "quantities",
    "cosine": "quantities", "rank_agreement": "quantities", "sign_test": "table", "tokens": "number",
    "before": "table", "chosen": "table", "chips": "table", "accuracy_at_noise": "table", "accuracy_by_kind": "table", "noise": "table",
}  # fmt: skip
MCNEMAR = {"snn_only_right": "number", "control_only_right": "number", "p": "fraction"}
FIELDS = {
    "title": "text", "source": "text", "dataset": "text", "unit": "text", "settings": "table", "spike_share": "fraction",
    "worst": "text", "assumptions": "texts", "recommendation": "texts", "reasons": "table",
}  # fmt: skip
STATUSES = ("exact", "approximate", "floating", "unsupported")


def is_number(value: object) -> bool:
    """Whether the value is a plain int or float (NaN and infinities too)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_fraction(value: object) -> bool:
    """Whether the value is a number from 0 to 1, or one that says nothing: NaN, infinite."""
    return isinstance(value, int | float) and is_number(value) and (not math.isfinite(value) or 0 <= value <= 1)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_event(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 3 and all(is_number(part) for part in value)


KINDS = {
    "text": ("a text", lambda value: isinstance(value, str)),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "status": (f"one of {', '.join(STATUSES)}", lambda value: value in STATUSES),
    "number": ("a number", is_number),
    "count": ("a whole number above 0", lambda value: isinstance(value, int) and is_number(value) and value > 0),
    "fraction": ("a number from 0 to 1", is_fraction),
    "table": ("a mapping", lambda value: isinstance(value, Mapping)),
    "numbers": ("a list of numbers", lambda value: _is_list(value) and all(is_number(item) for item in value)),
    "texts": ("a list of texts", lambda value: _is_list(value) and all(isinstance(item, str) for item in value)),
    "events": ("a list of [step, neuron, level]", lambda value: _is_list(value) and all(_is_event(item) for item in value)),
    "fractions": (
        "a mapping to numbers from 0 to 1, or null",
        lambda value: isinstance(value, Mapping) and all(item is None or is_fraction(item) for item in value.values()),
    ),
    "quantities": (
        "a mapping to numbers, or null",
        lambda value: isinstance(value, Mapping) and all(item is None or is_number(item) for item in value.values()),
    ),
}


@final
@dataclass(frozen=True)
class Story:
    """Everything the page shows. Fractions run from 0 to 1, energies are pJ per inference, times are seconds.

    `metrics` is what `metrics.json` holds (accuracy, agreement, timesteps, levels, samples, spikes_per_inference,
    synaptic_operations, energy_pj, seconds; `reasons` says why an accuracy is null); `mcnemar` holds snn_only_right,
    control_only_right and p. Rows of the lists are as in SCHEMA, `fidelity` and `plan` in execution order:
    `firing_rate` is the share of neurons times steps with an event, `saturation` the share above the highest level,
    `silent` the share of neurons that never fired, `events` the number per inference. `worst` names a row of `fidelity`.
    Of a network that was refined `before` holds the fidelity it had, and `metrics["before"]` what it was judged by. `history` holds the
    steps of every search and training, `run` by run: generations (the best so far, the mean of the generation; as shares of the start
    where `relative`) or epochs (held out, trained on), step 0 being the start. `front` holds networks that were there to choose from.
    `noise` holds accuracies by the strength of noise, 0 to 0.5. `unit` is what one sample is called in the plural. Raises ProgramError,
    naming the part and the row, for anything else.
    """

    title: str
    source: str = ""
    dataset: str = ""
    unit: str = "images"
    settings: Row = field(default_factory=dict[str, Any])
    metrics: Row | None = None
    mcnemar: Row | None = None
    plan: Sequence[Row] = ()
    spike_share: int | float | None = None
    curve: Sequence[Row] = ()
    sweep: Sequence[Row] = ()
    noise: Sequence[Row] = ()
    history: Sequence[Row] = ()
    front: Sequence[Row] = ()
    before: Sequence[Row] = ()
    fidelity: Sequence[Row] = ()
    worst: str | None = None
    thresholds: Sequence[Row] = ()
    raster: Sequence[Row] = ()
    energy: Sequence[Row] = ()
    assumptions: Sequence[str] = ()
    records: Sequence[Row] = ()
    recommendation: Sequence[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        check({item.name: getattr(self, item.name) for item in dataclasses.fields(self)})

    def to_json(self) -> dict[str, Any]:
        """This story in JSON's own types: tuples become lists, NaN and infinities {"$float": "nan"} and the like."""
        return {item.name: _plain(getattr(self, item.name)) for item in dataclasses.fields(self)}

    @staticmethod
    def from_json(value: Row) -> "Story":
        """The story that `to_json` wrote. Raises ProgramError for unknown keys and wrong kinds."""
        allowed = [item.name for item in dataclasses.fields(Story)]
        unknown = sorted(set(value) - set(allowed))
        if unknown or "title" not in value:
            found = f"unknown: {', '.join(unknown)}" if unknown else "no title"
            raise ProgramError("not a report's data", found=found, allowed=", ".join(allowed))
        parts = {key: _restored(item) for key, item in value.items()}
        check(parts)
        return Story(**parts)


def check(parts: Row) -> None:
    """Refuse, with a ProgramError that names the place, parts of a story that are not of the kinds it takes."""
    for name, kind in FIELDS.items():
        if parts.get(name) is not None:
            _check(kind, parts[name], name)
    for part, keys in SCHEMA.items():
        rows = parts.get(part, ())
        if not _is_list(rows):
            raise ProgramError(f"the report's {part} is not a list", found=type(rows).__name__)
        for index, row in enumerate(rows):
            _check_row(row, keys, f"{part}[{index}]")
    for part, keys in (("metrics", METRICS), ("mcnemar", MCNEMAR)):
        if parts.get(part) is not None:
            _check_row(parts[part], keys, part)
    _check_together(parts)


def _check_together(parts: Row) -> None:
    worst = parts.get("worst")
    if worst is not None and worst not in [row["node"] for row in parts.get("fidelity", ())]:
        raise ProgramError("the report's worst layer is not in its fidelity table", found=worst)
    for index, row in enumerate(parts.get("thresholds", ())):
        edges, counts = len(row["edges"]), len(row["counts"])
        if edges != counts + 1:
            raise ProgramError(f"the report's thresholds[{index}] needs one edge more than counts", found=f"{edges} edges, {counts} counts")


def _check(kind: str, value: object, place: str) -> None:
    meaning, accepts = KINDS[kind]
    if not accepts(value):
        raise ProgramError(f"the report's {place} is not {meaning}", found=repr(value)[:80])


def _check_row(row: object, keys: Mapping[str, str], place: str) -> None:
    if not isinstance(row, Mapping):
        raise ProgramError(f"the report's {place} is not a mapping", found=repr(row)[:80])
    for key, kind in keys.items():
        name = key.rstrip("!")
        if key.endswith("!") or row.get(name) is not None:
            _check(kind, row.get(name), f"{place}.{name}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return float(value["$float"]) if set(value) == {"$float"} else {key: _restored(item) for key, item in value.items()}
    return [_restored(item) for item in value] if isinstance(value, list) else value
