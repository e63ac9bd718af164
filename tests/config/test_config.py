"""The configuration: defaults, the template, precedence, and what is refused with which words."""

import contextlib
import dataclasses
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikeloom.config import BASE_CONFIG, Config, load_config
from spikeloom.config.model import LEARNING, OVERRIDES
from spikeloom.errors import ConfigError
from spikeloom.pipeline import LogicSettings, Settings

Load = Callable[[str], Config]


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """`loaded(text)` is the configuration that the text says."""

    def load(text: str) -> Config:
        path = tmp_path / "my.yaml"
        path.write_text(textwrap.dedent(text))
        return load_config(path)

    return load


def refusal(load: Load, text: str) -> str:
    """The message of the error that a text gives, with the file's folder cut off."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    return "\n".join(line[line.find("my.yaml") :] if "my.yaml" in line else line for line in str(caught.value).splitlines())


def keys(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield above + key
        if isinstance(value, dict):
            yield from keys(value, f"{above}{key}.")


# --- defaults and the template -------------------------------------------------------------------------------------------


WORTHWHILE: dict[str, Any] = {"bio_calibration": True, "bio_when": "worthwhile"}
"""A configuration asks for Deep Bio-Calibration where it is worthwhile; code asks for nothing that it does not name."""


def test_defaults_are_those_of_the_pipeline_and_the_built_in_is_trained() -> None:
    assert Config().settings() == dataclasses.replace(Settings(), train=True, **WORTHWHILE)


def test_every_setting_of_the_pipeline_can_be_configured() -> None:
    only_on_the_command_line, sections = {"allow_pickle", "resume"}, {"preprocessing", "chip", "auto"}
    assert {field.name for field in dataclasses.fields(Settings)} == {*OVERRIDES, *only_on_the_command_line, *sections}


def test_defaults_of_learning_are_those_of_the_pipeline() -> None:
    assert Config().learning() == LogicSettings()


def test_every_setting_of_learning_can_be_configured() -> None:
    assert {field.name for field in dataclasses.fields(LogicSettings)} == {*LEARNING, "resume", "preprocessing"}


def test_the_template_in_the_repository_is_the_one_in_the_package() -> None:
    repository = Path(__file__).resolve().parents[2]
    assert (repository / "configs" / "templates" / "base_config.yaml").read_bytes() == BASE_CONFIG.read_bytes()


def test_the_template_holds_every_key_at_its_default() -> None:
    assert load_config(BASE_CONFIG) == Config()
    assert set(keys(yaml.safe_load(BASE_CONFIG.read_text()))) == set(keys(Config().model_dump()))


def test_the_template_holds_what_the_design_asks_for() -> None:
    found = yaml.safe_load(BASE_CONFIG.read_text())
    asked = {
        "conversion": {"method": "scale_and_fire", "target_timesteps": 4, "enable_bio_calibration": True},
        "bio_calibration": {"algorithm": "hseo", "population_size": 20, "generations": 10},
        "robustness": {"enable_noise_injection": True, "noise_range": [0.0, 0.45]},
    }
    assert all(found[section].items() >= values.items() for section, values in asked.items())


@pytest.mark.parametrize("text", ["", "# nothing\n", "calibration:\n", "conversion: {}\n"])
def test_what_is_left_out_keeps_its_default(loaded: Load, text: str) -> None:
    assert loaded(text) == Config()


def test_auto_is_told_by_name_and_the_numbers_stay_numbers(loaded: Load) -> None:
    found = loaded("conversion: {levels: auto, budget: 'accuracy=0.5,latency=2'}\nsweep: {over_levels: [3, 7]}").settings(timesteps="auto")
    assert (found.auto, found.budget, found.sweep_levels) == (("levels", "timesteps"), "accuracy=0.5,latency=2", (3, 7))
    assert (found.levels, found.timesteps) == (Settings().levels, Settings().timesteps)
    assert loaded("conversion: {levels: auto}").settings(levels=31).auto == ()


# --- values reach the pipeline -------------------------------------------------------------------------------------------


def test_shifts_are_the_functions_that_powers_of_two_can_stand_for() -> None:
    from spikeloom.calibrate.balance import UNSHIFTED
    from spikeloom.config.sections import Shifted
    from spikeloom.neuron import FUNCTIONS
    from spikeloom.pipeline.passes import spiking_passes

    assert set(get_args(Shifted)) == FUNCTIONS.keys() - UNSHIFTED
    assert spiking_passes(Settings(shifts=("exp",)), "density")[-1].record().options["shifts"] == ["exp"]


def test_values_reach_the_settings(loaded: Load) -> None:
    found = loaded("""
        source: zoo:lenet
        weights: ~/w.safetensors
        input_shape: [1, 28, 28]
        dataset: mnist
        seed: 7
        conversion: {method: lif, target_timesteps: 32, tau_mem_ms: 1e1, per_channel: false}
        calibration: {thresholds: percentile, percentile: 99, shifts: [exp, gelu], compensate: false, samples: 9}
        evaluation: {samples: 11, batch_size: 3, early_exit: true, encoding: unary}
        training: {enable: true, epochs: 2}
        preprocessing: {mean: [0.5], std: [0.25], size: [28, 28], scale: 3.0e-3}
    """).settings()
    assert found == Settings(
        **WORTHWHILE,
        source="zoo:lenet",
        weights=Path.home() / "w.safetensors",
        input_shape=(1, 28, 28),
        dataset="mnist",
        seed=7,
        method="lif",
        timesteps=32,
        tau_mem_ms=10.0,
        per_channel=False,
        thresholds="percentile",
        percentile=99.0,
        shifts=("exp", "gelu"),
        compensate=False,
        calibration_samples=9,
        samples=11,
        batch_size=3,
        early_exit=True,
        encoding="unary",
        train=True,
        epochs=2,
        preprocessing={"mean": (0.5,), "std": (0.25,), "size": (28, 28), "scale": 0.003},
    )


def test_the_command_line_beats_the_file_and_the_file_beats_the_defaults(loaded: Load) -> None:
    found = loaded("conversion: {levels: 7, target_timesteps: 2}").settings(levels=31, resume=True)
    assert (found.levels, found.timesteps, found.seed, found.resume) == (31, 2, 0, True)


def test_an_override_of_none_or_false(loaded: Load) -> None:
    config = loaded("calibration: {compensate: true}\ntraining: {enable: true}\nsource: zoo:lenet")
    assert config.settings(compensate=None).compensate
    assert not config.settings(compensate=False, train=False).compensate
    assert not config.settings(train=False).train


@pytest.mark.parametrize(
    ("overrides", "trained"),
    [
        ({}, True),
        ({"source": "zoo:lenet"}, False),
        ({"dataset": "mnist"}, False),
        ({"weights": Path("w.pt")}, False),
        ({"source": "zoo:lenet", "train": True}, True),
    ],
)
def test_only_the_built_in_default_is_trained_unasked(overrides: dict[str, Any], trained: bool) -> None:
    assert Config().settings(**overrides).train is trained


def test_values_reach_the_settings_of_learning(loaded: Load) -> None:
    found = loaded("""
        dataset: mnist
        output_dir: here
        seed: 7
        robustness: {noise_range: [0.1, 0.3], noise_kinds: [gaussian, occlusion], curriculum: false, consistency: 0.5}
        logic: {test_dataset: mnist@test, network: convolutional, hidden: [64], channels: [8, 16], residual: true,
                thermometer: [0.2, 0.6], rate_code: 3, learnt_bits: true, share: 0.5,
                batch_size: 32, learning_rate: 1e-3, patience: 3, controls: true, distil: 0.25, measured_at: [0, 0.3]}
        evaluation: {samples: 11}
        training: {epochs: 2}
        preprocessing: {size: [14, 14]}
    """).learning(resume=True, epochs=5)
    assert found == LogicSettings(
        dataset="mnist",
        test_dataset="mnist@test",
        output_dir=Path("here"),
        seed=7,
        noise_range=(0.1, 0.3),
        noise_kinds=("gaussian", "occlusion"),
        curriculum=False,
        consistency=0.5,
        network="convolutional",
        hidden=(64,),
        channels=(8, 16),
        residual=True,
        thermometer=(0.2, 0.6),
        rate_code=3,
        learnt_bits=True,
        share=0.5,
        batch_size=32,
        learning_rate=1e-3,
        patience=3,
        controls=True,
        distil=0.25,
        measured_at=(0.0, 0.3),
        samples=11,
        epochs=5,
        preprocessing={"size": (14, 14)},
        resume=True,
    )


def test_a_data_set_that_is_named_is_learnt_whatever_it_is_called(loaded: Load) -> None:
    assert loaded("seed: 1").learning().dataset == "prototypes"
    assert loaded("dataset: digits").learning().dataset == "digits"
    assert load_config(BASE_CONFIG).learning().dataset == "digits"
    assert loaded("seed: 1").learning(dataset="digits").dataset == "digits"


def test_the_template_converts_and_learns_as_it_is() -> None:
    template = load_config(BASE_CONFIG)
    assert template.settings() == Config().settings()
    assert template.learning().noise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("robustness: {noise_range: [0, 0.3]}", "a conversion by the method scale_and_fire teaches none"),
        ("robustness: {noise_kinds: [gaussian]}\nconversion: {method: lif}", "a conversion by the method lif teaches none"),
        ("logic: {hidden: [8]}", "describes how `spikeloom train` trains a logic-gated network"),
    ],
)
def test_a_conversion_refuses_what_it_would_ignore(loaded: Load, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        loaded(text).settings()
    assert "spikeloom train --config" in str(caught.value)
    assert loaded(text).learning() != LogicSettings()


def test_gates_are_taught_under_noise_where_somebody_asks_for_it(loaded: Load) -> None:
    gates = "conversion: {method: logic_gated}\n"
    asked = dataclasses.replace(Config().settings(), method="logic_gated", timesteps=1, bio_calibration=False)
    assert loaded(gates).settings() == asked
    noisy = dataclasses.replace(asked, noise=True)
    assert loaded(gates + "robustness: {enable_noise_injection: true}").settings() == noisy
    assert loaded(gates).settings(noise=True) == noisy
    assert loaded(gates + "robustness: {enable_noise_injection: false, noise_range: [0, 0.3]}").settings() == asked
    assert loaded(gates + "robustness: {noise_range: [0, 0.3]}").settings(noise=False) == asked
    text = "robustness: {noise_range: [0.1, 0.3], noise_kinds: [gaussian, dropped], curriculum: false, consistency: 0.5}"
    told = {"noise_range": (0.1, 0.3), "noise_kinds": ("gaussian", "dropped"), "curriculum": False, "consistency": 0.5}
    assert loaded(gates + text).settings() == dataclasses.replace(noisy, **told)


@pytest.mark.parametrize("options", [{"noise": True}, {"noise_range": [0.0, 0.45]}, {"noise_kinds": ["bit_flip"]}, {"consistency": 0.5}])
def test_noise_that_is_asked_for_is_refused_where_nothing_is_taught(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match="noise is for a network that is taught") as caught:
        Config().settings(**options)
    said = str(caught.value)
    assert said.startswith("--" + name.replace("_", "-"))
    assert "found: conversion.method: scale_and_fire" in said
    assert "allowed: conversion.method: logic_gated" in said
    assert "--method logic_gated" in said
    assert Config().settings(noise=False, method="if").noise is False


def test_a_conversion_bears_noise_that_is_off_or_as_it_ships(loaded: Load) -> None:
    for text in ("robustness: {enable_noise_injection: false, noise_range: [0, 0.3]}", "robustness: {enable_noise_injection: true}"):
        assert loaded(text).settings() == Config().settings()


@pytest.mark.parametrize(
    "text",
    [
        "source: zoo:lenet",
        "weights: w.safetensors",
        "bio_calibration: {when: always}",
        "compression: {weights: 4}",
        "compression: {sparsity: 0.5}",
        "chip: {enable: true}",
        "evaluation: {early_exit: true}",
        "sweep: {enable: true}",
    ],
)
def test_learning_refuses_what_only_a_conversion_has(loaded: Load, text: str) -> None:
    with pytest.raises(ConfigError, match="is for conversions; a logic-gated network is trained from nothing"):
        loaded(text).learning()


# --- what is refused -----------------------------------------------------------------------------------------------------

REFUSED = [
    ("conversion:\n  levels: 0\n", "line 2, column 11: conversion.levels", "found: 0", "allowed: a whole number from 1 to 65535"),
    ("conversion:\n  levels: 15.5\n", "conversion.levels", "found: 15.5", "a whole number"),
    ("conversion: {levels: '15'}\n", "line 1, column 22: conversion.levels", "found: '15'", "a whole number"),
    ("conversion: {levels: true}\n", "conversion.levels", "found: true", "a whole number"),
    ("conversion: {dual_threshold: true}\n", "conversion.dual_threshold", "found: true", "true for if and lif"),
    ("conversion: {levels: many}\n", "conversion.levels", "found: 'many'", "or auto"),
    ("conversion: {budget: speed=1}\n", "conversion.budget", "found: 'speed=1'", "accuracy=0.5"),
    ("conversion: {target_timesteps: 5000}\n", "conversion.target_timesteps", "found: 5000", "from 1 to 4096"),
    ("conversion: {method: lifs}\n", "conversion.method", "did you mean lif?", "allowed: scale_and_fire, if, lif"),
    ("logic_gated: {gates: 0}\n", "logic_gated.gates", "", "1"),
    ("bio_calibration: {when: never}\n", "bio_calibration.when", "found: 'never'", "allowed: worthwhile, always"),
    ("conversion: {enable_bio_calibration: 1}\n", "conversion.enable_bio_calibration", "found: 1", "true or false"),
    ("conversion: {method: if, placement: density}\n", "conversion.placement", "found: 'density'", "allowed: uniform"),
    ("conversion: {method: lif, placement: auto}\n", "conversion.placement", "found: 'auto'", "allowed: uniform"),
    ("conversion: {rotation: some}\n", "conversion.rotation", "found: 'some'", "allowed: none, auto, all"),
    ("conversion: {tau_mem_ms: 0}\n", "conversion.tau_mem_ms", "found: 0", "a number above 0"),
    ("conversion: {dt_ms: .nan}\n", "conversion.dt_ms", "found: nan", "a number above 0"),
    ("conversion: fast\n", "line 1, column 13: conversion", "found: 'fast'", "the keys method, target_timesteps"),
    ("robustness: {enable_noise_injection: 1}\n", "robustness.enable_noise_injection", "found: 1", "true or false"),
    ("robustness: {noise_kinds: [snow]}\n", "robustness.noise_kinds", "found: 'snow'", "bit_flip, salt_and_pepper, gaussian"),
    ("robustness: {noise_kinds: []}\n", "robustness.noise_kinds", "found: []", "a list of bit_flip"),
    ("logic: {thermometer: [0.5, 0.25]}\n", "logic.thermometer", "does not rise", "each above the one before"),
    ("logic: {hidden: [8, 0]}\n", "logic.hidden", "found: 0", "whole numbers from 1 on"),
    ("logic: {network: deep}\n", "logic.network", "found: 'deep'", "fully_connected, convolutional"),
    ("logic: {measured_at: [0.7]}\n", "logic.measured_at", "found: 0.7", "from 0 to 0.5"),
    ("robustness: {noise_range: [0.5, 0.1]}\n", "robustness.noise_range", "found: [0.5, 0.1]", "low first"),
    ("robustness: {noise_range: [0, 2]}\n", "line 1, column 31: robustness.noise_range.1", "found: 2", "from 0 to 0.5"),
    ("calibration: {percentile: 101}\n", "calibration.percentile", "found: 101", "above 0, at most 100"),
    ("calibration: {shifts: [sqrt]}\n", "calibration.shifts.0", "found: 'sqrt'", "abs, celu"),
    ("calibration: {thresholds: mean}\n", "calibration.thresholds", "found: 'mean'", "mse, maximum, percentile, hmt"),
    ("bio_calibration: {population_size: 4}\n", "bio_calibration.population_size", "found: 4", "from 5 on"),
    ("evaluation: {samples: 0}\n", "evaluation.samples", "found: 0", "a whole number from 1 on, or null"),
    ("text: {length: 1}\n", "text.length", "found: 1", "a whole number from 2 on, or null"),
    ("evaluation: {early_exit: 1}\n", "evaluation.early_exit", "found: 1", "true or false"),
    ("preprocessing: {std: [1.0, 0.0]}\n", "preprocessing.std.1", "found: 0.0", "numbers above 0"),
    ("preprocessing: {size: 32}\n", "preprocessing.size", "found: 32", "[height, width] in pixels"),
    ("seed: -1\n", "line 1, column 7: seed", "found: -1", "from 0 to 4294967295"),
    ("device: gpu\n", "device", "found: 'gpu'", "cpu, cuda, cuda:<number>, mps"),
    ("output_dir: ''\n", "output_dir", "found: ''", "allowed: a path"),
    ("source: null\n", "source", "found: null", "a model's address"),
    ("convertion: {levels: 1}\n", "line 1, column 1: convertion does not exist", "did you mean conversion?", "allowed: the keys source,"),
    ("conversion:\n  levls: 3\n", "line 2, column 3: conversion.levls does not exist", "did you mean levels?", "allowed: the keys method,"),
    ("levels: 3\n", "line 1, column 1: levels does not exist", "did you mean conversion.levels?", "allowed: the keys source,"),
    ("seed: 1\nseed: 2\n", "line 2, column 1: seed stands twice", "found: also in line 1, column 1", "allowed: once"),
    ("evaluation: {samples: 1, samples: 1}\n", "line 1, column 26: evaluation.samples stands twice", "line 1, column 14", ""),
    ("seed: [1\n", "line 2, column 1: this is no YAML", "found: expected ',' or ']'", ""),
    ("seed: !!python/object/apply:os.getcwd []\n", "line 1, column 7: this is no YAML", "python/object/apply:os.getcwd", ""),
    ("- seed\n", "is not a configuration", "found: ['seed']", "keys with values"),
    ("1: 2\n", "is not a configuration", "found: 1", "keys with values"),
    ("seed: 2020-13-45\n", "this is no YAML", "month must be in 1..12", ""),
    ("seed: \x07\n", "this is no YAML", "special characters", ""),
    ("[" * 999, "this is no YAML", "recursion", ""),
    ("a: &a {b: *a}\n", "line 1, column 1: a does not exist", "", ""),
]


@pytest.mark.parametrize(("text", "parts"), [(text, parts) for text, *parts in REFUSED], ids=[text[:50] for text, *_ in REFUSED])
def test_what_cannot_be_used_is_named_with_its_line(loaded: Load, text: str, parts: list[str]) -> None:
    message = refusal(loaded, text)
    assert message.startswith("my.yaml")
    assert all(part in message for part in parts), message


def test_all_problems_come_at_once_in_the_order_of_their_lines(loaded: Load) -> None:
    text = "seed: -1\nevaluation:\n  sample: 3\n  encoding: radio\nconversion:\n  levels: 0\ndevice: gpu\n"
    lines = refusal(loaded, text).splitlines()
    assert lines[0] == "my.yaml has 5 problems"
    headlines = [line.strip() for line in lines if line.strip().startswith("line ")]
    assert [headline.split(",")[0] for headline in headlines] == ["line 1", "line 3", "line 4", "line 6", "line 7"]
    assert "evaluation.sample does not exist, did you mean samples?" in headlines[1]
    assert [line.strip() for line in lines[3:4]] == ["allowed: a whole number from 0 to 4294967295"]
    assert lines[-1] == f"  what to do: every key is explained in {BASE_CONFIG}"


def test_a_value_from_the_command_line_is_named_by_its_option() -> None:
    with pytest.raises(ConfigError) as caught:
        Config().settings(calibration_samples=0)
    assert str(caught.value).startswith("--calibration-samples: calibration.samples cannot have this value\n  found: 0\n")


def test_an_option_that_does_not_go_with_the_file_is_refused(loaded: Load) -> None:
    config = loaded("conversion: {placement: density}")
    with pytest.raises(ConfigError, match=r"conversion\.placement places levels"):
        config.settings(method="if")


@pytest.mark.parametrize(
    ("make", "said"),
    [(Path.mkdir, "directory"), (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not UTF-8"), (lambda path: None, "No such file")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "my.yaml"
    make(path)
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_config(path)
    assert said in str(caught.value)


def test_a_merged_anchor_may_be_overridden(loaded: Load) -> None:
    assert loaded("conversion: &c {levels: 7}\ntraining: {epochs: 3}\n").conversion.levels == 7
    merged = loaded("calibration: &c {samples: 5}\nevaluation: {<<: *c, samples: 6}\n")
    assert (merged.calibration.samples, merged.evaluation.samples) == (5, 6)


def test_an_exponential_value_costs_nothing(loaded: Load) -> None:
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert "does not exist" in refusal(loaded, "l0: &l0 [a]\n" + levels + "seed: *l11\n")


KNOWN = sorted({part for key in keys(Config().model_dump()) for part in key.split(".")})
names = st.sampled_from(KNOWN) | st.text(max_size=3)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
sections = st.dictionaries(names | st.integers(), leaves | st.lists(leaves, max_size=3), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, sections | leaves, max_size=5).map(yaml.safe_dump) | st.text(max_size=40))
def test_any_file_is_a_configuration_or_a_configuration_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(ConfigError):  # any other error fails the test
        assert load_config(path).seed >= 0


def test_a_chip_is_described_in_a_section_and_off_by_default(tmp_path: Path) -> None:
    assert Config().settings().chip is None
    path = tmp_path / "chip.yaml"
    path.write_text("chip: {enable: true, decay: 0.95, threshold_bits: 6, dead: 0.02}\n")
    chip = load_config(path).settings().chip
    assert chip == {
        "draw": 0, "threshold_bits": 6, "leak_bits": None, "decay": 0.95,
        "threshold_mismatch": 0.0, "tau_mismatch": 0.0, "dead": 0.02,
    }  # fmt: skip


@pytest.mark.parametrize(("written", "kept"), [("8", "8"), ("4", "4"), ("ternary", "ternary"), ('"8"', "8"), ("none", "none")])
def test_bits_of_weights_may_be_written_as_numbers(tmp_path: Path, written: str, kept: str) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(f"compression: {{weights: {written}}}\n")
    assert load_config(path).settings().compress == kept
