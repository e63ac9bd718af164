"""
The configuration of a conversion: checked sections, read from one YAML, laid over by the command line.

    command line  beats  YAML  beats  defaults

`base_config.yaml` beside this file explains every key (DESIGN.md §6).
"""

import difflib
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails

from spikeloom.config.document import read_document
from spikeloom.config.problems import Problem, allowed, did_you_mean, meant, place, section, shown
from spikeloom.config.sections import (
    Address,
    BioCalibrationSection,
    CalibrationSection,
    ChipSection,
    CompressionSection,
    ConversionSection,
    EvaluationSection,
    LogicGatedSection,
    LogicSection,
    Place,
    PreprocessingSection,
    RobustnessSection,
    Section,
    SweepSection,
    TextSection,
    TrainingSection,
    Widths,
    told,
)
from spikeloom.errors import ConfigError

if TYPE_CHECKING:
    import spikeloom.pipeline

BASE_CONFIG = Path(__file__).with_name("base_config.yaml")
"""The template: every key at its default, explained."""

BUILT_IN = ("zoo:digits-cnn", "digits")
"""The default source and data set. Nobody publishes weights of it, and training it takes seconds: it is always trained."""


@final
class Config(Section):
    """A whole configuration. Paths are relative to the working directory."""

    source: Annotated[Address, told("a model's address, such as zoo:digits-cnn or hf:<id or folder>")] = BUILT_IN[0]
    weights: Place | None = None
    input_shape: Widths | None = None
    dataset: Annotated[Address, told("a data set's address, such as digits, hf:<id or folder> or text:<file>")] = BUILT_IN[1]
    data_root: Place | None = None
    output_dir: Place = Path("artifacts/converted_snn")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    device: Annotated[str, Field(pattern=r"^(cpu|mps|cuda(:\d+)?)$"), told("cpu, cuda, cuda:<number>, mps")] = "cpu"
    conversion: ConversionSection = ConversionSection()
    compression: CompressionSection = CompressionSection()
    logic_gated: LogicGatedSection = LogicGatedSection()
    calibration: CalibrationSection = CalibrationSection()
    bio_calibration: BioCalibrationSection = BioCalibrationSection()
    chip: ChipSection = ChipSection()
    robustness: RobustnessSection = RobustnessSection()
    logic: LogicSection = LogicSection()
    evaluation: EvaluationSection = EvaluationSection()
    sweep: SweepSection = SweepSection()
    training: TrainingSection = TrainingSection()
    text: TextSection = TextSection()
    preprocessing: PreprocessingSection = PreprocessingSection()

    def overridden(self, names: Mapping[str, str] | None = None, **overrides: Any) -> "Config":
        """This configuration with other values, by `names` (those of `OVERRIDES`, where none are given); None leaves a value as it is.
        ConfigError as `load_config`."""
        places = OVERRIDES if names is None else names
        given = {name: value for name, value in overrides.items() if value is not None}
        body = self.model_dump(exclude_unset=True)
        for name, value in given.items():
            *sections, key = places[name].split(".")
            target = body
            for part in sections:
                target = target.setdefault(part, {})
            target[key] = value
        options = {places[name]: "--" + name.replace("_", "-") for name in given}
        try:
            made = Config.model_validate(body)
        except ValidationError as error:
            problems = [
                _problem(detail, options.get(".".join(key for key in detail["loc"] if isinstance(key, str)), ""))
                for detail in error.errors()
            ]
            raise Problem.error("", problems, _TODO) from error
        if names is None:
            check_noise(made, [name for name in NOISE if given.get(name) not in (None, False)])
        return made

    def settings(self, *, allow_pickle: bool = False, resume: bool = False, **overrides: Any) -> "spikeloom.pipeline.Settings":
        """The settings of a conversion, with `overrides` on top as in `overridden`; the built-in default is always trained.

        ConfigError where noise or a logic-gated network is described, which a conversion by another method does not train.
        """
        asked = self.overridden(**overrides)
        from spikeloom.pipeline import Settings

        check_conversion(asked)
        values = asked.values_at(OVERRIDES)
        if not asked.noisy:
            values |= {name: getattr(Settings, name) for name in NOISE}
        if asked.conversion.method == "logic_gated":
            values["bio_calibration"] &= asked.bio_calibration.when == "always"  # of gates it never is worthwhile
            if "target_timesteps" not in asked.conversion.model_fields_set:
                values["timesteps"] = 1  # it has no other
        values["train"] |= (asked.source, asked.dataset) == BUILT_IN and asked.weights is None
        auto = tuple(name for name in ("levels", "timesteps") if values[name] == "auto")
        values |= {name: getattr(Settings, name) for name in auto}
        facts: dict[str, Any] = {"preprocessing": asked.prepared, "chip": asked.chip_options, "auto": auto}
        return Settings(**values, **facts, allow_pickle=allow_pickle, resume=resume)

    def learning(self, *, resume: bool = False, **overrides: Any) -> "spikeloom.pipeline.LogicSettings":
        """The settings of the learning of a logic-gated network, with `overrides` on top by the names of `LEARNING`. Without a data set it
        is the seed task. ConfigError where something is switched on that only a conversion has."""
        asked = self.overridden(LEARNING, **overrides)
        from spikeloom.pipeline import LogicSettings

        check_learning(asked)
        left_open = {"dataset", "output_dir"} - asked.model_fields_set
        values = {name: value for name, value in asked.values_at(LEARNING).items() if name not in left_open}
        return LogicSettings(**values, preprocessing=asked.prepared, resume=resume)

    def values_at(self, places: Mapping[str, str]) -> dict[str, Any]:
        """By name the values that lie at these places."""
        body, values = self.model_dump(), dict[str, Any]()
        for name, path in places.items():
            value: Any = body
            for key in path.split("."):
                value = value[key]
            values[name] = tuple(value) if isinstance(value, list) else value
        return values

    @property
    def noisy(self) -> bool:
        """Whether a conversion is taught under noise: gates are, where somebody asks for it. A section left out asks for nothing."""
        asked = bool(self.robustness.model_fields_set) and self.robustness.enable_noise_injection
        return asked and self.conversion.method == "logic_gated"

    @property
    def prepared(self) -> dict[str, Any] | None:
        """What is said of pictures; None where nothing is."""
        return self.preprocessing.model_dump(exclude_none=True) or None

    @property
    def chip_options(self) -> dict[str, Any] | None:
        """The chip that is described; None where it is off."""
        return self.chip.model_dump(exclude={"enable"}) if self.chip.enable else None


OVERRIDES = {
    "source": "source",
    "weights": "weights",
    "input_shape": "input_shape",
    "dataset": "dataset",
    "data_root": "data_root",
    "output_dir": "output_dir",
    "seed": "seed",
    "device": "device",
    "method": "conversion.method",
    "timesteps": "conversion.target_timesteps",
    "levels": "conversion.levels",
    "budget": "conversion.budget",
    "per_channel": "conversion.per_channel",
    "placement": "conversion.placement",
    "rotation": "conversion.rotation",
    "dual_threshold": "conversion.dual_threshold",
    "whole_numbers": "conversion.whole_numbers",
    "tau_mem_ms": "conversion.tau_mem_ms",
    "dt_ms": "conversion.dt_ms",
    "compress": "compression.weights",
    "bits": "compression.bits",
    "group": "compression.group",
    "rounding": "compression.rounding",
    "sparsity": "compression.sparsity",
    "pattern": "compression.pattern",
    "prune_by": "compression.prune_by",
    "input_bits": "logic_gated.input_bits",
    "gates": "logic_gated.gates",
    "from_layer": "logic_gated.from_layer",
    "gate_epochs": "logic_gated.epochs",
    "noise": "robustness.enable_noise_injection",
    "noise_range": "robustness.noise_range",
    "noise_kinds": "robustness.noise_kinds",
    "curriculum": "robustness.curriculum",
    "consistency": "robustness.consistency",
    "bio_calibration": "conversion.enable_bio_calibration",
    "bio_when": "bio_calibration.when",
    "population_size": "bio_calibration.population_size",
    "generations": "bio_calibration.generations",
    "thresholds": "calibration.thresholds",
    "percentile": "calibration.percentile",
    "shifts": "calibration.shifts",
    "compensate": "calibration.compensate",
    "calibration_samples": "calibration.samples",
    "samples": "evaluation.samples",
    "batch_size": "evaluation.batch_size",
    "early_exit": "evaluation.early_exit",
    "encoding": "evaluation.encoding",
    "sweep": "sweep.enable",
    "sweep_levels": "sweep.over_levels",
    "sweep_timesteps": "sweep.over_timesteps",
    "sweep_jobs": "sweep.jobs",
    "train": "training.enable",
    "epochs": "training.epochs",
    "length": "text.length",
}
"""The pipeline's name of a setting (and, with hyphens, its option on the command line), and its place in the YAML."""

NOISE = ("noise", "noise_range", "noise_kinds", "curriculum", "consistency")
"""Of these what a conversion teaches gates under."""

LEARNING = {
    "dataset": "dataset",
    "data_root": "data_root",
    "output_dir": "output_dir",
    "seed": "seed",
    "device": "device",
    "test_dataset": "logic.test_dataset",
    "network": "logic.network",
    "hidden": "logic.hidden",
    "channels": "logic.channels",
    "residual": "logic.residual",
    "thermometer": "logic.thermometer",
    "rate_code": "logic.rate_code",
    "learnt_bits": "logic.learnt_bits",
    "share": "logic.share",
    "batch_size": "logic.batch_size",
    "learning_rate": "logic.learning_rate",
    "weight_decay": "logic.weight_decay",
    "patience": "logic.patience",
    "precision": "logic.precision",
    "controls": "logic.controls",
    "distil": "logic.distil",
    "measured_at": "logic.measured_at",
    "noise": "robustness.enable_noise_injection",
    "noise_range": "robustness.noise_range",
    "noise_kinds": "robustness.noise_kinds",
    "curriculum": "robustness.curriculum",
    "consistency": "robustness.consistency",
    "samples": "evaluation.samples",
    "epochs": "training.epochs",
}
"""The same of the learning of logic-gated networks."""

_TODO = f"every key is explained in {BASE_CONFIG}"


def check_conversion(asked: Config) -> None:
    """Nothing where a conversion does all that is asked; else ConfigError. Noise at its defaults asks for nothing: it is on for what trains
    logic-gated networks."""
    if asked.robustness.enable_noise_injection and asked.robustness != RobustnessSection():
        check_noise(asked, ["robustness"])
    if asked.logic != LogicSection():
        raise ConfigError(
            "logic describes how `spikeloom train` trains a logic-gated network; a conversion does not",
            found=f"conversion.method: {asked.conversion.method}",
            allowed="logic at its defaults",
            todo="train one with `spikeloom train --config`, or leave the section out",
        )


def check_noise(asked: Config, given: Sequence[str]) -> None:
    """Nothing where no noise is given, or gates are taught; else ConfigError: other conversions teach nothing."""
    method, options = asked.conversion.method, ["--" + name.replace("_", "-") if name in NOISE else name for name in given]
    if given and method != "logic_gated":
        raise ConfigError(
            f"{', '.join(options)}: noise is for a network that is taught, and a conversion by the method {method} teaches none",
            found=f"conversion.method: {method}",
            allowed="conversion.method: logic_gated; else robustness at its defaults, or enable_noise_injection: false",
            todo="choose --method logic_gated, train a network with `spikeloom train --config`, or leave noise out",
        )


def check_learning(asked: Config) -> None:
    """Nothing where a learning does all that is asked; else ConfigError names what only a conversion has."""
    switched = (
        ("source", asked.source != BUILT_IN[0]),
        ("weights", asked.weights is not None),
        ("input_shape", asked.input_shape is not None),
        ("bio_calibration.when: always", asked.bio_calibration.when == "always"),
        ("compression.weights", asked.compression.weights != "none"),
        ("compression.sparsity", asked.compression.sparsity > 0),
        ("chip.enable", asked.chip.enable),
        ("evaluation.early_exit", asked.evaluation.early_exit),
        ("sweep.enable", asked.sweep.enable),
    )
    for key, on in switched:
        if on:
            raise ConfigError(f"{key} is for conversions; a logic-gated network is trained from nothing", todo=f"leave {key} out")


@functools.cache
def _schema() -> dict[str, Any]:
    return Config.model_json_schema()


def _problem(detail: ErrorDetails, where: str) -> Problem:
    """What pydantic says, as we say it."""
    path, schema = detail["loc"], _schema()
    key = ".".join(map(str, path))
    if unknown(detail):
        return Problem(where, key, f"does not exist{meant(schema, path)}", allowed=allowed(section(schema, path[:-1])))
    said: dict[str, Any] = detail.get("ctx", {}) if detail["type"] == "refused" else {}
    may_be = str(said.get("allowed") or allowed(section(schema, path)))
    near = difflib.get_close_matches(str(detail["input"]), may_be.split(", "), n=1) if detail["type"] == "literal_error" else []
    return Problem(where, key, str(said.get("what", f"cannot have this value{did_you_mean(near)}")), shown(detail["input"]), may_be)


def unknown(detail: ErrorDetails) -> bool:
    """Whether a problem is a key that does not exist."""
    return detail["type"] in ("extra_forbidden", "invalid_key")


def load_config(path: Path) -> Config:
    """The configuration in a YAML file, over the defaults.

    Raises one ConfigError for all its problems, each with its key, what was found, what is allowed and its line.
    """
    document = read_document(path)
    try:
        return Config.model_validate(document.values)
    except ValidationError as error:
        placed = sorted(((document.position(d["loc"], of_key=unknown(d)), d) for d in error.errors()), key=lambda pair: pair[0])
        raise Problem.error(str(path), [_problem(detail, place(position)) for position, detail in placed], _TODO) from error
