"""`scripts/convert_model.py`: the same function as `spikeloom convert`, under names with underscores."""

import importlib.util
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from spikeloom.cli import app

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "convert_model.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("", "convert"),
        (
            '--model_name "resnet18" --dataset "cifar10" --output_dir "artifacts/converted_snn"',
            "convert --dataset=cifar10 --output-dir=artifacts/converted_snn -- resnet18",
        ),
        (
            "--data_root d --weights w --input_shape 3,8,8 --train --timesteps 2 --resume --json --calibration_samples 9",
            "convert --weights=w --input-shape=3,8,8 --data-root=d --timesteps=2 --calibration-samples=9 --train --resume --json",
        ),
        ("--model-name x --data-root=d --output-dir o", "convert --data-root=d --output-dir=o -- x"),
        ("--model_name=-odd", "convert -- -odd"),
    ],
)
def test_a_command_line_with_underscores_says_the_same(script: ModuleType, given: str, command: str) -> None:
    assert script.command_of(script.parser().parse_args(shlex.split(given))) == shlex.split(command)


def test_the_printed_command_reaches_the_converter() -> None:
    given = ["--model_name", "no-such-model", "--dataset", "cifar10", "--levels", "0"]
    done = subprocess.run([sys.executable, str(SCRIPT), *given], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: --levels: conversion.levels cannot have this value\n  found: 0\n  allowed: ")


def test_every_option_is_one_of_convert(script: ModuleType) -> None:
    text = CliRunner().invoke(app, ["convert", "--help"], env={"COLUMNS": "120"}).stdout
    assert all(f" --{name.replace('_', '-')} " in text for name in (*script.VALUES, *script.FLAGS))
