"""The zoo: every architecture builds, is what its table row says, and loads the published weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from spikeloom.errors import SourceError
from spikeloom.zoo import ARCHITECTURES, architecture, build
from spikeloom.zoo.cifar_resnet import shortcut


def parameters(name: str, classes: int | None = None) -> int:
    return sum(parameter.numel() for parameter in build(name, classes).parameters())


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_takes_its_input_shape_and_gives_logits(name: str) -> None:
    row = ARCHITECTURES[name]
    assert row.name == name
    assert len(row.mean) == len(row.std) == row.input_shape[0]
    for classes in (row.classes, 7):
        model = build(name, classes).eval()
        with torch.inference_mode():
            assert model(torch.randn(2, *row.input_shape)).shape == (2, classes)


@pytest.mark.parametrize(
    ("name", "published"),
    [  # He et al. 2016, table 6; ResNet-18 in CIFAR form as usually counted
        ("cifar-resnet20", 0.27e6),
        ("cifar-resnet32", 0.46e6),
        ("cifar-resnet44", 0.66e6),
        ("cifar-resnet56", 0.85e6),
        ("cifar-resnet110", 1.7e6),
        ("resnet18", 11.17e6),
    ],
)
def test_has_as_many_parameters_as_published(name: str, published: float) -> None:
    assert parameters(name) == pytest.approx(published, rel=0.02)


def test_digits_cnn_has_the_parameters_it_states() -> None:
    assert parameters("digits-cnn") == 24_058


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SourceError, match=r"digits-cnn, lenet, cifar-resnet20") as caught:
        build("resnet9000")
    assert "resnet9000" in str(caught.value)


def test_refuses_no_classes() -> None:
    with pytest.raises(SourceError, match="0 classes"):
        build("lenet", 0)


def test_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    first, state = build("digits-cnn", seed=3), torch.random.get_rng_state()
    torch.manual_seed(2)
    second, other = build("digits-cnn", seed=3), build("digits-cnn", seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert not torch.equal(first[0].weight, other[0].weight)
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_shortcut_takes_every_second_pixel_and_pads_channels_with_zeros() -> None:
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    y = shortcut(x, 6, 2)
    assert y.shape == (2, 6, 2, 2)
    assert torch.equal(y[:, 1:4], x[:, :, ::2, ::2])
    assert not y[:, 0].any()
    assert not y[:, 4:].any()
    assert shortcut(x, 3, 1) is x


def test_resnet18_halves_height_and_width_three_times() -> None:
    model, sides = build("resnet18").eval(), list[int]()
    for layer in (model.conv1, model.layer1, model.layer2, model.layer3, model.layer4):
        layer.register_forward_hook(lambda _module, _inputs, y: sides.append(y.shape[-1]))
    with torch.inference_mode():
        model(torch.randn(1, 3, 32, 32))
    assert sides == [32, 32, 16, 8, 4]


def test_resnet18_has_torchvisions_module_names() -> None:
    names = set(build("resnet18").state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.0.weight", "layer4.1.conv2.weight", "fc.bias"} <= names
    assert not any(name.startswith("layer1.0.downsample") for name in names)


def pictures(folder: Path, architecture_name: str, count: int) -> tuple[Tensor, Tensor]:
    """Test pictures decoded here, so that this test stands on nothing but the zoo."""
    import io

    import pyarrow.parquet as pq
    from PIL import Image

    row = architecture(architecture_name)
    table = pq.read_table(next(folder.glob("test-*.parquet"))).slice(0, count).to_pydict()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in table["image"]])
    mean, std = (torch.tensor(values)[:, None, None] for values in (row.mean, row.std))
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std, torch.tensor(table["label"])


@pytest.mark.parametrize(("depth", "count", "hits"), [(20, 1000, 904), (32, 200, 189), (44, 200, 189)])
def test_cifar_resnet_with_published_weights_is_as_accurate_as_published(
    shared: Callable[[str], Path], depth: int, count: int, hits: int
) -> None:
    model = build(f"cifar-resnet{depth}").eval()
    model.load_state_dict(load_file(shared(f"cifar10_resnet{depth}") / "model.safetensors"))
    x, y = pictures(shared("cifar10_lossless_test1000"), f"cifar-resnet{depth}", count)
    with torch.inference_mode():
        found = sum(int((model(xs).argmax(1) == ys).sum()) for xs, ys in zip(x.split(200), y.split(200), strict=True))
    assert abs(found - hits) <= 1  # one picture may turn on another machine's rounding


def test_lenet_loads_the_published_weights(shared: Callable[[str], Path]) -> None:
    model = build("lenet").eval()
    model.load_state_dict(load_file(shared("mnist_lenet_snntoolbox") / "model.safetensors"))
    import gzip

    data = gzip.decompress((shared("mnist") / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((shared("mnist") / "train-labels-idx1-ubyte.gz").read_bytes())
    x = torch.from_numpy(np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28)[-2000:].copy()) / 255
    y = torch.from_numpy(np.frombuffer(labels, np.uint8, offset=8)[-2000:].copy())
    with torch.inference_mode():
        assert (model(x).argmax(1) == y).float().mean() > 0.995
