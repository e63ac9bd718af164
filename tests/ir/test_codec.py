"""Arguments as JSON: what is written is read back the same, and a form that is never written is refused."""

import json
import math
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import fx

from spikeloom.errors import ProgramError
from spikeloom.ir.codec import decode, encode

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([torch.float32, torch.bool, torch.strided, torch.contiguous_format, torch.channels_last])
    | st.sampled_from([torch.device("cpu"), torch.device("meta"), torch.device("cuda:1")])
    | st.builds(slice, st.none() | st.integers(), st.none() | st.integers(), st.none() | st.integers())
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


def same(left: Any, right: Any) -> bool:
    """Equal in value and type all the way down; NaN is equal to NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right) or (isinstance(left, float) and math.isnan(left) and math.isnan(right))


@settings(max_examples=60, deadline=None)
@given(VALUES)
@example([math.inf, (-math.inf, {"nan": math.nan})])
def test_what_is_written_as_json_is_read_back_the_same(value: Any) -> None:
    assert same(decode(json.loads(json.dumps(encode(value), allow_nan=False)), {}), value)


def test_a_node_is_written_by_name_and_read_back_as_itself() -> None:
    graph = fx.Graph()
    x = graph.placeholder("x")
    written = encode([x, (x, 1)])
    assert written == [{"%": "x"}, {"tuple": [{"%": "x"}, 1]}]
    found = decode(written, {"x": x})
    assert found[0] is x
    assert found[1] == (x, 1)


@pytest.mark.parametrize("value", [torch.zeros(1), print, {1, 2}, b"bytes", 1j, torch.per_tensor_affine])
def test_a_value_that_no_program_holds_cannot_be_written(value: object) -> None:
    with pytest.raises(ProgramError, match="cannot be written down"):
        encode(value)


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"tuple": [], "dict": {}},
        {"eval": "print()"},
        {"%": "y"},
        {"%": ["x"]},
        {"tuple": "abc"},
        {"tuple": {"a": 1}},
        {"dict": [1]},
        {"slice": [1, 2]},
        {"slice": "abc"},
        {"float": "1.0"},
        {"float": [1.0]},
        {"device": "cuda:__import__"},
        {"device": ["cpu"]},
        {"device": "lpt1"},
        {"dtype": "load"},
        {"dtype": "nn"},
        {"dtype": ["float32"]},
        {"layout": "float32"},
        {"memory_format": "__class__"},
    ],
    ids=json.dumps,
)
def test_a_form_that_is_never_written_is_refused(written: Any) -> None:
    with pytest.raises(ProgramError, match=r"a form no program has|does not exist yet"):
        decode([{"dict": {"inside": written}}], {"x": fx.Graph().placeholder("x")})
