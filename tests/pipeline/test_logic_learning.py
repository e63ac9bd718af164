"""The road of a logic-gated network: what it leaves, that it resumes, what it is judged beside, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikeloom.datasets import load, matched_filter
from spikeloom.errors import ConfigError, DataError, NumericError
from spikeloom.logic import Bits
from spikeloom.pipeline import LogicSettings, learn, report
from spikeloom.pipeline.logic_metrics import coded
from spikeloom.pipeline.logic_networks import built, code_of
from spikeloom.pipeline.logic_samples import held, read
from spikeloom.pipeline.noise_levels import confusion, frozen_answer, under_noise
from spikeloom.simulate import SpikingModel
from spikeloom.train.noise import at_strength
from spikeloom.train.samples import generator_for

SEED = "prototypes:48x4[:600]"
SMALL: dict[str, Any] = {"dataset": SEED, "epochs": 4, "batch_size": 50, "measured_at": (0.0, 0.2, 0.5)}
FILES = ("program.json", "model.safetensors", "records.json", "config.json", "metrics.json", "story.json", "report.html", "README.md")


class StoppedError(Exception):
    """What a test stops a run with."""


def write_pictures(folder: Path, shape: tuple[int, ...], count: int = 120) -> Path:
    """Pictures of two classes, bright above or bright below, as an npz file; 8 bits."""
    labels = np.arange(count) % 2
    pictures = np.random.default_rng(0).integers(0, 90, (count, *shape)).astype(np.uint8)
    half = shape[0] // 2
    pictures[labels == 0, :half] += 140
    pictures[labels == 1, half:] += 140
    np.savez(folder / "two.npz", x_train=pictures, y_train=labels, x_test=pictures, y_test=labels)
    return folder / "two.npz"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small learning with controls."""
    folder = tmp_path_factory.mktemp("done") / "out"
    return learn(LogicSettings(**SMALL, output_dir=folder, controls=True, hidden=(16,), share=0.1, seed=3))


# --- what it leaves -------------------------------------------------------------------------------------------------------


def test_it_leaves_a_whole_folder(done: Any) -> None:
    assert all((done.folder / name).is_file() for name in FILES)
    assert json.loads((done.folder / "metrics.json").read_text()) == json.loads(json.dumps(done.metrics))
    assert "right on" in (done.folder / "README.md").read_text()


def test_it_learns_and_never_multiplies(done: Any) -> None:
    metrics = done.metrics
    assert list(metrics["accuracy_at_noise"]) == ["0.0", "0.2", "0.5"]
    assert metrics["accuracy_at_noise"]["0.0"] > 0.95
    assert metrics["accuracy_at_noise"]["0.2"] > 0.75
    assert metrics["accuracy_at_noise"]["0.5"] == pytest.approx(0.25, abs=0.08)
    assert metrics["multiplications"] == 0
    assert metrics["additions"] > 0
    assert (metrics["gates"], metrics["input_bits"]) == (16, 48)
    assert metrics["weights"] == 48 * 16 + 16 * 4
    assert metrics["weight_bytes"] == metrics["weights"] // 4
    assert metrics["float_weight_bytes"] == 4 * metrics["weights"]
    assert metrics["seconds"] > metrics["training"]["network"]["seconds"] > 0


def test_controls_stand_beside_it(done: Any) -> None:
    controls = done.metrics["controls_at_noise"]
    assert set(controls) == {"twin_noise", "twin_clean"}
    assert controls["twin_noise"]["0.0"] > 0.95
    assert set(done.metrics["training"]) == {"twin_noise", "twin_clean", "network"}
    assert done.metrics["distil"] == 0.5


def test_the_limit_is_the_matched_filter_on_the_very_same_noise(done: Any) -> None:
    data = read("prototypes:48x4[:600]", as_bits=True)
    assert data.patterns is not None
    x, y = data.test.gather(torch.arange(600))
    noisy = at_strength(x, "bit_flip", 0.2, generator_for(3, 5, 200 * 6))
    limit = float((matched_filter(data.patterns, noisy) == y).float().mean())
    own = float((frozen_answer(done.snn)(noisy) == y).float().mean())
    assert done.metrics["bayes_limit_at_noise"]["0.2"] == pytest.approx(limit)
    assert done.metrics["accuracy_at_noise"]["0.2"] == pytest.approx(own)
    assert done.metrics["bayes_limit_at_noise"]["0.2"] >= done.metrics["accuracy_at_noise"]["0.2"]


def test_the_saved_network_answers_as_the_one_that_was_measured(done: Any) -> None:
    x = torch.randint(0, 2, (50, 48)).float()
    assert torch.equal(SpikingModel.open(done.folder)(x), done.snn(x))
    record = done.snn.program.records[-1]
    assert (record.name, record.options["seed"]) == ("LearnLogic", 3)


def test_the_report_is_made_again_from_its_story(done: Any) -> None:
    before = (done.folder / "report.html").read_text()
    (done.folder / "report.html").unlink()
    assert report(done.folder).read_text() == before


# --- the same again -------------------------------------------------------------------------------------------------------


def test_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    small = {**SMALL, "epochs": 1}
    seeds = {"a": 1, "b": 1, "c": 2}
    first, again, other = (learn(LogicSettings(**small, output_dir=tmp_path / name, seed=seed)) for name, seed in seeds.items())

    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert first.metrics["accuracy_at_noise"] == again.metrics["accuracy_at_noise"]
    assert (tmp_path / "a" / "model.safetensors").read_bytes() != (tmp_path / "c" / "model.safetensors").read_bytes()
    assert other.metrics["seed"] == 2


@pytest.mark.parametrize("phase", ["training the floating twin without noise", "training the logic-gated network"])
def test_a_stopped_run_resumes_to_the_same_network(tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.train.classifier.CHECKPOINT_S", 0.0)
    settings = {**SMALL, "epochs": 2, "controls": True}
    whole = learn(LogicSettings(**settings, output_dir=tmp_path / "whole"))

    def stop(what: str, done: int, total: int) -> None:
        if what.startswith(phase) and done == 7:
            raise StoppedError

    with pytest.raises(StoppedError):
        learn(LogicSettings(**settings, output_dir=tmp_path / "cut"), progress=stop)
    assert not (tmp_path / "cut" / "program.json").exists()
    steps: list[tuple[str, int]] = []
    cut = LogicSettings(**settings, output_dir=tmp_path / "cut", resume=True)
    resumed = learn(cut, progress=lambda what, done, total: steps.append((what.split(":")[0], done)))
    assert min(done for what, done in steps if what == phase) > 1
    assert "training the floating twin with noise" not in {what for what, _ in steps}
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert resumed.metrics["controls_at_noise"] == whole.metrics["controls_at_noise"]


def test_without_resume_an_older_checkpoint_goes(tmp_path: Path) -> None:
    small = {**SMALL, "epochs": 1, "output_dir": tmp_path}
    learn(LogicSettings(**small, controls=True))
    assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 3
    learn(LogicSettings(**small))
    assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 1


# --- data ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["fully_connected", "convolutional"])
@pytest.mark.parametrize("kinds", [("bit_flip",), ("gaussian", "occlusion")])
def test_pictures_are_learnt_by_both_networks(tmp_path: Path, network: str, kinds: tuple[str, ...]) -> None:
    address = f"npz:{write_pictures(tmp_path, (8, 8))}"
    form: dict[str, Any] = {"hidden": (12,), "channels": (4,), "residual": True, "network": network}
    small = {**SMALL, "dataset": address, "batch_size": 20, "controls": False, "noise_kinds": kinds, "noise_range": (0.0, 0.3)}
    result = learn(LogicSettings(**small, **form, output_dir=tmp_path / "out"))
    assert result.metrics["accuracy_at_noise"]["0.0"] > 0.9
    assert result.metrics["multiplications"] == 0
    assert result.metrics["bayes_limit_at_noise"] is None
    by_kind = result.metrics["accuracy_by_kind"]
    assert by_kind is None if len(kinds) == 1 else set(by_kind) == set(kinds)


def test_pixels_become_bits_before_bits_are_turned_over(tmp_path: Path) -> None:
    data = load(f"npz:{write_pictures(tmp_path, (8, 8))}", "train")
    values, bits = held(data, as_bits=False), held(data, as_bits=True)
    rows = torch.arange(len(data))
    plain = data.gather(rows)[0]
    assert torch.equal(values.gather(rows)[0], plain)
    assert values.table.dtype is bits.table.dtype is torch.uint8
    assert torch.equal(bits.gather(rows)[0], (plain >= 0.5).float())
    assert torch.equal(values[3][0], plain[3])


def test_values_that_no_byte_holds_stay_as_they_are(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((10, 4)).astype(np.float32)
    np.savez(tmp_path / "f.npz", x_train=x, y_train=np.arange(10) % 2, x_test=x, y_test=np.arange(10) % 2)
    samples = held(load(f"npz:{tmp_path / 'f.npz'}", "train"), as_bits=False)
    assert torch.equal(samples.gather(torch.arange(10))[0], torch.from_numpy(x))


def test_values_outside_0_to_1_are_refused(tmp_path: Path) -> None:
    x = np.full((10, 4), 1.5, dtype=np.float32)
    np.savez(tmp_path / "f.npz", x_train=x, y_train=np.arange(10) % 2, x_test=x, y_test=np.arange(10) % 2)
    with pytest.raises(DataError, match=r"values outside 0 to 1\n  found: 1\.5 to 1\.5"):
        read(f"npz:{tmp_path / 'f.npz'}", as_bits=True)


def test_a_set_of_one_split_is_parted_and_nothing_is_in_both_parts(tmp_path: Path) -> None:
    x = np.arange(60, dtype=np.uint8).reshape(60, 1, 1)
    np.savez(tmp_path / "one.npz", x=x, y=np.arange(60) % 2)
    data = read(f"npz:{tmp_path / 'one.npz'}", as_bits=False)
    assert (len(data.train), len(data.test)) == (50, 10)
    assert str(data.facts["dataset"]).endswith("[50:]")  # what a saved network is evaluated on later
    values = data.test.gather(torch.arange(10))[0].flatten() * 255
    assert values.round().tolist() == list(range(50, 60))


def test_what_is_measured_can_be_named_and_is_never_what_was_learnt(tmp_path: Path) -> None:
    address = f"npz:{write_pictures(tmp_path, (8, 8))}"
    data = read(f"{address}@train[:100]", test=f"{address}@train[100:]", as_bits=True)
    assert (len(data.train), len(data.test)) == (100, 20)
    for test in (f"{address}@train[90:]", None):
        with pytest.raises(DataError, match="cannot be measured on what it has learnt from") as caught:
            read(f"{address}@train[:100]", test=test, as_bits=True)
        assert ("10 rows" if test else "100 rows") in str(caught.value)


def test_without_noise_in_training_it_is_measured_under_noise_all_the_same(tmp_path: Path) -> None:
    result = learn(LogicSettings(**SMALL, noise=False, controls=True, output_dir=tmp_path))
    assert set(result.metrics["controls_at_noise"]) == {"twin_clean"}
    assert result.metrics["noise"]["trained"] is False
    assert list(result.metrics["accuracy_at_noise"]) == ["0.0", "0.2", "0.5"]


def test_a_size_that_is_asked_for_is_given(tmp_path: Path) -> None:
    data = read(f"npz:{write_pictures(tmp_path, (8, 8))}", as_bits=True, preprocessing={"size": [4, 4]})
    assert data.train.shape == data.test.shape == (1, 4, 4)
    assert data.facts["input_shape"] == [1, 4, 4]


# --- measuring -------------------------------------------------------------------------------------------------------------


def test_all_networks_see_the_same_noise_and_other_levels_other_noise() -> None:
    samples, seen = read(SEED, as_bits=True).test, dict[str, list[torch.Tensor]](a=[], b=[])

    def watched(name: str) -> Any:
        return lambda x: (seen[name].append(x), torch.zeros(len(x), dtype=torch.int64))[1]

    found = under_noise(samples, {name: watched(name) for name in seen}, kinds=["bit_flip"], levels=(0.3, 0.4), seed=0, batch_size=300)
    assert all(torch.equal(one, other) for one, other in zip(seen["a"], seen["b"], strict=True))
    assert [round(float((x != samples.gather(torch.arange(300))[0]).float().mean()), 1) for x in seen["a"][::2]] == [0.3, 0.4]
    first = float((samples.labels == 0).float().mean())
    assert found.accuracy("a") == {"0.3": pytest.approx(first), "0.4": pytest.approx(first)}
    assert found.of("a", 0.3).sum(1).tolist() == torch.bincount(samples.labels).tolist()


def test_a_row_of_a_confusion_matrix_is_a_class() -> None:
    table = confusion(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 0]), 3)
    assert table.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 0]]


# --- settings ---------------------------------------------------------------------------------------------------------------


def test_the_seed_task_is_drawn_from_the_seed() -> None:
    assert LogicSettings(seed=4).resolved().dataset == "prototypes:784x10/4"
    assert LogicSettings(dataset="prototypes:9x3", seed=4).resolved().dataset == "prototypes:9x3/4"
    assert LogicSettings(dataset="prototypes:9x3/1", seed=4).resolved().dataset == "prototypes:9x3/1"
    assert LogicSettings(dataset="digits", seed=4).resolved().dataset == "digits"


def test_what_is_open_the_data_set_decides() -> None:
    seed, digits = LogicSettings().resolved(), LogicSettings(dataset="digits").resolved()
    assert (seed.hidden, seed.share, seed.epochs, seed.controls, seed.distil) == ((), 0.0, 40, False, 0.0)
    assert (digits.hidden, digits.controls, digits.distil) == ((256,), True, 0.5)
    assert LogicSettings(dataset="digits", hidden=(), controls=False).resolved().hidden == ()
    assert LogicSettings(dataset="mnist", noise_kinds=("gaussian",)).resolved().thermometer == (0.25, 0.5, 0.75)


def test_first_weights_are_drawn_from_the_seed_alone() -> None:
    settings = LogicSettings(hidden=(3,)).resolved()
    state = torch.random.get_rng_state()
    one = built(settings, (8,), 2).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    other = built(settings, (8,), 2).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_values_become_bits_by_a_rate_code_whose_thresholds_are_learnt(tmp_path: Path) -> None:
    told: dict[str, Any] = {"dataset": "digits", "noise_kinds": ("gaussian",), "hidden": (16,), "controls": False, "epochs": 2}
    learning = learn(LogicSettings(**told, rate_code=3, learnt_bits=True, measured_at=(0.0,), output_dir=tmp_path))
    assert (learning.metrics["input_bits"], learning.metrics["network"]["rate_code"]) == (64 * 3, 3)
    assert learning.metrics["cut_to_bits_at"] is None
    assert learning.metrics["accuracy_at_noise"]["0.0"] > 0.5
    settings = LogicSettings(**told, rate_code=3).resolved()
    before = next(m for m in built(settings, (1, 8, 8), 10).modules() if isinstance(m, Bits)).thresholds
    after = next(tensor for name, tensor in learning.snn.program.tensors.items() if tensor.shape == (64 * 3, 1))
    assert before.shape == (64, 3)
    assert not torch.allclose(before.flatten(), after.flatten())


def test_it_is_said_where_values_were_cut_to_bits(tmp_path: Path) -> None:
    told: dict[str, Any] = {"dataset": "digits", "hidden": (16,), "controls": False, "epochs": 1, "measured_at": (0.0,)}
    assert learn(LogicSettings(**told, output_dir=tmp_path)).metrics["cut_to_bits_at"] == 0.5
    assert "values were cut to bits" in (tmp_path / "report.html").read_text()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "network": ({"network": "recurrent"}, "found: recurrent\n  allowed: fully_connected, convolutional"),
    "level": ({"measured_at": (0.6,)}, "logic.measured_at cannot be used"),
    "no level": ({"measured_at": ()}, "logic.measured_at cannot be used"),
    "range": ({"noise_range": (0.0, 0.7)}, "noise cannot have this range\n  found: 0.0 to 0.7\n  allowed: 0 to 0.5"),
    "kind": ({"noise_kinds": ("snow",)}, "noise of that kind is unknown\n  found: snow"),
    "teacher": ({"distil": 0.5}, "there is no teacher"),
    "teacher of noise": ({"distil": 0.5, "controls": True, "noise": False}, "the teacher knows noise"),
    "layers behind pictures": ({"network": "convolutional", "hidden": (3, 4)}, "one layer of gates"),
    "a rate code of nothing": ({"dataset": "digits", "noise_kinds": ("gaussian",), "rate_code": 0}, "logic.rate_code cannot be used"),
    "a code of bits": ({"rate_code": 4}, "bits already, and need no code\n  found: logic.rate_code"),
    "learnt bits of bits": ({"learnt_bits": True}, "found: logic.learnt_bits"),
    "samples": ({"samples": 0}, "logic.samples cannot be used"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_cannot_be_are_refused_before_any_work(name: str, tmp_path: Path) -> None:
    options, said = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        learn(LogicSettings(**options, output_dir=tmp_path / "out"))
    assert said in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_convolution_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes pictures"):
        learn(LogicSettings(**SMALL, network="convolutional", hidden=(8,), output_dir=tmp_path))


def test_a_layer_whose_weights_all_became_zero_is_told(tmp_path: Path) -> None:
    with pytest.raises(NumericError, match="below a share of 100 of the mean"):
        learn(LogicSettings(**{**SMALL, "epochs": 1}, share=100.0, output_dir=tmp_path))
    assert not list(tmp_path.rglob("*.safetensors"))  # before any training


def test_thresholds_are_learnt_where_that_is_asked_for() -> None:
    asked = LogicSettings(thermometer=(0.2, 0.6), learnt_bits=True)
    assert [each.tolist() for each in code_of(asked, 3).parameters()] == [pytest.approx([0.2, 0.6])]
    assert not list(code_of(LogicSettings(rate_code=4), 3).parameters())


def test_a_rate_code_is_drawn_from_the_seed() -> None:
    one, same, other = (code_of(LogicSettings(rate_code=4, seed=seed), 3).thresholds for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_code_is_told() -> None:
    assert coded(LogicSettings(thermometer=(0.2, 0.6), learnt_bits=True)) == {"thermometer": [0.2, 0.6], "learnt_bits": True}
    assert coded(LogicSettings(thermometer=(0.5,), rate_code=4)) == {"rate_code": 4}
