"""The tokenizer of a saved network: its files lie beside the program, and a folder that was moved reads by them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.readers import VOCABULARY, llama
from typer.testing import CliRunner

from spikeloom.cli import app
from spikeloom.pipeline import Settings, convert_model, load_model
from spikeloom.simulate import SpikingModel

X = torch.randint(2, VOCABULARY, (4, 8), generator=torch.Generator().manual_seed(0))
TOUCHED = "raise SystemExit('code of the folder ran')\n"


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[SpikingModel, Path]:
    """A network, and where it lies: saved by save_pretrained, moved, and the model it came from deleted."""
    place = tmp_path_factory.mktemp("moved")
    snn = convert_model(f"hf:{llama(place / 'llama')}", X, Settings(timesteps=1, levels=7, compensate=False, calibration_samples=4))
    snn.save_pretrained(place / "saved")
    shutil.rmtree(place / "llama")
    (place / "elsewhere").mkdir()
    shutil.move(place / "saved", place / "elsewhere" / "snn")
    return snn, place / "elsewhere" / "snn"


def test_a_saved_network_names_its_tokenizer_by_the_way_from_its_own_folder(moved: tuple[SpikingModel, Path]) -> None:
    _, folder = moved
    for part in ("", "ann", "control"):
        way = json.loads((folder / part / "config.json").read_text())["tokenizer"]
        assert not Path(way).is_absolute()
        assert (folder / part / way / "tokenizer.json").is_file()


def test_a_moved_network_writes_as_it_did(moved: tuple[SpikingModel, Path]) -> None:
    snn, folder = moved
    options: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
    assert torch.equal(load_model(folder).generate(X, **options), snn.generate(X, **options))
    found = CliRunner().invoke(app, ["generate", str(folder), "--prompt", "w1 w2", "--max-new-tokens", "4", "--json"])
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["texts"][0].startswith("w1 w2")


def test_a_loaded_network_is_saved_again_with_its_tokenizer(moved: tuple[SpikingModel, Path], tmp_path: Path) -> None:
    _, folder = moved
    for place in (tmp_path / "again", folder):  # in a new place, and over itself
        SpikingModel.from_pretrained(str(folder)).save_pretrained(place)
        assert (place / "tokenizer" / "tokenizer.json").read_bytes() == (folder / "tokenizer" / "tokenizer.json").read_bytes()
        assert SpikingModel.open(place).program.settings["tokenizer"] == str(place / "tokenizer")


def test_nothing_of_a_folder_is_executed(moved: tuple[SpikingModel, Path], tmp_path: Path) -> None:
    folder = tmp_path / "snn"
    shutil.copytree(moved[1], folder)
    for name in ("modeling.py", "tokenizer/tokenization.py", "tokenizer/modeling.py", "__init__.py"):
        (folder / name).write_text(TOUCHED)
    path = folder / "tokenizer" / "tokenizer_config.json"
    told = {**json.loads(path.read_text()), "tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["tokenization.Own", None]}}
    path.write_text(json.dumps(told))
    found = CliRunner().invoke(app, ["generate", str(folder), "--prompt", "w1 w2", "--max-new-tokens", "2", "--json"])
    assert found.exit_code == 0, found.stderr


def test_a_network_without_a_tokenizer_is_saved_without_one(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    convert_model(model, torch.randn(16, 4), Settings(timesteps=1)).save_pretrained(tmp_path / "snn")
    assert not (tmp_path / "snn" / "tokenizer").exists()
