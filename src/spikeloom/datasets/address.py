"""
The address of a data set, one form for all.

    [scheme:]place[@split][[start:stop:step]]        cifar10 · digits[:500] · hf:/data/pictures@dev[100:500] · text:/data/book.txt
    hf:<hub id>#<configuration>                      where a data set of the hub has several: hf:Salesforce/wikitext#wikitext-2-v1@train

The rows in brackets are a Python slice of the split's rows.
"""

import re
from dataclasses import dataclass
from typing import final

from spikeloom.errors import DataError

FORMS = (
    "digits, prototypes[:<bits>x<classes>], cifar10, mnist, fashion_mnist, imagenet_sample, "
    "hf:<id[#configuration] or folder>, imagefolder:<folder>, idx:<folder>, npz:<file>, text:<file>, env:<id>"
)
SCHEMES = ("hf", "imagefolder", "idx", "npz", "prototypes", "text", "env")

_ADDRESS = re.compile(
    r"^(?:(?P<scheme>[a-z]+):)?(?P<place>.+?)(?:@(?P<split>[A-Za-z_]\w*))?(?:\[(?P<rows>[^\[\]]*)\])?$",
    re.DOTALL,
)
_ROWS = re.compile(r"^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(-?\d+)?\s*)?$")


@final
@dataclass(frozen=True)
class Address:
    """A parsed address; `scheme` is "" for a bare name; `split` and `rows` are None where the address leaves them open."""

    text: str
    scheme: str
    place: str
    split: str | None
    rows: slice | None

    @property
    def name(self) -> str:
        """The address without split and rows."""
        return f"{self.scheme}:{self.place}" if self.scheme else self.place


def parse_rows(text: str, address: str) -> slice:
    """The slice that `start:stop:step` says. DataError where it says none."""
    match = _ROWS.match(text)
    if match is None or (match[3] is not None and int(match[3]) == 0):
        raise DataError(
            f"the rows in the data address {address!r} cannot be read",
            found=f"[{text}]",
            allowed="a Python slice such as [:1000], [50000:] or [::10]",
        )
    return slice(*(None if part is None else int(part) for part in match.groups()))


def parse_address(text: str) -> Address:
    """The parts of a data address. DataError where the form or the scheme is none of ours."""
    match = _ADDRESS.match(text.strip())
    if match is None:
        raise DataError("the data address is empty or cannot be read", found=repr(text), allowed=FORMS)
    scheme = match["scheme"] or ""
    if scheme and scheme not in SCHEMES:
        raise DataError(f"the data address {text!r} has an unknown scheme", found=f"{scheme}:", allowed=FORMS)
    rows = None if match["rows"] is None else parse_rows(match["rows"], text)
    return Address(text, scheme, match["place"], match["split"], rows)
