"""
The sections of the configuration, each value with its range (DESIGN.md §6).

A phase that is not built yet is switched off, and switching it on is an error.
"""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, final, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, field_validator, model_validator
from pydantic_core import PydanticCustomError


def refused(what: str, permitted: str) -> PydanticCustomError:
    """The error of a value that has the right form but cannot be taken, and what can."""
    return PydanticCustomError("refused", "{what}", {"what": what, "allowed": permitted})


def as_path(value: object) -> object:
    """Text as a path, with ~ as the home folder; what is no text stays for pydantic to refuse."""
    if isinstance(value, str) and (not value or "\0" in value):
        raise refused("is no path", "a path")
    return Path(os.path.expanduser(value)) if isinstance(value, str) else value


NOISE_RANGE = "[low, high], both from 0 to 0.5, low first"


def ascending(value: tuple[float, float]) -> tuple[float, float]:
    """The pair (low, high), low first."""
    if value[0] > value[1]:
        raise refused("has its ends the wrong way round", NOISE_RANGE)
    return value


def rising(value: tuple[float, ...]) -> tuple[float, ...]:
    """Numbers, each above the one before."""
    if list(value) != sorted(set(value)):
        raise refused("does not rise", "a list of numbers, each above the one before")
    return value


def told(text: str) -> Any:
    """What the schema says is allowed, where it could not say it well by itself."""
    return Field(json_schema_extra={"allowed": text})


Place = Annotated[Path, BeforeValidator(as_path), told("a path")]
Address = Annotated[str, Field(min_length=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Strength = Annotated[float, Field(ge=0, le=0.5)]
Range = Annotated[tuple[Strength, Strength], Strict(False), AfterValidator(ascending), told(NOISE_RANGE)]
Widths = Annotated[tuple[Count, ...], Strict(False), told("a list of whole numbers from 1 on")]
Rising = Annotated[tuple[float, ...], Strict(False), Field(min_length=1), AfterValidator(rising), told("a list of rising numbers")]
Strengths = Annotated[tuple[Strength, ...], Strict(False), Field(min_length=1), told("a list of numbers from 0 to 0.5")]
Shifted = Literal[
    "abs", "celu", "clamp", "elu", "erf", "exp", "gelu", "gelu_tanh", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid",
    "mish", "pow", "prelu", "reciprocal", "relu", "relu6", "rsqrt", "selu", "sigmoid", "sign", "silu", "softplus", "square", "tanh",
]  # fmt: skip
Noise = Literal["bit_flip", "salt_and_pepper", "gaussian", "occlusion", "dropped", "jitter"]
Shifts = Annotated[tuple[Shifted, ...], Strict(False), told(f"a list of {', '.join(get_args(Shifted))}")]
Noises = Annotated[tuple[Noise, ...], Strict(False), Field(min_length=1), told(f"a list of {', '.join(get_args(Noise))}")]
PerChannel = Annotated[tuple[float, ...], Strict(False), Field(min_length=1), told("a list of numbers, one per channel")]
Spread = Annotated[tuple[Positive, ...], Strict(False), Field(min_length=1), told("a list of numbers above 0, one per channel")]
Size = Annotated[tuple[Count, Count], Strict(False), told("[height, width] in pixels")]

_Level = Annotated[int, Field(ge=1, le=65535)]
_Step = Annotated[int, Field(ge=1, le=4096)]


def counted(most: int) -> Any:
    """A whole number up to `most`, or the word auto."""

    def check(value: object) -> object:
        if value != "auto" and not (type(value) is int and 1 <= value <= most):
            raise refused("cannot have this value", f"a whole number from 1 to {most}, or auto")
        return value

    return BeforeValidator(check)


def drawn(value: object) -> object:
    """A chip's number, or the word any."""
    if value != "any" and not (type(value) is int and value >= 0):
        raise refused("cannot have this value", "a whole number from 0 on, or any")
    return value


Draw = Annotated[int | Literal["any"], BeforeValidator(drawn), told("a whole number from 0 on, or any")]
LevelsOrAuto = Annotated[int | Literal["auto"], counted(65535), told("a whole number from 1 to 65535, or auto")]
StepsOrAuto = Annotated[int | Literal["auto"], counted(4096), told("a whole number from 1 to 4096, or auto")]
_PART = r"(accuracy|energy|latency)=[0-9.eE+-]+"
Budgeted = Annotated[
    str, Field(pattern=rf"^{_PART}(,{_PART})*$"), told("accuracy=0.5, energy=1e6 (pJ), latency=2 (steps), or several with commas")
]
Levels = Annotated[tuple[_Level, ...], Strict(False), Field(min_length=1), told("a list of whole numbers, each from 1 to 65535")]
Steps = Annotated[tuple[_Step, ...], Strict(False), Field(min_length=1), told("a list of whole numbers, each from 1 to 4096")]


class Section(BaseModel):
    """A mapping of the YAML: unknown keys and values of another type are refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """A section whose every key is commented out is null in YAML: it is the section at its defaults."""
        return {} if value is None else value


@final
class ConversionSection(Section):
    """How activations become neurons: `levels` is N per step, `target_timesteps` is T; auto chooses them by measurement for a `budget`."""

    method: Annotated[Literal["scale_and_fire", "logic_gated", "if", "lif"], told("scale_and_fire, if, lif, logic_gated")] = (
        "scale_and_fire"
    )
    target_timesteps: StepsOrAuto = 4
    levels: LevelsOrAuto = 15
    budget: Budgeted | None = None
    per_channel: bool = True
    placement: Literal["uniform", "two_range", "curve", "density", "auto"] = "uniform"
    rotation: Literal["none", "auto", "all"] = "none"
    dual_threshold: bool = False
    whole_numbers: bool = False
    tau_mem_ms: Positive = 20.0
    dt_ms: Positive = 1.0
    enable_bio_calibration: bool = True

    @field_validator("dual_threshold")
    @classmethod
    def _of_spikes(cls, value: bool, info: Any) -> bool:
        method = info.data.get("method", "scale_and_fire")
        if value and method not in ("if", "lif"):
            raise refused(f"is for neurons that fire over time, and the method is {method}", "false; true for if and lif")
        return value

    @field_validator("placement")
    @classmethod
    def _of_levels(cls, value: str, info: Any) -> str:
        method = info.data.get("method", "scale_and_fire")
        if value != "uniform" and method != "scale_and_fire":
            raise refused(f"places levels, of which a neuron of the method {method} has only one", "uniform")
        return value


@final
class LogicGatedSection(Section):
    """The method logic_gated: `input_bits` thresholds an input value, `gates` of a neuron, the layer from which on (null: whole)."""

    input_bits: Annotated[int, Field(ge=1, le=64)] = 1
    gates: Annotated[int, Field(ge=1, le=64)] = 1
    from_layer: Annotated[str, Field(min_length=1)] | None = None
    epochs: Count = 20


@final
class CalibrationSection(Section):
    """How thresholds are found, on how many samples, which functions have powers of two for heights, and whether the error of earlier
    layers is compensated."""

    thresholds: Literal["mse", "maximum", "percentile", "hmt"] = "mse"
    percentile: Annotated[float, Field(gt=0, le=100)] = 99.9
    shifts: Shifts = ()
    compensate: bool = True
    samples: Count = 512


@final
class CompressionSection(Section):
    """What weights are kept in: `bits` on average where each layer gets as many as it needs; `group` inputs share a scale. And a share
    `sparsity` of the connections (in the pattern channels: of the channels) that leaves."""

    weights: Literal["none", "8", "4", "ternary", "hybrid"] = "none"
    bits: Annotated[float, Field(ge=2, le=8)] = 4.0
    group: Count | None = None
    rounding: Literal["second_order", "nearest"] = "second_order"
    sparsity: Annotated[float, Field(ge=0, lt=1)] = 0.0
    pattern: Annotated[str, Field(pattern=r"^(unstructured|channels|\d+:\d+)$"), told("unstructured, channels, N:M such as 2:4")] = (
        "unstructured"
    )
    prune_by: Literal["spikes", "magnitude"] = "spikes"

    @field_validator("weights", mode="before")
    @classmethod
    def _worded(cls, value: object) -> object:
        """8 and 4 may be written as numbers."""
        return str(value) if type(value) is int else value


@final
class BioCalibrationSection(Section):
    """The search of Deep Bio-Calibration, when `conversion.enable_bio_calibration` is on."""

    algorithm: Literal["hseo"] = "hseo"
    when: Literal["worthwhile", "always"] = "worthwhile"
    population_size: Annotated[int, Field(ge=5)] = 20
    generations: Count = 10


@final
class RobustnessSection(Section):
    """Input noise in the training of logic-gated networks, and in their teaching: of each sample one of the kinds, its strength from the
    range."""

    enable_noise_injection: bool = True
    noise_range: Range = (0.0, 0.45)
    noise_kinds: Noises = ("bit_flip",)
    curriculum: bool = True
    consistency: Annotated[float, Field(ge=0)] = 0.0


@final
class LogicSection(Section):
    """A logic-gated network's form and training; what is None the data set decides."""

    test_dataset: Annotated[Address | None, told("a data set's address, such as mnist[50000:], or null")] = None
    network: Literal["fully_connected", "convolutional"] = "fully_connected"
    hidden: Widths | None = None
    channels: Annotated[Widths, Field(min_length=1)] = (32, 64)
    residual: bool = False
    thermometer: Rising | None = None
    rate_code: Count | None = None
    learnt_bits: bool = False
    share: Annotated[float, Field(ge=0)] | None = None
    batch_size: Annotated[int, Field(ge=2)] | None = None
    learning_rate: Positive = 0.01
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    patience: Count | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    controls: bool | None = None
    distil: Share | None = None
    measured_at: Strengths = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.47, 0.5)


@final
class EvaluationSection(Section):
    """What the result is measured on; `samples` None takes all test samples."""

    samples: Count | None = None
    batch_size: Count = 64
    early_exit: bool = False
    encoding: Literal["graded", "unary", "binary"] = "graded"


@final
class SweepSection(Section):
    """The measure over N levels × T steps, for the report: each N is a conversion of its own, `jobs` of them at once."""

    enable: bool = False
    over_levels: Levels = (7, 15, 31, 63)
    over_timesteps: Steps = (1, 2, 4)
    jobs: Count = 1


@final
class TrainingSection(Section):
    """Training the ANN here first, where no weights can be had; `epochs` None takes as many as the data set needs."""

    enable: bool = False
    epochs: Count | None = None


@final
class TextSection(Section):
    """How texts are read by a model of language; None takes 256 tokens, or the most the model allows."""

    length: Annotated[int, Field(ge=2)] | None = None


@final
class PreprocessingSection(Section):
    """Overrides of how pictures are prepared; None leaves it to the model's own configuration."""

    size: Size | None = None
    mean: PerChannel | None = None
    std: Spread | None = None
    scale: Positive | None = None
    resize: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    shorter_side: Count | None = None
    channels: Count | None = None


@final
class ChipSection(Section):
    """A chip that `calibrate` and `finetune` bring a network to: one is drawn, by `draw`, with this mismatch; null leaves things as they
    are. With any `finetune` makes the network for all of the kind."""

    enable: bool = False
    draw: Draw = 0
    threshold_bits: Annotated[int, Field(ge=1, le=24)] | None = None
    leak_bits: Annotated[int, Field(ge=1, le=24)] | None = None
    decay: Share | None = None
    threshold_mismatch: Annotated[float, Field(ge=0, lt=1)] = 0.0
    tau_mismatch: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dead: Annotated[float, Field(ge=0, lt=1)] = 0.0
