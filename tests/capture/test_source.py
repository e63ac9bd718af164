"""Addresses: what each kind resolves to, in which order bare names are looked up, and one error for whatever cannot be had."""

import importlib.util
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from spikeloom.capture import capture, load, resolve
from spikeloom.capture.shim import is_mismatched
from spikeloom.errors import NumericError, ResourceError, SourceError
from spikeloom.ir import load as load_program
from spikeloom.ir import save

transformers = pytest.importorskip("transformers")

WAYS_ON = r"[\s\S]*--weights.*--train.*built-in"
Shared = Callable[[str], Path]


def assert_captured(address: Any, tmp_path: Path, inputs: Callable[[int], Tensor], **options: Any) -> None:
    """The program equals the model at batches of 1, 2 and 5, its batch varies, and it comes back from a folder the same."""
    source = resolve(address, **options)
    program = capture(source.model, source.args, source.kwargs, source.settings)
    save(program, tmp_path / "program")
    again = load_program(tmp_path / "program")
    assert program.inputs[0].dynamic
    assert json.loads(json.dumps(program.settings)) == again.settings == source.settings
    name = next(iter(source.kwargs), None)
    for batch in (1, 2, 5):
        x = inputs(batch)
        with torch.no_grad():
            wanted = source.model(**{name: x}) if name else source.model(x)
            found, reloaded = program.module()(x), again.module()(x)
        if not isinstance(wanted, Tensor):
            assert found.keys() == wanted.keys()
            wanted, found, reloaded = wanted["logits"], found["logits"], reloaded["logits"]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(reloaded, found, atol=1e-6, rtol=1e-6)


# --- zoo ---------------------------------------------------------------------------------------------------------------


def test_our_own_architecture_with_shared_weights(shared: Shared, tmp_path: Path) -> None:
    weights = shared("cifar10_resnet20") / "model.safetensors"
    source = resolve("zoo:cifar-resnet20", weights=weights)
    assert source.settings == {
        "source": "zoo:cifar-resnet20",
        "weights": str(weights),
        "classes": 10,
        "class_names": None,
        "preprocessing": {
            "size": [32, 32],
            "shorter_side": None,
            "resize": "bilinear",
            "scale": 1 / 255,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "channels": 3,
        },
        "input_shape": [3, 32, 32],
        "task": "image-classification",
    }
    assert_captured("zoo:cifar-resnet20", tmp_path, lambda batch: torch.randn(batch, 3, 32, 32), weights=weights)


def test_random_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    first, same, other = (resolve("zoo:digits-cnn", random_weights=True, seed=seed).model.state_dict() for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_an_untrained_architecture_is_built_for_the_classes_asked_for() -> None:
    assert resolve("zoo:lenet", random_weights=True, classes=7).settings["classes"] == 7


def test_an_architecture_without_weights_is_an_error_with_the_ways_on() -> None:
    said = r"zoo:resnet18 comes without weights, and none were found\n  found: no --weights and no --data-root were given"
    with pytest.raises(SourceError, match=said + WAYS_ON):
        resolve("resnet18")


def test_weights_in_the_data_root_are_taken(tmp_path: Path) -> None:
    kept = resolve("zoo:lenet", random_weights=True, seed=5).model.state_dict()
    (tmp_path / "lenet").mkdir()
    save_file(kept, tmp_path / "lenet" / "model.safetensors")
    for address in ("lenet", "zoo:lenet"):
        found = resolve(address, data_root=tmp_path)
        assert all(torch.equal(value, kept[name]) for name, value in found.model.state_dict().items())
        assert found.settings["weights"] == str(tmp_path / "lenet" / "model.safetensors")
    drawn = resolve("zoo:lenet", random_weights=True, seed=6, data_root=tmp_path)
    assert drawn.settings["weights"] == "random"
    (tmp_path / "lenet" / "model.safetensors").rename(tmp_path / "lenet.safetensors")
    assert resolve("lenet", data_root=tmp_path).settings["weights"] == str(tmp_path / "lenet.safetensors")


def test_where_weights_were_looked_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"found: there is no {tmp_path}/resnet18/model.safetensors; there is no .*" + WAYS_ON):
        resolve("resnet18", data_root=tmp_path)
    with pytest.raises(SourceError, match=f"there is no file {tmp_path}/nowhere" + WAYS_ON):
        resolve("resnet18", weights=tmp_path / "nowhere")


def test_weights_of_another_architecture_are_one_error(tmp_path: Path) -> None:
    save_file(resolve("zoo:digits-cnn", random_weights=True).model.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(SourceError, match=r"(?s)do not fit.*missing:.*unexpected:"):
        resolve("zoo:lenet", weights=tmp_path / "w.safetensors")


def test_the_configuration_beside_the_weights_says_how_pictures_are_prepared(tmp_path: Path) -> None:
    save_file(resolve("zoo:lenet", random_weights=True).model.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"mean": [0.3], "std": [0.2], "scale": 0.5}))
    prepared = resolve("zoo:lenet", weights=tmp_path / "w.safetensors").settings["preprocessing"]
    assert (prepared["mean"], prepared["std"], prepared["scale"], prepared["size"]) == ([0.3], [0.2], 0.5, [28, 28])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(SourceError, match=r"config\.json cannot be read"):
        resolve("zoo:lenet", weights=tmp_path / "w.safetensors")


# --- a module, and code the user names -------------------------------------------------------------------------------------


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4))


def test_a_module_with_an_example_of_one(tmp_path: Path) -> None:
    source = resolve(small(), example=torch.randn(1, 1, 6, 6))
    assert source.address == "module:Sequential"
    assert source.args[0].shape == (2, 1, 6, 6)
    assert not source.model.training
    assert_captured(source.model, tmp_path, lambda batch: torch.randn(batch, 1, 6, 6), input_shape=(1, 6, 6))


def test_a_module_that_does_not_say_what_it_takes_is_one_error() -> None:
    with pytest.raises(SourceError, match=r"--input-shape"):
        resolve(nn.Linear(3, 2))
    with pytest.raises(SourceError, match=r"(?s)does not run on inputs of shape \[\[2, 4\]\].*mat1"):
        resolve(nn.Linear(3, 2), input_shape=(4,))


def test_weights_that_are_not_finite_are_named() -> None:
    model = nn.Linear(3, 2)
    model.bias.data[0] = float("nan")
    with pytest.raises(NumericError, match=r"bias \(1 of 2\)"):
        resolve(model, input_shape=(3,))


def test_another_number_of_classes_is_one_error_with_the_ways_on() -> None:
    with pytest.raises(SourceError, match=r"(?s)another number of classes.*found: 2\n.*allowed: 10" + WAYS_ON):
        resolve(nn.Linear(3, 2), input_shape=(3,), classes=10)


NETS = """
import torch
from torch import nn
from beside import WIDTH

def build(num_classes=4, pretrained=False):
    net = nn.Sequential(nn.Flatten(), nn.Linear(WIDTH, num_classes))
    net.pretrained = pretrained
    return net

def with_example():
    return nn.Linear(3, 2), torch.randn(1, 3)

net = nn.Linear(3, 2)
text = "no module"

def failing():
    raise ZeroDivisionError("by nought")

def wrong():
    return 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Python file (also as hubconf.py) that imports another beside it; it is the working folder."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "hubconf.py").write_text("dependencies = ['torch']\n" + NETS)
    (tmp_path / "beside.py").write_text("WIDTH = 36")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    return tmp_path


@pytest.mark.parametrize("address", ["py:nets:build", "py:nets.py:build", "nets.py:build", "torchhub:{}:build"])
def test_named_code_builds_a_model(code: Path, tmp_path: Path, address: str) -> None:
    address = address.format(code)
    path = list(sys.path)
    source = resolve(address, input_shape=(1, 6, 6), classes=3)
    assert (source.settings["classes"], source.settings["weights"], source.model.pretrained) == (3, "pretrained", True)
    assert not resolve(address, input_shape=(1, 6, 6), random_weights=True).model.pretrained
    assert sys.path == path
    assert_captured(address, tmp_path, lambda batch: torch.randn(batch, 1, 6, 6), input_shape=(1, 6, 6))


@pytest.mark.parametrize("name", ["with_example", "net"])
def test_named_code_may_give_an_example_or_be_a_module(code: Path, name: str) -> None:
    options = {} if name == "with_example" else {"input_shape": (3,)}
    assert load(f"py:{code / 'nets.py'}:{name}", **options).inputs[0].shape == (2, 3)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("py:nets:failing", "ZeroDivisionError: by nought"),
        ("py:nets:wrong", "does not give a torch module"),
        ("py:nets:text", "does not give a torch module"),
        ("py:nets:none", r"(?s)has no 'none'.*build, failing"),
        ("py:no_such_module:build", "No module named 'no_such_module'"),
        ("py:none.py:build", "there is no Python file"),
        ("py:nets", "has two parts"),
        ("torchhub:.:none", r"(?s)has no 'none'.*build"),
        ("torchhub:build", "has two parts"),
        ("torchhub:/nowhere/at/all:build", "neither a folder nor a repository"),
    ],
)
def test_named_code_that_fails_is_one_error(code: Path, address: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        resolve(address, input_shape=(1, 6, 6))


def test_a_torch_hub_folder_says_what_it_lacks(code: Path) -> None:
    (code / "hubconf.py").write_text("dependencies = ['no_such_library']\n" + NETS)
    with pytest.raises(ResourceError, match="pip install no_such_library"):
        resolve(f"torchhub:{code}:build")
    (code / "hubconf.py").unlink()
    with pytest.raises(SourceError, match=r"no hubconf\.py"):
        resolve(f"torchhub:{code}:build")


def test_a_torch_hub_repository_is_taken_from_the_cache_else_one_error(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "list", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(SourceError, match=r"(?s)'owner/repo' cannot be had from GitHub.*no network" + WAYS_ON):
        resolve("torchhub:owner/repo:build", input_shape=(1, 6, 6))
    (tmp_path / "owner_repo_main").mkdir()
    for name in ("hubconf.py", "beside.py"):
        (code / name).rename(tmp_path / "owner_repo_main" / name)
    assert resolve("torchhub:owner/repo:build", input_shape=(1, 6, 6)).settings["classes"] == 4


# --- transformers --------------------------------------------------------------------------------------------------------

TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": ("ResNetForImageClassification", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}),
    "RegNet": ("RegNetForImageClassification", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 4}),
    "ConvNext": ("ConvNextForImageClassification", {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32}),
    "ViT": (
        "ViTForImageClassification",
        {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "image_size": 32, "patch_size": 8},
    ),
    "MobileNetV2": ("MobileNetV2ForImageClassification", {"depth_multiplier": 0.05, "image_size": 32, "finegrained_output": False}),
    "EfficientNet": (
        "EfficientNetForImageClassification",
        {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128, "image_size": 32},
    ),
}
SLOW = ("MobileNetV2", "EfficientNet")
PROCESSOR = {
    "image_processor_type": "ConvNextImageProcessor",
    "crop_pct": 0.875,
    "size": {"shortest_edge": 32},
    "resample": 3,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.2, 0.1],
    "rescale_factor": 1 / 255,
}


def tiny(name: str, folder: Path, **options: Any) -> Any:
    """A small random model of transformers, saved as the library does, with a processor's configuration beside it."""
    build, kw = TINY[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**kw, **options)
    model = getattr(transformers, build)(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model


def test_a_folder_with_an_architectures_name_keeps_its_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny("ResNet", tmp_path / "lenet")
    (tmp_path / "kept").mkdir()
    save_file(resolve("zoo:lenet", random_weights=True).model.state_dict(), tmp_path / "kept" / "lenet.safetensors")
    monkeypatch.chdir(tmp_path)
    assert resolve("lenet", data_root=tmp_path / "kept").address == "hf:lenet"
    assert resolve("zoo:lenet", data_root=tmp_path / "kept").address == "zoo:lenet"


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in TINY])
def test_a_folder_of_transformers(name: str, tmp_path: Path) -> None:
    labels = {0: "cat", 1: "dog", 2: "newt"}
    model = tiny(name, tmp_path / "model", id2label=labels, label2id={name: key for key, name in labels.items()})
    source = resolve(f"hf:{tmp_path / 'model'}")
    assert source.settings["class_names"] == ["cat", "dog", "newt"]
    assert source.settings["task"] == "image-classification"
    assert source.settings["preprocessing"] == {
        "size": [32, 32],
        "shorter_side": 36,
        "resize": "bicubic",
        "scale": 1 / 255,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.2, 0.1],
        "channels": 3,
    }
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(source.model(x).logits, model(x).logits, atol=1e-5, rtol=1e-5)
    assert_captured(f"hf:{tmp_path / 'model'}", tmp_path, lambda batch: torch.randn(batch, 3, 32, 32))


def test_the_shared_vision_transformer_by_its_bare_path(shared: Shared, tmp_path: Path) -> None:
    folder = shared("vit_fashion_mnist")
    source = resolve(str(folder))
    assert source.address == f"hf:{folder}"
    assert [source.settings["preprocessing"][key] for key in ("mean", "std", "size")] == [[0.286], [0.353], [28, 28]]
    assert list(source.kwargs) == ["pixel_values"]
    assert_captured(str(folder), tmp_path, lambda batch: torch.randn(batch, 1, 28, 28))


def test_a_language_model_takes_tokens(shared: Shared) -> None:
    source = resolve(f"hf:{shared('gpt2_char_shakespeare')}")
    tokens, positions, mask = source.args
    assert (tokens.dtype, positions.shape, mask.shape) == (torch.int64, tokens.shape, (2, 1, tokens.shape[1], tokens.shape[1]))
    assert source.structure == {"position_ids": "positions", "attention_mask": "causal mask"}
    assert {key: source.settings[key] for key in ("task", "context", "vocabulary")} == {
        "task": "text-generation",
        "context": 128,
        "vocabulary": 65,
    }


def test_an_untrained_transformers_model_takes_weights_and_classes(tmp_path: Path) -> None:
    model = tiny("ConvNext", tmp_path / "model", num_labels=3)
    save_file({f"module.{key}": value for key, value in model.state_dict().items()}, tmp_path / "w.safetensors")
    (tmp_path / "model" / "model.safetensors").unlink()
    with pytest.raises(SourceError, match="holds no weights" + WAYS_ON):
        resolve(f"hf:{tmp_path / 'model'}")
    source = resolve(f"hf:{tmp_path / 'model'}", weights=tmp_path / "w.safetensors")
    assert torch.equal(source.model.classifier.weight, model.classifier.weight)
    assert resolve(f"hf:{tmp_path / 'model'}", random_weights=True, classes=5).settings["classes"] == 5


def config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_that_cannot_be_loaded_is_one_error_each(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tiny("ConvNext", folder)
    whole = (folder / "config.json").read_text()
    config(folder, auto_map={"AutoConfig": "evil.Config"}, model_type="evil")
    (folder / "evil.py").write_text("raise SystemExit('code beside a model ran')")
    with pytest.raises(SourceError, match="py:<module>:<callable>"):
        resolve(f"hf:{folder}")
    (folder / "config.json").write_text(whole)
    config(folder, architectures=["NoSuchModel"])
    with pytest.raises(SourceError, match="names no architecture"):
        resolve(f"hf:{folder}")
    config(folder, architectures=["ConvNextModel"])
    assert resolve(f"hf:{folder}", input_shape=(3, 32, 32)).settings["task"] == "other"
    (folder / "config.json").write_text(whole)
    config(folder, depths=[2, 1])
    with pytest.raises(SourceError, match=r"(?s)do not fill ConvNextForImageClassification.*missing: convnext\.encoder"):
        resolve(f"hf:{folder}")
    (folder / "config.json").write_text(whole)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:2000])
    with pytest.raises(SourceError, match="cannot be loaded"):
        resolve(f"hf:{folder}")
    (folder / "config.json").write_text("{")
    with pytest.raises(SourceError, match=r"config\.json: JSONDecodeError"):
        resolve(f"hf:{folder}")
    with pytest.raises(SourceError, match="is a file, not a model folder"):
        resolve(f"hf:{folder / 'config.json'}")


class Payload:
    """A pickle that leaves a folder behind when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_pickled_weights_of_a_folder_give_tensors_or_an_error(tmp_path: Path) -> None:
    folder, marker = tmp_path / "model", tmp_path / "ran"
    model = tiny("ConvNext", folder, num_labels=3)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    assert torch.equal(resolve(f"hf:{folder}").model.classifier.weight, model.classifier.weight)
    torch.save(Payload(marker), folder / "pytorch_model.bin")
    with pytest.raises(SourceError, match="cannot be loaded"):
        resolve(f"hf:{folder}")
    assert not marker.exists()


def test_a_model_too_large_for_memory_is_one_error() -> None:
    class Huge(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.empty(2**50) + x.sum()

    with pytest.raises(ResourceError, match="more memory than there is"):
        resolve(Huge(), input_shape=(3,))


# --- the hub -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, online."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub"


def test_a_cached_hub_model_needs_no_network(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    snapshot = hub / "models--owner--tiny" / "snapshots" / ("0" * 40)
    tiny("ConvNext", snapshot, num_labels=3)
    (hub / "models--owner--tiny" / "refs").mkdir()
    (hub / "models--owner--tiny" / "refs" / "main").write_text("0" * 40)
    assert resolve("hf:owner/tiny").settings["source"] == "hf:owner/tiny"
    assert resolve("owner/tiny").settings["classes"] == 3


@pytest.mark.parametrize("address", ["hf:owner/absent", "owner/absent", "absent"])
def test_an_unreachable_hub_is_one_error_at_once(hub: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(SourceError, match=r"(?s)absent.*127\.0\.0\.1:9.*refused" + WAYS_ON):
        resolve(address)
    assert time.monotonic() - start < 5


def test_a_hub_that_never_answers_is_not_waited_for(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("spikeloom.capture.hub.TIMEOUT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(SourceError, match=r"(?s)cannot be had.*timed out" + WAYS_ON):
            resolve("hf:owner/absent")


def test_offline_is_respected(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SourceError, match=r"(?s)HF_HUB_OFFLINE is set" + WAYS_ON):
        resolve("hf:owner/absent")


# --- bare names and paths --------------------------------------------------------------------------------------------------


def test_a_name_nothing_is_called_lists_every_place_looked_at() -> None:
    with pytest.raises(SourceError) as caught:
        resolve("nosuchnet")
    said = str(caught.value)
    assert [line.strip().partition(":")[0] for line in said.splitlines()[2:7]] == ["path", "zoo", "torchvision", "timm", "hf"]
    assert "cifar-resnet20" in said
    assert "--weights" in said


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "an empty name"),
        ("zoo:", "names nothing"),
        ("zoo:nosuchnet", "digits-cnn"),
        ("nosuch:kind", r"(?s)no kind of source is called 'nosuch'.*hf:, torchhub:, torchvision:, timm:, onnx:, pt2:, py:, zoo:"),
        ("onnx:/nowhere.onnx", "there is no file"),
        ("hf:not a hub id", "neither a folder nor a hub id"),
        ("x" * 300, "can be found"),
    ],
)
def test_an_address_that_is_none_is_one_error(address: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        resolve(address)


def test_a_path_that_is_no_model_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    for folder, file in (("empty", None), ("program", "program.json"), ("hub", "hubconf.py")):
        (tmp_path / folder).mkdir()
        if file:
            (tmp_path / folder / file).write_text("")
    for path, said in {
        "w.safetensors": r"zoo:<name> --weights .*w\.safetensors",
        "notes.txt": r"a \.txt file",
        "empty": "holds no model",
        "program": "is a saved Spikeloom program",
        "hub": "torchhub:.*hub:<entry>",
    }.items():
        with pytest.raises(SourceError, match=said):
            resolve(str(tmp_path / path))


def test_a_plain_configuration_is_sent_to_the_zoo(shared: Shared) -> None:
    with pytest.raises(SourceError, match=r"(?s)no model_type.*zoo:.* --weights .*model\.safetensors"):
        resolve(str(shared("cifar10_resnet20")))


def test_an_onnx_file_by_its_bare_path(shared: Shared, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    path = shared("cifar10_resnet8_mlperftiny") / "model.onnx"
    assert resolve(str(path)).settings["source"] == f"onnx:{path}"
    assert_captured(f"onnx:{path}", tmp_path, lambda batch: torch.randn(batch, 3, 32, 32))


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_a_library_that_is_not_installed_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # what an absent library does to `import`
    with pytest.raises(ResourceError, match=rf"need the library '{library}'[\s\S]*pip install {library}"):
        resolve(f"{library}:resnet18")


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="needs torchvision, which is not among the dependencies")
@pytest.mark.parametrize("address", ["torchvision:squeezenet1_1", "timm:resnet10t", "squeezenet1_1", "resnet10t"])
def test_classifiers_of_torchvision_and_timm(address: str, tmp_path: Path) -> None:
    if "resnet10t" in address and importlib.util.find_spec("timm") is None:
        pytest.skip("needs timm, which is not among the dependencies")
    source = resolve(address, random_weights=True, classes=10)
    assert source.settings["classes"] == 10
    assert source.settings["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    options = {"random_weights": True, "classes": 10, "input_shape": (3, 64, 64)}
    assert_captured(address, tmp_path, lambda batch: torch.randn(batch, 3, 64, 64), **options)


@pytest.mark.parametrize(
    ("cuda", "version", "mismatched"),
    [(None, "0.28.0+cu130", True), (None, "0.28.0+cpu", False), (None, "0.28.0", False), ("13.0", "0.28.0+cu130", False)],
)
def test_a_cuda_build_of_torchvision_beside_a_cpu_torch_is_seen_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: str | None, version: str, mismatched: bool
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "torchvision" / "version.py").write_text(f"__version__ = '{version}'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert is_mismatched() is mismatched
