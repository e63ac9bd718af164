"""The text form: one line a value, constants by @name, and the shape each operation gives."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikeloom.capture import capture
from spikeloom.ir import text
from spikeloom.ir.text import spec_text, tensor_text, value_text


class TwoInputs(nn.Module):
    """Two inputs of other dtypes, a list and a keyword argument, outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, bias=False)

    def forward(self, x: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        y = torch.cat([self.linear(x), lengths.to(torch.float32)], dim=1)
        return {"z": F.gelu(y, approximate="tanh"), "y": y}


def test_a_program_with_two_inputs_a_keyword_and_named_outputs_reads_as_text() -> None:
    program = capture(TwoInputs(), (torch.randn(2, 3), torch.zeros(2, 1, dtype=torch.int64)))
    assert text(program) == (
        "program ann\n"
        "%x = input f32[2, 3]\n"
        "%lengths = input i64[2, 1]\n"
        "@linear.weight f32[2, 3]\n"
        "%linear = aten.linear.default(%x, @linear.weight) : f32[2, 2]\n"
        "%_to_copy = aten._to_copy.default(%lengths, dtype=torch.float32) : f32[2, 1]\n"
        "%cat = aten.cat.default([%linear, %_to_copy], 1) : f32[2, 3]\n"
        "%gelu = aten.gelu.default(%cat, approximate='tanh') : f32[2, 3]\n"
        "return {z: %gelu, y: %cat}"
    )


def test_the_text_of_one_network_is_the_same_twice_and_of_another_is_not() -> None:
    x = torch.randn(2, 3)
    one, again, other = (capture(nn.Linear(3, width), (x,)) for width in (4, 4, 5))
    assert text(one) == text(again)
    assert text(one) != text(other)


@pytest.mark.parametrize(
    ("dtype", "short"),
    [
        (torch.float32, "f32[2, 1]"),
        (torch.float64, "f64[2, 1]"),
        (torch.bfloat16, "bf16[2, 1]"),
        (torch.int64, "i64[2, 1]"),
        (torch.bool, "b1[2, 1]"),
        (torch.complex64, "complex64[2, 1]"),
    ],
)
def test_shapes_and_dtypes_are_short(dtype: torch.dtype, short: str) -> None:
    assert tensor_text(torch.zeros(2, 1, dtype=dtype)) == short


def test_values_that_are_no_tensors_read_as_python_writes_them() -> None:
    assert spec_text((), "float16") == "f16[]"
    assert value_text([1, (2.5, None), {"mode": "nearest"}, True]) == "[1, [2.5, None], {mode: 'nearest'}, True]"
