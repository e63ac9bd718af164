"""Data addresses."""

import pytest

from spikeloom.datasets import parse_address
from spikeloom.errors import DataError


@pytest.mark.parametrize(
    ("text", "scheme", "place", "split", "rows"),
    [
        ("digits", "", "digits", None, None),
        ("cifar10[:1000]", "", "cifar10", None, slice(None, 1000, None)),
        ("mnist[50000:]", "", "mnist", None, slice(50000, None, None)),
        ("mnist[-100:]", "", "mnist", None, slice(-100, None, None)),
        ("mnist[::10]", "", "mnist", None, slice(None, None, 10)),
        ("mnist[ 1 : 20 : 3 ]", "", "mnist", None, slice(1, 20, 3)),
        ("cifar10@test", "", "cifar10", "test", None),
        ("hf:/folder@dev[100:500]", "hf", "/folder", "dev", slice(100, 500, None)),
        ("hf:uoft-cs/cifar10", "hf", "uoft-cs/cifar10", None, None),
        ("idx:/a@b/mnist[:5]", "idx", "/a@b/mnist", None, slice(None, 5, None)),
        ("npz:C:/x.npz", "npz", "C:/x.npz", None, None),
        (" imagefolder:./a b ", "imagefolder", "./a b", None, None),
    ],
)
def test_parts(text: str, scheme: str, place: str, split: str | None, rows: slice | None) -> None:
    address = parse_address(text)
    assert (address.scheme, address.place, address.split, address.rows) == (scheme, place, split, rows)


@pytest.mark.parametrize("rows", ["3", "", "a:b", "1:2:0", "1:2:3:4", "1.5:"])
def test_rows_that_are_no_slice(rows: str) -> None:
    with pytest.raises(DataError, match="slice"):
        parse_address(f"mnist[{rows}]")


def test_unknown_scheme_and_nothing() -> None:
    with pytest.raises(DataError, match="unknown scheme"):
        parse_address("ftp:thing")
    with pytest.raises(DataError, match="empty"):
        parse_address("  ")


def test_name_leaves_out_split_and_rows() -> None:
    assert parse_address("hf:/folder@dev[1:2]").name == "hf:/folder"
    assert parse_address("digits[1:2]").name == "digits"
