"""The commands: what each option asks of the pipeline, and what is printed; the pipeline is a stand-in here."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from spikeloom import __version__, pipeline
from spikeloom.cli import app, main
from spikeloom.cli.convert import convert as convert_command
from spikeloom.config.model import OVERRIDES, Config
from spikeloom.config.problems import allowed, section
from spikeloom.errors import ProgramError
from spikeloom.pipeline import Settings

METRICS: dict[str, Any] = {
    "accuracy": {"ann": 0.9801, "snn": 0.9712, "control": None},
    "agreement": 0.9934,
    "mcnemar": {"snn_only_right": 7, "control_only_right": 2, "p": 0.18},
    "timesteps": 4,
    "levels": 15,
    "samples": 1797,
    "spikes_per_inference": 7400.5,
    "synaptic_operations": 1.12e6,
    "energy_pj": {"ann_fp32": 3.14e6, "ann_int8": 2.02e5, "snn": 9.49e6},
    "seconds": {"ann": 4.2e-5, "snn": 2.8e-4, "conversion": 12.5},
    "reasons": {"control": "the folder does not hold it"},
    "early_exit": {"margin": 0.1, "mean_timesteps": 1.75},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the pipeline was asked to convert or evaluate; it answers with METRICS."""
    seen: list[Any] = []

    def convert(settings: Settings, *, progress: Callable[[str, int, int], None]) -> Any:
        seen.append(settings)
        progress("training the ANN: epoch 1/2", 1, 2)
        network = SimpleNamespace(program=SimpleNamespace(settings={}))
        return SimpleNamespace(folder=settings.output_dir, metrics=METRICS, snn=network)

    def evaluate(folder: Path, dataset: str | None = None, **options: Any) -> Any:
        seen.append((folder, dataset, options))
        options["progress"]("evaluating", 1, 2)
        return METRICS

    monkeypatch.setattr(pipeline, "convert", convert)
    monkeypatch.setattr(pipeline, "evaluate", evaluate)
    return seen


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "120"})


# --- convert -------------------------------------------------------------------------------------------------------------


def test_convert_without_arguments_trains_the_built_in_default(asked: list[Any]) -> None:
    result = run("convert")
    assert result.exit_code == 0, result.stderr
    assert asked == [Settings(train=True, bio_calibration=True, bio_when="worthwhile")]


def test_every_option_of_convert_reaches_the_pipeline(asked: list[Any], tmp_path: Path) -> None:
    options = (
        "--weights w.pt --dataset mnist --data-root d --method lif --timesteps 8 --levels 7 --thresholds hmt --no-compensate "
        "--input-shape 1,28,28 "
        "--calibration-samples 9 --samples 11 --batch-size 3 --length 33 --train --epochs 2 --early-exit --device cuda:1 --seed 5 "
        "--sweep --sweep-levels 3,7 --sweep-timesteps 1,5 --sweep-jobs 2 --output-dir o --allow-pickle --resume"
    )
    result = run("convert", "zoo:lenet", *options.split())
    assert result.exit_code == 0, result.stderr
    assert asked == [
        Settings(
            bio_calibration=True,
            bio_when="worthwhile",
            source="zoo:lenet",
            weights=Path("w.pt"),
            input_shape=(1, 28, 28),
            dataset="mnist",
            data_root=Path("d"),
            method="lif",
            timesteps=8,
            levels=7,
            thresholds="hmt",
            compensate=False,
            calibration_samples=9,
            samples=11,
            batch_size=3,
            length=33,
            train=True,
            epochs=2,
            early_exit=True,
            sweep=True,
            sweep_levels=(3, 7),
            sweep_timesteps=(1, 5),
            sweep_jobs=2,
            device="cuda:1",
            seed=5,
            output_dir=Path("o"),
            allow_pickle=True,
            resume=True,
        )
    ]


def test_gates_are_taught_under_the_noise_of_the_options(asked: list[Any]) -> None:
    options = "--method logic_gated --noise --noise-range 0.1 0.3 --noise-kinds gaussian,dropped --no-curriculum --consistency 0.5"
    result = run("convert", *options.split())
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = {"noise_range": (0.1, 0.3), "noise_kinds": ("gaussian", "dropped"), "curriculum": False, "consistency": 0.5}
    assert asked == [Settings(train=True, method="logic_gated", timesteps=1, noise=True, bio_when="worthwhile", **told)]
    result = run("convert", "--method", "if", "--noise")
    assert (result.exit_code, result.stdout) == (2, "")
    words = " ".join(result.stderr.split())
    assert "error: --noise: noise is for a network that is taught, and a conversion by the method if teaches none" in words
    assert len(asked) == 1


def test_what_networks_bear_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"ann": {"0.0": 0.94, "0.4": 0.15}, "snn": {"0.0": 0.9, "0.4": 0.62}, "control": {"0.0": 0.2, "0.4": 0.1}}
    metrics = METRICS | {"accuracy_at_noise": found, "noise": {"kinds": ["bit_flip"], "range": [0.0, 0.45], "samples": 100}}
    monkeypatch.setattr(pipeline, "evaluate", lambda *_, **__: metrics)
    printed = " ".join(run("evaluate", "f").stdout.replace("\N{NO-BREAK SPACE}", " ").split())
    assert "right answers under noise (bit_flip): 0 %: ANN 94.0 %, SNN 90.0 %, control 20.0 %" in printed
    assert "40 %: ANN 15.0 %, SNN 62.0 %, control 10.0 %" in printed


def test_options_of_convert_are_settings_or_about_the_command_itself() -> None:
    own = {"config", "as_json", "debug", "allow_pickle", "resume", "residue"}  # residue: the agent's, of which the pipeline knows nothing
    assert set(inspect.signature(convert_command).parameters) - own <= set(OVERRIDES)


def test_levels_and_steps_may_be_left_to_a_budget(asked: list[Any], tmp_path: Path) -> None:
    result = run("convert", *["--levels", "auto", "--timesteps", "auto", "--budget", "accuracy=0.5,latency=2", "--sweep-levels", "3,7"])
    assert result.exit_code == 0, result.stderr
    (settings,) = asked
    assert (settings.auto, settings.budget, settings.sweep_levels) == (("levels", "timesteps"), "accuracy=0.5,latency=2", (3, 7))
    for option, given in (("--levels", "some"), ("--timesteps", "1.5"), ("--budget", "speed=1")):
        result = run("convert", option, given)
        assert (result.exit_code, result.stdout) == (2, "")
        assert option in result.stderr
        assert given in result.stderr


def test_a_configuration_without_a_chip_brings_no_network_to_one(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("chip: {decay: 0.9}\n")
    for command in ("calibrate", "finetune"):
        result = run(command, str(tmp_path), "--config", str(path))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "describes no chip" in result.stderr


def test_options_beat_the_configuration_file(asked: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("source: zoo:lenet\nconversion: {levels: 7, target_timesteps: 2}\ntraining: {enable: true}\n")
    assert run("convert", "--config", str(path), "--levels", "31", "--no-train").exit_code == 0
    (settings,) = asked
    assert (settings.source, settings.levels, settings.timesteps, settings.train) == ("zoo:lenet", 31, 2, False)


def test_a_mistake_in_the_file_or_an_option_is_told_before_any_work(asked: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("conversion:\n  levls: 7\n")
    result = run("convert", "--config", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"error: {path}, line 2, column 3: conversion.levls does not exist, did you mean levels?" in result.stderr
    result = run("convert", "--levels", "0")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--levels" in result.stderr
    assert "from 1 to 65535" in result.stderr
    for given, said in (("7,x", "no list of whole numbers"), ("7,0", "from 1 to 65535"), ("", "no list of whole numbers")):
        result = run("convert", "--sweep-levels", given)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "--sweep-levels" in result.stderr
        assert said in result.stderr
    assert run("convert", "--no-such-option").exit_code == 2
    assert asked == []


def test_convert_prints_the_numbers_and_where_the_report_lies(asked: list[Any]) -> None:
    result = run("convert", "--output-dir", "some/where")
    words = " ".join(result.stdout.replace("\N{NO-BREAK SPACE}", " ").split())
    for said in (
        "zoo:digits-cnn on digits",
        "accuracy 98.01 % 97.12 % –",
        "agreement with the ANN 99.34 %",
        "3.14 µJ (int8: 202 nJ) 9.49 µJ",
        "1,797 samples, T = 4, N = 15",
        "1.12 M synaptic operations",
        "SNN 7, control 2 (p = 0.18)",
        "early exit: 1.75 steps on average",
        "control not measured: the folder does not hold it",
        "converted in 12.5 s",
        "report: some/where/report.html",
    ):
        assert said in words
    assert "training the ANN" in result.stderr


LANGUAGE: dict[str, Any] = METRICS | {
    "accuracy": dict.fromkeys(("ann", "snn", "control")),
    "perplexity": {"ann": 4.107, "snn": 4.126, "control": 4.176},
    "agreement": 0.9578,
    "next_token_agreement": 0.9578,
    "kl_nats": 0.0064,
    "of_control": {"next_token_agreement": 0.9125, "kl_nats": 0.022},
    "sign_test": {"unit": "blocks", "snn_better": 76, "control_better": 24, "p": 1.8e-7},
    "tokens": 12700,
    "floating_operations": [],
    "reasons": {"accuracy": "a model that writes texts is judged by its perplexity"},
}
SENTENCES: dict[str, Any] = METRICS | {
    "accuracy": dict.fromkeys(("ann", "snn", "control")),
    "agreement": None,
    "cosine": {"snn": 0.9931, "control": 0.981},
    "rank_agreement": {"snn": 0.9912, "control": None},
    "floating_operations": ["div", "var"],
}
MAPS: dict[str, Any] = SENTENCES | {
    "agreement": 0.9312,
    "of_control": {"agreement": 0.9024},
    "rank_agreement": dict.fromkeys(("snn", "control")),
    "floating_operations": [],
    "running_means": ["gelu"],
}


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (
            LANGUAGE,
            (
                "perplexity 4.107 4.126 4.176",
                "agreement with the ANN 95.78 % 91.25 %",
                "nats from the ANN, a token 0.0064 0.0220",
                "N = 15, 12,700 next tokens",
                "every nonlinear operation is computed by neurons",
                "SNN on 76 blocks, control on 24 (p < 0.001)",
                "accuracy not measured: a model that writes texts",
            ),
        ),
        (SENTENCES, ("cosine – 0.9931 0.9810", "rank agreement 0.9912 –", "floating point stay: div, var")),
        (MAPS, ("agreement with the ANN 93.12 % 90.24 %", "computed by neurons; 1 operation acts on running means")),
    ],
)
def test_texts_are_summed_up_by_what_they_are_judged_by(
    metrics: dict[str, Any], words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "evaluate", lambda *_, **__: metrics)
    printed = " ".join(run("evaluate", "f").stdout.replace("\N{NO-BREAK SPACE}", " ").split())
    for said in words:
        assert said in printed
    assert "accuracy –" not in printed
    assert ("rank agreement" in printed) == (metrics is SENTENCES)


def test_json_is_all_there_is_on_stdout(asked: list[Any]) -> None:
    result = run("convert", "--json")
    assert json.loads(result.stdout) == METRICS
    assert result.stderr == ""  # no terminal: no progress
    result = run("evaluate", "some/where", "--json")
    assert json.loads(result.stdout) == METRICS
    assert result.stderr == ""


def test_ctrl_c_in_convert_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def convert(settings: Settings, *, progress: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "convert", convert)
    result = run("convert")
    assert result.exit_code == 130
    assert "--resume" in result.stderr


# --- evaluate and report -------------------------------------------------------------------------------------------------


def test_evaluate_asks_for_what_the_options_say(asked: list[Any]) -> None:
    given = "--dataset mnist --data-root d --timesteps 8 --samples 5 --batch-size 2 --length 33 --early-exit"
    result = run("evaluate", "f", *given.split())
    assert result.exit_code == 0, result.stderr
    ((folder, dataset, options),) = asked
    del options["progress"]
    assert (folder, dataset) == (Path("f"), "mnist")
    assert options == {"data_root": Path("d"), "timesteps": 8, "samples": 5, "batch_size": 2, "length": 33, "early_exit": True}
    assert "97.12" in result.stdout


@pytest.mark.parametrize(
    "arguments", [(), ("f", "--timesteps", "0"), ("f", "--samples", "0"), ("f", "--batch-size", "0"), ("f", "--length", "1")]
)
def test_evaluate_refuses_what_cannot_be(asked: list[Any], arguments: tuple[str, ...]) -> None:
    assert run("evaluate", *arguments).exit_code == 2
    assert asked == []


def test_a_folder_that_is_no_network_is_one_message(tmp_path: Path) -> None:
    for command in ("evaluate", "report"):
        result = run(command, str(tmp_path))
        assert result.exit_code == 2
        assert result.stdout == ""
        assert str(tmp_path) in result.stderr
        assert "Traceback" not in result.stderr


def test_report_says_where_the_page_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "report", lambda folder: folder / "report.html")
    assert run("report", "f").stdout == "f/report.html\n"
    assert json.loads(run("report", "f", "--json").stdout) == {"report": "f/report.html"}


def test_debug_shows_where_a_users_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def report(folder: Path) -> Path:
        raise ProgramError("broken")

    monkeypatch.setattr(pipeline, "report", report)
    assert "Traceback" not in run("report", "f").stderr
    assert "Traceback" in run("report", "f", "--debug").stderr


# --- help and version ----------------------------------------------------------------------------------------------------

COMMANDS = ("check", "convert", "evaluate", "report", "bench")


def test_the_commands_are_those_of_the_design() -> None:
    help_text = run("--help").stdout
    assert [command for command in COMMANDS if f" {command} " in help_text] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example_that_parses(command: str) -> None:
    text = " ".join(run(command, "--help").stdout.split())
    assert f"Example: spikeloom {command} " in text
    assert "Exit codes: 0 " in text
    example = text.split("Example: spikeloom ")[1].split(" Exit codes")[0].split()
    assert run(*example, "--help").exit_code == 0


def test_help_names_the_words_that_the_configuration_takes() -> None:
    text, schema = " ".join(run("convert", "--help").stdout.split()), Config.model_json_schema()
    for path in (("conversion", "method"), ("calibration", "thresholds"), ("device",)):
        assert all(word in text for word in allowed(section(schema, path)).split(", "))


def test_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"spikeloom {__version__}\n"


def test_help_waits_for_no_heavy_library() -> None:
    program = "import sys, spikeloom.cli; print([name for name in ('torch', 'pydantic', 'matplotlib', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_mistake_in_the_configuration_waits_for_no_heavy_library(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("sed: 1\n")
    program = f"""
import sys, spikeloom.cli
try:
    spikeloom.cli.main(["convert", "--config", {str(path)!r}])
finally:
    print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert "did you mean seed?" in done.stderr
