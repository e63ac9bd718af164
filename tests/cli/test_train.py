"""`spikeloom train` and its thin door: what each option asks of the pipeline, what is printed, and the seed task for real."""

import importlib.util
import inspect
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from spikeloom import pipeline
from spikeloom.cli import app
from spikeloom.cli.train import train as train_command
from spikeloom.config.model import LEARNING
from spikeloom.pipeline import LogicSettings

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "run_logic_gated_learning.py"
METRICS: dict[str, Any] = {
    "accuracy_at_noise": {"0.0": 1.0, "0.45": 0.8715},
    "bayes_limit_at_noise": {"0.0": 1.0, "0.45": 0.8758},
    "controls_at_noise": {"twin_clean": {"0.0": 1.0, "0.45": 0.61}},
    "accuracy_by_kind": {"gaussian": {"0.45": 0.5}},
    "multiplications": 0,
    "additions": 3862.4,
    "gates": 12,
    "input_bits": 784,
    "weights": 7840,
    "zero_weights": 0.01,
    "weight_bytes": 1960,
    "energy_pj": {"ann_fp32": 114564.0, "ann_int8": 12177.0, "snn": 4500.0},
    "samples": 20000,
    "dataset": "prototypes:784x10/0",
    "cut_to_bits_at": None,
    "noise": {"kinds": ["bit_flip"]},
    "training": {"network": {"epochs": 20, "seconds": 12.0}},
    "seconds": 31.0,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[LogicSettings]:
    """What the pipeline was asked to learn; it answers with METRICS."""
    seen: list[LogicSettings] = []

    def learn(settings: LogicSettings, *, progress: Callable[[str, int, int], None]) -> Any:
        seen.append(settings)
        progress("training the logic-gated network: epoch 1/2, noise up to 11%, right 40.0%", 1, 2)
        return SimpleNamespace(folder=settings.output_dir, metrics=METRICS)

    monkeypatch.setattr(pipeline, "learn", learn)
    return seen


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["train", *arguments], env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_logic_gated_learning", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_options_it_is_the_seed_experiment(asked: list[LogicSettings]) -> None:
    assert run().exit_code == 0
    assert asked == [LogicSettings()]


def test_every_option_reaches_the_settings(asked: list[LogicSettings]) -> None:
    command = """
        --dataset mnist --test-dataset x --data-root d --network convolutional --hidden 64
        --channels 8,16 --residual --thermometer 0.2,0.6 --rate-code 3 --learnt-bits --share 0.5
        --noise --noise-range 0.1 0.3 --noise-kinds gaussian,occlusion --no-curriculum --consistency 0.5 --controls --distil 0.25
        --epochs 2 --batch-size 32 --learning-rate 0.001 --patience 3 --precision bfloat16 --measured-at 0,0.3 --samples 11
        --device cpu --seed 7 --output-dir here --resume --json
    """
    assert run(*shlex.split(command)).exit_code == 0
    assert asked == [
        LogicSettings(
            dataset="mnist",
            test_dataset="x",
            data_root=Path("d"),
            network="convolutional",
            hidden=(64,),
            channels=(8, 16),
            residual=True,
            thermometer=(0.2, 0.6),
            rate_code=3,
            learnt_bits=True,
            share=0.5,
            noise_range=(0.1, 0.3),
            noise_kinds=("gaussian", "occlusion"),
            curriculum=False,
            consistency=0.5,
            controls=True,
            distil=0.25,
            epochs=2,
            batch_size=32,
            learning_rate=0.001,
            patience=3,
            precision="bfloat16",
            measured_at=(0.0, 0.3),
            samples=11,
            seed=7,
            output_dir=Path("here"),
            resume=True,
        )
    ]
    own = {"config", "resume", "as_json", "debug"}
    assert set(inspect.signature(train_command).parameters) - own == set(LEARNING) - {"weight_decay"}


def test_no_hidden_layer_is_asked_for_by_a_word(asked: list[LogicSettings]) -> None:
    run("--hidden", "none", "--no-noise")
    assert (asked[0].hidden, asked[0].noise) == ((), False)


def test_options_beat_the_configuration(asked: list[LogicSettings], tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("seed: 3\nrobustness: {noise_range: [0.1, 0.2]}\nlogic: {hidden: [9]}\n")
    assert run("--config", str(tmp_path / "my.yaml"), "--noise-range", "0", "0.4").exit_code == 0
    assert (asked[0].seed, asked[0].noise_range, asked[0].hidden) == (3, (0.0, 0.4), (9,))


def test_the_table_holds_every_level_and_what_stands_beside_it(asked: list[LogicSettings]) -> None:
    text = " ".join(run().stdout.split())
    for wanted in ("Bayes limit", "floating, without", "45 % 87.15 % 87.58 % 61.00 %", "0 multiplications", "7,840 weights of -1, 0, 1"):
        assert wanted in text.replace("\N{NO-BREAK SPACE}", " "), wanted
    assert "report: artifacts/logic_gated/report.html" in text


def test_json_is_the_metrics_and_nothing_else(asked: list[LogicSettings]) -> None:
    assert json.loads(run("--json").stdout) == METRICS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--hidden 8,x", "--hidden is no list of whole numbers"),
        ("--thermometer a", "--thermometer is no list of numbers"),
        ("--noise-range 0 0.7", "--noise-range: robustness.noise_range.1 cannot have this value"),
        ("--noise-kinds snow", "--noise-kinds: robustness.noise_kinds.0 cannot have this value"),
        ("--batch-size 1", "--batch-size: logic.batch_size cannot have this value"),
    ],
)
def test_what_cannot_be_is_told_with_its_option(asked: list[LogicSettings], given: str, said: str) -> None:
    done = run(*shlex.split(given))
    assert done.exit_code == 2
    assert said in done.stderr
    assert asked == []


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("", "train"),
        ("--noise-range 0 0.45 --noise_kinds bit_flip", "train --noise-kinds=bit_flip --noise-range 0 0.45"),
        ("--dataset mnist --data_root d --hidden 8,8 --json", "train --dataset=mnist --data-root=d --hidden=8,8 --json"),
        ("--epochs 2 --seed 1 --measured_at 0,0.4", "train --measured-at=0,0.4 --epochs=2 --seed=1"),
        ("--no_controls --resume", "train --no-controls --resume"),
    ],
)  # fmt: skip
def test_the_script_says_the_same(script: ModuleType, given: str, command: str) -> None:
    assert script.command_of(script.parser().parse_args(shlex.split(given))) == shlex.split(command)


def test_every_option_of_the_script_is_one_of_train(script: ModuleType) -> None:
    text = run("--help").stdout
    for name in (*script.VALUES, "noise_range", *script.FLAGS):
        assert f"--{name.replace('_', '-')}" in text, name


def test_the_script_learns_the_seed_task_from_nothing(tmp_path: Path) -> None:
    """As printed in the README, but fewer samples: nothing is downloaded, and what it prints is the JSON alone."""
    given = ["--dataset", "prototypes:400x4[:1000]", "--epochs", "4", "--json", "--output_dir", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, str(SCRIPT), *given], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)
    assert list(metrics["accuracy_at_noise"]) == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.45", "0.47", "0.5"]
    assert metrics["accuracy_at_noise"]["0.0"] == 1.0
    assert metrics["accuracy_at_noise"]["0.3"] > 0.9
    assert metrics["multiplications"] == 0
    assert metrics["seconds"] > 0
