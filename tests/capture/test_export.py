"""Capture: what is exported equals the module at every batch size, and a saved program equals the captured one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.capture import capture, folded
from spikeloom.errors import UnsupportedError
from spikeloom.ir import Program, load, name_of, save, text


class Functional(nn.Module):
    """Activations by function, padding, slicing and a shared module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shared, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.conv(x))
        y = self.shared(F.hardswish(self.shared(y))) + F.pad(x[:, :, ::1, ::1], (0, 0, 0, 0, 0, 1))
        return self.head(F.adaptive_avg_pool2d(y, 1).flatten(1))


class Attention(nn.Module):
    """Heads that are transposed, made contiguous and viewed: the view is illegal once the copy is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.drop = nn.Linear(8, 24), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        y = torch.softmax(q @ k.transpose(-1, -2) / 2, dim=-1) @ v
        return self.drop(y.transpose(1, 2).contiguous().view(b, n, 8))


class Mixed(nn.Module):
    """Batch norm, in-place activation, mixed-precision guards, no_grad, two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, image: Tensor, flag: Tensor | None = None) -> dict[str, Tensor | None]:
        with torch.no_grad():
            y = torch.relu_(self.norm(self.conv(image)))
        return {"features": y, "logits": y.float().mean((2, 3)).to(torch.float32), "nothing": flag}


class Standardised(nn.Module):
    """A convolution whose weights are standardised as it runs: they depend on no input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        flat = F.batch_norm(self.weight.reshape(1, 4, -1), None, None, training=True)
        return F.conv2d(x, flat.reshape_as(self.weight))


class Fused(nn.Module):
    """Fused multiply-add and divide-add, as ConvNeXt V2 of timm writes its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(3, 1, 1)), nn.Parameter(torch.randn(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias, self.weight, x, value=2) + torch.addcdiv(x, self.bias, 3 + x.square())


class Half(nn.Module):
    """Half precision inside: its casts change values."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4).half()

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.linear(x.half()).float(), -1).to(torch.float32)


@dataclasses.dataclass
class Scores:
    logits: Tensor
    hidden: Tensor


torch.export.register_dataclass(Scores)


class Dataclassed(nn.Module):
    def forward(self, x: Tensor) -> Scores:
        return Scores(logits=x.sum((2, 3)), hidden=x * 2)


class TwoInputs(nn.Module):
    def forward(self, left: Tensor, *, right: Tensor) -> tuple[Tensor, Tensor]:
        return left - right, left * right


def image(batch: int) -> Tensor:
    return torch.randn(batch, 3, 8, 8)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "functional": (Functional, image),
    "attention": (Attention, lambda batch: torch.randn(batch, 6, 8)),
    "mixed": (Mixed, image),
    "standardised": (Standardised, image),
    "fused": (Fused, image),
    "half": (Half, image),
    "dataclass": (Dataclassed, image),
    "multihead": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), lambda batch: torch.randn(batch, 6, 8)),
}


def as_dict(outputs: object) -> dict[str, Tensor]:
    outputs = vars(outputs) if dataclasses.is_dataclass(outputs) else outputs
    outputs = {"output": outputs} if isinstance(outputs, Tensor) else outputs
    assert isinstance(outputs, dict)
    return {key: value for key, value in outputs.items() if value is not None}


@pytest.mark.parametrize("case", CASES)
def test_a_captured_program_equals_its_module_at_every_batch_size_and_after_saving(case: str, tmp_path: Path) -> None:
    build, inputs = CASES[case]
    model = build().eval()
    program = capture(model, (inputs(2),))
    save(program, tmp_path / "program")
    loaded = load(tmp_path / "program")
    assert program.inputs[0].dynamic
    for batch in (1, 2, 5):
        x = inputs(batch)
        with torch.no_grad():
            wanted, found, again = as_dict(model(x)), as_dict(program.module()(x)), as_dict(loaded.module()(x))
        assert found.keys() == wanted.keys()
        for key in wanted:
            torch.testing.assert_close(found[key], wanted[key], atol=1e-5, rtol=1e-5)
            assert torch.equal(found[key], again[key])


def test_a_captured_program_reads_as_text() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(8, 2))
    assert text(capture(model, (torch.randn(2, 1, 4, 4),))) == (
        "program ann\n"
        "%input_1 = input f32[2, 1, 4, 4]\n"
        "@0.bias f32[2]\n@0.weight f32[2, 1, 3, 3]\n"
        "@1.bias f32[2]\n@1.running_mean f32[2]\n@1.running_var f32[2]\n@1.weight f32[2]\n"
        "@5.bias f32[2]\n@5.weight f32[2, 8]\n"
        "%sym_size_int_1 = aten.sym_size.int(%input_1, 0)\n"
        "%conv2d = aten.conv2d.default(%input_1, @0.weight, @0.bias) : f32[2, 2, 2, 2]\n"
        "%batch_norm_default = aten.batch_norm.default("
        "%conv2d, @1.weight, @1.bias, @1.running_mean, @1.running_var, False, 0.1, 1e-05, False) : f32[2, 2, 2, 2]\n"
        "%relu = aten.relu.default(%batch_norm_default) : f32[2, 2, 2, 2]\n"
        "%view = aten.reshape.default(%relu, [%sym_size_int_1, 8]) : f32[2, 8]\n"
        "%linear = aten.linear.default(%view, @5.weight, @5.bias) : f32[2, 2]\n"
        "return %linear"
    )


def operations(program: Program) -> list[str]:
    return [name_of(node.target) for node in program.graph.nodes if node.op == "call_function"]


def test_weights_computed_from_weights_are_computed_once() -> None:
    assert operations(capture(Standardised(), (image(2),))) == ["aten.conv2d.default"]


class Maximum(nn.Module):
    """A maximum along a dimension gives values and indices."""

    def __init__(self, indices: bool) -> None:
        super().__init__()
        self.indices = indices

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        values, places = x.max(dim=1, keepdim=True)
        return (values, places, values) if self.indices else (values, x.max(dim=2).values)


def test_a_maximum_whose_indices_nothing_reads_is_the_maximum_alone() -> None:
    program, x = capture(Maximum(indices=False), (torch.randn(2, 3, 4),)), torch.randn(5, 3, 4)
    assert operations(program) == ["aten.amax.default", "aten.amax.default"]
    for found, wanted in zip(program.module()(x), Maximum(indices=False)(x), strict=True):
        assert torch.equal(found, wanted)
    assert "aten.max.dim" in operations(capture(Maximum(indices=True), (torch.randn(2, 3, 4),)))


def test_dropout_copies_and_casts_to_the_same_type_are_gone() -> None:
    half = operations(capture(Half(), (image(2),)))
    assert sum(name.startswith("aten.to.") or name == "aten._to_copy.default" for name in half) == 2
    found = {
        *operations(capture(Fused(), (image(2),))),
        *operations(capture(Attention(), (torch.randn(2, 6, 8),))),
        *operations(capture(Mixed(), (image(2),))),
    }
    assert not found & {
        "aten.dropout.default",
        "aten.clone.default",
        "aten.contiguous.default",
        "aten.to.dtype",
        "aten.view.default",
        "aten.addcmul.default",
    }


def test_keyword_inputs_keep_their_names_and_order() -> None:
    program = capture(TwoInputs(), (torch.randn(2, 3),), {"right": torch.randn(2, 3)})
    assert [spec.name for spec in program.inputs] == ["left", "right"]
    left, right = torch.randn(5, 3), torch.randn(5, 3)
    difference, product = program.module()(left, right)
    assert torch.equal(difference, left - right)
    assert torch.equal(product, left * right)


def test_the_module_is_not_changed() -> None:
    model = Mixed()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    capture(model, (image(2),))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_graph_that_fixes_the_batch_is_captured_at_that_batch() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(2, -1)

    program = capture(Fixed(), (torch.randn(2, 3, 4),))
    assert not program.inputs[0].dynamic
    assert program.module()(torch.ones(2, 3, 4)).shape == (2, 12)


def test_control_flow_on_values_is_one_error_that_says_what_to_do() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 1 if x.sum() > 0 else x

    with pytest.raises(UnsupportedError, match=r"(?s)cannot capture Branching.*what to do: remove control flow"):
        capture(Branching(), (torch.randn(2, 3),))


def test_an_operation_outside_the_tables_is_kept_to_be_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.lgamma(x)

    assert operations(capture(Odd(), (torch.randn(2, 3),))) == ["aten.lgamma.default"]


def test_settings_are_kept_and_folding_twice_changes_nothing() -> None:
    program = capture(Functional(), (image(2),), settings={"source": "here"})
    assert program.settings == {"source": "here"}
    assert text(folded(program)) == text(program)


@pytest.mark.parametrize("bound", [torch.finfo(torch.float32).min, -torch.inf])
def test_a_maximum_with_the_lowest_number_goes(bound: float) -> None:
    class Kept(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.max(torch.max(x, torch.tensor(bound)), x.flip(1))

    program = capture(Kept(), (torch.randn(2, 3),))
    assert operations(program) == ["aten.flip.default", "aten.max.other"]
    x = torch.randn(4, 3)
    assert torch.equal(program.module()(x), torch.maximum(x, x.flip(1)))


def test_a_maximum_with_any_other_number_stays() -> None:
    class Clipped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.maximum(torch.tensor(-2.0), x)

    assert operations(capture(Clipped(), (torch.randn(2, 3),))) == ["aten.maximum.default"]
