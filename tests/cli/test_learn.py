"""`spikeloom learn`: a saved classifier of digits in streams, from the command line to a folder that evaluates; stopped, and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.test_continual import calm, digits, network
from typer.testing import CliRunner

from spikeloom import pipeline
from spikeloom.cli import app
from spikeloom.pipeline import Settings, convert_model
from spikeloom.simulate import SpikingModel
from spikeloom.train import ContinualLearner, resume_learner

FADED = ("--corruption", "contrast", "--samples", "200")


def run(command: str, *arguments: str) -> Any:
    return CliRunner().invoke(app, [command, *arguments], env={"COLUMNS": "160"})


def learn(*arguments: str) -> Any:
    return run("learn", *arguments)


def saved(snn: SpikingModel, folder: Path, **facts: Any) -> Path:
    program = snn.program.replaced(settings={**snn.program.settings, "dataset": "digits", "levels": 15, **facts})
    SpikingModel(program, timesteps=snn.timesteps, ann=snn.ann).save(folder)
    return folder


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a network that knows ten classes."""
    return saved(network(), tmp_path_factory.mktemp("ten") / "snn", timesteps=1, classes=10)


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one that knows eight."""
    known = tmp_path_factory.mktemp("eight")
    for split in ("train", "test"):
        x, y = digits(split)
        pictures_of(known / split, x[y < 8], y[y < 8])
    return saved(network(8), known / "snn", timesteps=1, classes=8, dataset=f"imagefolder:{known}")


def pictures_of(folder: Path, x: torch.Tensor, y: torch.Tensor) -> None:
    """Pictures, a folder for each class."""
    from PIL import Image

    for place, (picture, label) in enumerate(zip(x, y, strict=True)):
        where = folder / str(int(label))
        where.mkdir(parents=True, exist_ok=True)
        Image.fromarray((picture[0] * 255).round().to(torch.uint8).numpy()).save(where / f"{place}.png")


def without_time(metrics: dict[str, Any]) -> dict[str, Any]:
    return {**metrics, "seconds": 0, "stream": {**metrics["stream"], "seconds": 0}}


def test_a_faded_stream_is_learnt_without_labels_and_the_folder_evaluates(ten: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = learn(str(ten), *FADED, "--output-dir", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    metrics = json.loads(result.stdout)
    assert metrics == json.loads((out / "metrics.json").read_text())
    stream = metrics["stream"]
    assert stream["accuracy"]["stream"]["before"] < 0.4
    assert stream["accuracy"]["stream"]["after"] > 0.75
    assert stream["accuracy"]["stream"]["saved"] > 0.75
    assert stream["accuracy"]["first"]["before"] > 0.9
    assert abs(stream["forgotten"]["after"]) < 0.02
    assert stream["forgotten"]["saved"] == stream["accuracy"]["first"]["before"] - stream["accuracy"]["first"]["saved"]
    assert (stream["samples"], stream["labels_used"], stream["contexts"]) == (1442 - 512, 0, 2)
    assert stream["mcnemar"]["stream"]["p"] < 1e-6
    assert metrics["accuracy"]["snn"] == pytest.approx(stream["accuracy"]["first"]["saved"])
    assert metrics["before"]["accuracy"]["snn"] == pytest.approx(stream["accuracy"]["first"]["before"])
    again = run("evaluate", str(out), "--samples", "200", "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["accuracy"] == metrics["accuracy"]
    x = digits("test")[0][:50]
    assert torch.equal(SpikingModel.open(out / "contexts" / "0")(x).argmax(1), SpikingModel.open(ten)(x).argmax(1))
    page = (out / "report.html").read_text()
    pipeline.report(out)
    assert (out / "report.html").read_text() == page
    assert resume_learner(out / "learner").tally.samples == 930


def test_what_is_printed_says_what_was_gained_and_what_was_forgotten(ten: Path, tmp_path: Path) -> None:
    few = ("--stream-samples", "200", "--labels", "30", "--samples", "50")
    result = learn(str(ten), *few, "--output-dir", str(tmp_path / "out"))
    assert result.exit_code == 0, result.stderr
    for words in (
        "stream's kind",
        "first kind",
        "200 pictures of digits@train, as they are",
        "30 of 30 labels learnt from",
        str(tmp_path / "out"),
    ):
        assert words in result.stdout


def test_new_classes_are_learnt_from_few_labels_and_known_ones_kept(eight: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = learn(str(eight), "--dataset", "digits", "--new-classes", "--labels", "120", "--output-dir", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    metrics = json.loads(result.stdout)
    stream = metrics["stream"]
    assert stream["new_classes"]["before"] == 0
    assert stream["new_classes"]["after"] > 0.6
    assert stream["known_classes"]["before"] - stream["known_classes"]["after"] < 0.06
    assert stream["forgotten"]["after"] < 0.06
    assert stream["samples"] == 1442
    assert "before" not in metrics
    again = run("evaluate", str(out), "--json")
    assert again.exit_code == 0, again.stderr
    assert json.loads(again.stdout)["accuracy"]["snn"] == pytest.approx(stream["accuracy"]["stream"]["saved"])


def test_a_stopped_stream_goes_on_to_the_same_result(ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = ("--corruption", "gaussian_noise", "--samples", "60")
    command = (str(ten), *noisy, "--labels", "100", "--json", "--output-dir")
    whole = json.loads(learn(*command, str(tmp_path / "whole")).stdout)
    step, calls = ContinualLearner.step, [0]

    def stopping(self: ContinualLearner, *given: Any) -> Any:
        calls[0] += 1
        if calls[0] > 22:
            raise KeyboardInterrupt
        return step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ContinualLearner, "step", stopping)
        result = learn(*command, str(tmp_path / "part"))
    assert result.exit_code == 130
    assert "--resume goes on" in result.stderr
    assert resume_learner(tmp_path / "part" / "learner").tally.samples == 512
    assert not (tmp_path / "part" / "metrics.json").exists()
    said = tmp_path / "part" / "learner" / "said.safetensors"
    ahead = torch.cat([load_file(said)["said"], torch.full((32,), 9)])
    save_file({"said": ahead}, said)  # as where it is killed between both files
    result = learn(*command, str(tmp_path / "part"), "--resume")
    assert result.exit_code == 0, result.stderr
    assert without_time(json.loads(result.stdout)) == without_time(whole)
    files = ("model.safetensors", "program.json", "learner/said.safetensors", "learner/learner.safetensors")
    for name in files:
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    other = learn(*command, str(tmp_path / "part"), "--resume", "--severity", "4")
    assert other.exit_code == 2
    assert "another stream" in other.stderr
    assert "'severity': 4" in other.stderr


def test_a_network_on_a_chip_comes_back_without_labels(ten: Path, tmp_path: Path) -> None:
    config = tmp_path / "chip.yaml"
    config.write_text("chip: {enable: true, draw: 3, threshold_mismatch: 0.5, dead: 0.05}\n")
    out = tmp_path / "out"
    result = learn(str(ten), "--config", str(config), "--output-dir", str(out), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["stream"]["accuracy"]["stream"]
    lost = json.loads(run("evaluate", str(ten), "--json").stdout)["accuracy"]["snn"] - found["before"]
    assert lost > 0.04
    assert found["saved"] - found["before"] > 0.4 * lost
    again = learn(str(out), "--config", str(config), "--output-dir", str(tmp_path / "twice"))
    assert again.exit_code == 2
    assert "on a chip already" in again.stderr


def test_a_network_of_several_steps_learns_as_well(tmp_path: Path) -> None:
    module = network().ann
    assert module is not None
    snn = convert_model(module.module(), torch.cat(calm()), Settings(method="if", timesteps=4))
    folder = saved(snn, tmp_path / "snn", timesteps=4)
    result = learn(str(folder), *FADED, "--stream-samples", "500", "--labels", "40", "--output-dir", str(tmp_path / "out"), "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["stream"]["accuracy"]
    assert found["stream"]["after"] > found["stream"]["before"] + 0.3
    assert found["first"]["after"] > found["first"]["before"] - 0.03


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--new-classes"], "new classes need labels"),
        (["--new-classes", "--labels", "5"], "no new classes in the stream"),
        (["--labels", "5000"], "fewer labels than asked for"),
        (["--no-homeostasis"], "nothing would learn"),
        (["--corruption", "rain"], "a corruption of that kind is unknown"),
        (["--dataset", "digits[600:900]"], "judged on, too"),
        (["--dataset", "digits@test", "--test-dataset", "digits@test"], "judged on, too"),
        (["--rate", "-1", "--labels", "5"], "readout.rate cannot be used"),
        (["--dataset", "prints"], "prints"),
        (["--resume"], "nothing to go on from"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(ten: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    result = learn(str(ten), *arguments, "--output-dir", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_unknown_classes_and_hidden_labels_are_refused(eight: Path, tmp_path: Path) -> None:
    result = learn(str(eight), "--dataset", "digits", "--labels", "50", "--output-dir", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "does not know" in result.stderr
    assert "8 outputs, 10 classes" in result.stderr
    assert "--new-classes" in result.stderr


def test_networks_without_a_readout_of_their_own_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(1, 10, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    folder = saved(convert_model(body.eval(), torch.cat(calm()), Settings(timesteps=1)), tmp_path / "snn")
    result = learn(str(folder), *FADED, "--output-dir", str(tmp_path / "out"))
    assert result.exit_code == 2, result.output
    assert "readout of this network cannot learn" in result.stderr
    assert not (tmp_path / "out").exists()
