"""Training: it learns, it is a function of the seed, it resumes to the very same weights, and it says clearly what went wrong."""

import errno
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from spikeloom.errors import ConfigError, DataError, NumericError, ProgramError, ResourceError, SourceError, UserError
from spikeloom.train import TrainProgress, TrainResult, train_classifier
from spikeloom.train import checkpoint as checkpoint_module
from spikeloom.train.noise import Noise
from spikeloom.train.step import logits_of

SCRIPT = Path(__file__).with_name("killed.py")
sys.path.insert(0, str(SCRIPT.parent))
from killed import small_data, small_model  # noqa: E402

sys.path.remove(str(SCRIPT.parent))

TRAIN, TEST = small_data(50, 0), small_data(30, 1)
SETTINGS: dict[str, Any] = {"epochs": 3, "batch_size": 8, "lr": 0.05, "seed": 5}


class StoppedError(Exception):
    """What a test stops training with."""


def train(**changes: Any) -> TrainResult:
    return train_classifier(changes.pop("model", None) or small_model(), TRAIN, TEST, **{**SETTINGS, **changes})


def stop_at(step: int) -> Any:
    def report(progress: TrainProgress) -> None:
        if progress.step == step:
            raise StoppedError

    return report


def same(a: TrainResult, b: TrainResult) -> bool:
    one, other = a.model.state_dict(), b.model.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- what comes of it ---------------------------------------------------------------------------------------------------------


def test_learns_and_tells_the_truth_about_it() -> None:
    result = train(epochs=10)
    model = result.model
    hits = sum(int(model(x[None]).argmax()) == y for x, y in TEST)
    assert not model.training
    assert result.test_accuracy == hits / len(TEST) > 0.7
    assert (result.test_images, result.steps, len(result.losses), len(result.accuracies)) == (30, 60, 10, 10)
    assert result.losses[-1] < 0.5 * result.losses[0]
    assert result.accuracies[-1] > 0.8
    assert result.resumed_at == 0


def test_steps_are_those_of_sgd_with_nesterov_momentum() -> None:
    from spikeloom.train.samples import epoch_order
    from spikeloom.train.schedule import learning_rate

    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    result = train(model=model, epochs=2)
    groups = [{"params": [model[1].weight], "weight_decay": 5e-4}, {"params": [model[1].bias], "weight_decay": 0.0}]
    reference = torch.optim.SGD(groups, lr=1.0, momentum=0.9, nesterov=True)
    for step in range(12):
        rows = epoch_order(50, 5, step // 6)[step % 6 * 8 :][:8].tolist()
        x, y = torch.stack([TRAIN[row][0] for row in rows]), torch.tensor([TRAIN[row][1] for row in rows])
        reference.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        for group in reference.param_groups:
            group["lr"] = learning_rate(step, 12, 0.05, "one_cycle")
        reference.step()
    assert torch.allclose(result.model[1].weight, model[1].weight, atol=1e-6)
    assert torch.allclose(result.model[1].bias, model[1].bias, atol=1e-6)


def test_the_model_given_is_left_as_it_was() -> None:
    model = small_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = train(model=model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not torch.equal(result.model.state_dict()["0.weight"], before["0.weight"])


def test_is_a_function_of_the_seed_and_leaves_the_global_generator_alone() -> None:
    model = small_model()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = train(model=model)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(first, train())
    assert not same(first, train(seed=6))


@pytest.mark.parametrize(
    "change",
    [
        {"optimiser": "adamw"},
        {"schedule": "cosine"},
        {"weight_decay": 0.1},
        {"label_smoothing": 0.2},
        {"augment": "cifar"},
        {"lr": 0.06},
        {"batch_size": 9},
    ],
)
def test_every_setting_acts(change: dict[str, Any]) -> None:
    assert not same(train(), train(**change))


def test_samples_are_shown_to_the_model_as_is_said() -> None:
    """Training on samples that are shown otherwise is training on other samples; the test samples are as the model takes them."""
    other = [(2 * x - 1, y) for x, y in TRAIN]
    shown = train(shown=lambda x: 2 * x - 1)
    assert same(shown, train_classifier(small_model(), other, TEST, **SETTINGS))
    assert not same(shown, train())


def test_noise_comes_before_samples_are_shown_and_a_teacher_may_be_asked_about_clean_ones() -> None:
    seen: dict[str, list[Tensor]] = {"shown": [], "taught": []}
    samples = [((x > 0).float(), y) for x, y in TRAIN]

    def shown(x: Tensor) -> Tensor:
        seen["shown"].append(x)
        return x + 10

    def teacher(x: Tensor) -> Tensor:
        seen["taught"].append(x)
        return small_model()(x)

    told = {**SETTINGS, "epochs": 1, "noise": Noise(low=0.3, high=0.4), "teacher": teacher, "distil": 0.5, "teaches_clean": True}
    train_classifier(small_model(), samples, TEST, shown=shown, **told)
    known = torch.stack([x for x, _ in samples])
    assert all(bool((row == known).flatten(1).all(1).any()) for x in seen["taught"] for row in x - 10)
    noisy, clean = seen["shown"][0::2], seen["shown"][1::2]
    changed = torch.cat([(x != y).float().flatten() for x, y in zip(noisy, clean, strict=True)]).mean()
    assert 0.25 < float(changed) < 0.45


def test_augmentation_is_another_in_every_step() -> None:
    class Recorder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.seen = nn.Linear(36, 3), list[Tensor]()

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append(x.clone())
            return self.linear(x.flatten(1))

    alike = [(TRAIN[0][0], 0)] * 20
    result = train_classifier(Recorder(), alike, alike, **{**SETTINGS, "batch_size": 20, "augment": "cifar"})
    seen = result.model.seen
    assert len({x.numpy().tobytes() for x in seen}) == 4  # three steps and, as they are, the test samples
    assert torch.equal(seen[3], torch.stack([x for x, _ in alike]))


def test_trains_in_training_mode_whatever_the_model_was_in() -> None:
    assert same(train(), train(model=small_model().eval()))


def test_weight_decay_spares_biases_and_normalisation() -> None:
    from spikeloom.train.recipe import Recipe, make_optimiser

    recipe = Recipe(1, 8, 0.1, 0, "none", "sgd", "cosine", 0.5, 0.0, None)
    decays = {
        parameter.shape: group["weight_decay"]
        for group in make_optimiser(small_model(), recipe).param_groups
        for parameter in group["params"]
    }
    assert {shape for shape, decay in decays.items() if decay == 0.5} == {torch.Size([4, 1, 3, 3]), torch.Size([3, 144])}
    assert {shape for shape, decay in decays.items() if decay == 0.0} == {torch.Size([4]), torch.Size([3])}


def test_progress_is_told_after_every_step() -> None:
    told: list[TrainProgress] = []
    result = train(progress=told.append)
    assert [progress.step for progress in told] == list(range(1, 19))
    assert {(progress.steps, progress.epochs) for progress in told} == {(18, 3)}
    assert [progress.epoch for progress in told] == [1] * 6 + [2] * 6 + [3] * 6
    assert (told[5].loss, told[5].accuracy) == (result.losses[0], result.accuracies[0])
    assert all(progress.images_per_second > 0 for progress in told)
    assert told[0].eta_s > 0
    assert told[-1].eta_s == 0


def test_stops_early_on_training_accuracy() -> None:
    result = train(epochs=60, early_stop=0.75)
    assert len(result.accuracies) < 60
    assert result.accuracies[-1] >= 0.75 > max(result.accuracies[:-1])
    assert result.steps == 6 * len(result.losses)


def test_fewer_samples_than_a_batch_are_one_batch() -> None:
    assert train(batch_size=64, epochs=2).steps == 2


def test_takes_models_that_return_more_than_logits() -> None:
    class Output:
        def __init__(self, logits: Tensor) -> None:
            self.logits = logits

    logits = torch.zeros(2, 3)
    assert all(logits_of(output) is logits for output in (logits, Output(logits), (logits, None), [logits]))
    for output in (torch.zeros(3), Output(torch.zeros(1, 2, 3)), "text", ()):
        with pytest.raises(DataError, match="no classifier"):
            logits_of(output)


# --- stops and resumes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize(("stops", "every"), [((1,), 1), ((7,), 1), ((6, 12), 3), ((5, 11, 17), 4), ((2,), 100)])
def test_stopped_and_resumed_is_bitwise_the_unbroken_one(tmp_path: Path, optimiser: str, stops: tuple[int, ...], every: int) -> None:
    common: dict[str, Any] = {"optimiser": optimiser, "augment": "cifar", "label_smoothing": 0.1, "checkpoint_steps": every}
    unbroken = train(**common)
    path = tmp_path / "run" / "checkpoint.safetensors"
    for step in stops:
        with pytest.raises(StoppedError):
            train(**common, checkpoint=path, resume=True, progress=stop_at(step))
    resumed = train(**common, checkpoint=path, resume=True)
    assert resumed.resumed_at == stops[-1] // every * every
    assert same(unbroken, resumed)
    assert (resumed.losses, resumed.accuracies, resumed.steps) == (unbroken.losses, unbroken.accuracies, unbroken.steps)
    assert resumed.test_accuracy == unbroken.test_accuracy


def test_killed_and_resumed_is_bitwise_the_unbroken_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    killed = subprocess.run([sys.executable, str(SCRIPT), str(path), "10"], check=False, capture_output=True, timeout=100)
    assert killed.returncode == -9, killed.stderr.decode()
    common: dict[str, Any] = {"augment": "cifar", "checkpoint_steps": 4}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        resumed, unbroken = train(**common, checkpoint=path, resume=True), train(**common)
    finally:
        torch.set_num_threads(threads)
    assert resumed.resumed_at == 8
    assert same(unbroken, resumed)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    first, told = train(checkpoint=path), list[TrainProgress]()
    again = train(checkpoint=path, resume=True, progress=told.append)
    assert told == []
    assert again.resumed_at == 18
    assert same(first, again)
    anew = train(checkpoint=path, resume=False)
    assert anew.resumed_at == 0
    assert same(first, anew)


def test_a_checkpoint_falls_due_by_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeloom.train import classifier

    monkeypatch.setattr(classifier, "CHECKPOINT_S", -1.0)
    with pytest.raises(StoppedError):
        train(checkpoint=tmp_path / "c", checkpoint_steps=10**6, progress=stop_at(3))
    assert train(checkpoint=tmp_path / "c", resume=True).resumed_at == 3


def test_checkpoint_is_one_file_that_needs_no_unpickling(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    train(checkpoint=path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["training"])
        assert {"model.0.weight", "optimiser.0.momentum_buffer"} <= set(file.keys())
    assert header["position"]["step"] == 18
    assert header["settings"]["lr"] == 0.05


@pytest.mark.parametrize(
    ("change", "key"),
    [({"lr": 0.1}, "lr=0.1"), ({"seed": 6}, "seed=6"), ({"epochs": 4}, "epochs=4"), ({"early_stop": 0.9}, "early_stop=0.9")],
)
def test_resuming_with_other_settings_is_refused(tmp_path: Path, change: dict[str, Any], key: str) -> None:
    train(checkpoint=tmp_path / "c")
    with pytest.raises(ConfigError, match=rf"another training\n  found: {key}\n"):
        train(checkpoint=tmp_path / "c", resume=True, **change)


def test_resuming_with_other_data_or_another_model_is_refused(tmp_path: Path) -> None:
    train(checkpoint=tmp_path / "c")
    scaled = [(2 * x, y) for x, y in TRAIN]
    with pytest.raises(ConfigError, match="data='"):
        train_classifier(small_model(), scaled, TEST, **SETTINGS, checkpoint=tmp_path / "c", resume=True)
    with pytest.raises(ProgramError, match="does not fit the model"):
        train(model=nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), checkpoint=tmp_path / "c", resume=True)


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "c"
    train(checkpoint=path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:5], b"", b"PK" + whole):
        path.write_bytes(damaged)
        with pytest.raises(ProgramError, match=r"checkpoint .* cannot be read"):
            train(checkpoint=path, resume=True)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ProgramError, match="no checkpoint of this version"):
        train(checkpoint=path, resume=True)


def test_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    with pytest.raises(StoppedError):
        train(checkpoint=path, checkpoint_steps=4, progress=stop_at(4))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module.os, "fsync", full)
    with pytest.raises(ResourceError, match="the disk is full"):
        train(checkpoint=path, checkpoint_steps=4, resume=True)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="without a checkpoint"):
        train(resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        train(checkpoint=tmp_path / "file" / "c")


# --- what can go wrong ------------------------------------------------------------------------------------------------------------


def test_divergence_says_what_to_do() -> None:
    with pytest.raises(NumericError, match=r"not finite(.|\n)*lower the learning rate"):
        train(lr=1e30, schedule="cosine")


def test_weights_that_break_in_the_last_step_are_found() -> None:
    with pytest.raises(NumericError, match="a weight is not finite"):
        train(lr=3e38, schedule="cosine", epochs=1, batch_size=50, weight_decay=1e10)


def test_memory_that_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(nn.Module):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.linear, self.error = nn.Linear(36, 3), error

        def forward(self, x: Tensor) -> Tensor:
            raise self.error

    for error in (MemoryError(), torch.OutOfMemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …")):
        with pytest.raises(ResourceError, match="batches of 8"):
            train(model=Greedy(error))
    with pytest.raises(RuntimeError, match="a bug"):
        train(model=Greedy(RuntimeError("a bug")))


def test_data_that_cannot_be_trained_on() -> None:
    cases: list[tuple[Any, Any, str]] = [
        ([], TEST, "too little"),
        (TRAIN[:1], TEST, "too little"),
        (TRAIN, [], "too little"),
        ([(x, 3) for x, _ in TRAIN], TEST, r"outside the model's classes\n  found: 3\n  allowed: 0 to 2"),
        (TRAIN, [(x, -1) for x, _ in TEST], "found: -1"),
        ([(x * math.nan, y) for x, y in TRAIN], TEST, "NaN"),
        (TRAIN, [(x * math.inf, y) for x, y in TEST], "NaN"),
    ]
    for train_set, test_set, problem in cases:
        with pytest.raises(DataError, match=problem):
            train_classifier(small_model(), train_set, test_set, **SETTINGS)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"batch_size": 1},
        {"lr": 0.0},
        {"lr": math.inf},
        {"lr": math.nan},
        {"weight_decay": -1.0},
        {"label_smoothing": 1.0},
        {"early_stop": 1.5},
    ],
)
def test_numbers_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"train.{next(iter(change))} cannot be used"):
        train(**change)


def test_a_model_without_parameters() -> None:
    with pytest.raises(SourceError, match="no parameters"):
        train(model=nn.Flatten())


def test_errors_are_the_users() -> None:
    with pytest.raises(UserError):
        train(epochs=0)


# --- the digits network -------------------------------------------------------------------------------------------------------------


def test_digits_cnn_reaches_98_percent() -> None:
    from spikeloom.datasets import load
    from spikeloom.zoo import build

    result = train_classifier(build("digits-cnn"), load("digits", "train"), load("digits", "test"), epochs=4, batch_size=64, lr=0.1)
    assert result.test_accuracy >= 0.98
