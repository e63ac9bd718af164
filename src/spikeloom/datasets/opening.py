"""
From an address to splits: one table of schemes, one of known names.

A known name is looked up in `data_root/<name>`, then on the hub. Any other bare name is a folder in `data_root`.
"""

from collections.abc import Callable
from pathlib import Path

from spikeloom.datasets.address import FORMS, Address
from spikeloom.datasets.digits import open_digits
from spikeloom.datasets.hub import open_hub, open_saved
from spikeloom.datasets.idx import find_idx, open_idx
from spikeloom.datasets.imagefolder import open_imagefolder
from spikeloom.datasets.npz import open_npz
from spikeloom.datasets.parquet import find_parquet, open_parquet
from spikeloom.datasets.prototypes import open_prototypes
from spikeloom.datasets.source import Splits
from spikeloom.errors import DataError, ResourceError

KNOWN: dict[str, str | None] = {
    "cifar10": "uoft-cs/cifar10",
    "mnist": "ylecun/mnist",
    "fashion_mnist": "zalando-datasets/fashion_mnist",
    "imagenet_sample": None,
}
"""The known names and their hub ids; None where the hub does not have it."""


def open_folder(folder: Path) -> Splits:
    """The splits of a folder of any layout we read: parquet, IDX, saved by `datasets`, class folders. DataError where it has none."""
    if not folder.is_dir():
        raise DataError("there is no such data folder", found=folder)
    if find_parquet(folder):
        return open_parquet(folder)
    if find_idx(folder):
        return open_idx(folder)
    if any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")):
        return open_saved(folder)
    return open_imagefolder(folder)


def open_known(name: str, data_root: Path | None) -> Splits:
    """A known name from `data_root/<name>`, else from the hub. One DataError says where it was looked for when neither has it."""
    looked = ["no data root was given"]
    if data_root is not None:
        try:
            return open_folder(data_root / name)
        except DataError as error:
            looked = [f"{data_root / name}: {error.problem}"]
    hub_id = KNOWN[name]
    if hub_id is None:
        looked.append("it is not on the hub")
    else:
        try:
            return open_hub(hub_id)
        except (DataError, ResourceError) as error:
            looked.append(f"hub id {hub_id}: {error.found if isinstance(error, DataError) else error.problem}")
    raise DataError(
        f"the data set {name!r} can be had neither from the data root nor from the Hugging Face hub",
        found="; ".join(looked),
        todo=f"give --data-root DIR, where DIR/{name} holds parquet files, IDX files or class folders; or use the built-in set: digits",
    )


def _open_hf(place: str) -> Splits:
    folder = Path(place).expanduser()
    return open_folder(folder) if folder.is_dir() or place.startswith(("/", ".", "~")) else open_hub(place)


def _refuse_text(place: str) -> Splits:
    raise DataError("a text holds no pictures", found=f"text:{place}", todo="give a model that reads texts, or a data set of pictures")


def _refuse_env(place: str) -> Splits:
    todo = "give a policy (sb3:<zip>, policy:<folder>), or a data set of pictures"
    raise DataError("an environment holds observations, for policies alone", found=f"env:{place}", todo=todo)


OPENERS: dict[str, Callable[[str], Splits]] = {
    "hf": _open_hf,
    "imagefolder": lambda place: open_imagefolder(Path(place).expanduser()),
    "idx": lambda place: open_idx(Path(place).expanduser()),
    "npz": lambda place: open_npz(Path(place).expanduser()),
    "prototypes": open_prototypes,
    "text": _refuse_text,
    "env": _refuse_env,
}

BUILT_IN: dict[str, Callable[[], Splits]] = {"digits": open_digits, "prototypes": open_prototypes}
"""The names of what needs no file."""


def open_address(address: Address, data_root: Path | None) -> Splits:
    """The splits an address leads to. DataError says what was looked for, and where, when it leads nowhere."""
    if address.scheme:
        return OPENERS[address.scheme](address.place)
    if address.place in BUILT_IN:
        return BUILT_IN[address.place]()
    if address.place in KNOWN:
        return open_known(address.place, data_root)
    if data_root is not None and (data_root / address.place).is_dir():
        return open_folder(data_root / address.place)
    where = "" if data_root is None else f", nor is it a folder in {data_root}"
    raise DataError(f"there is no data set called {address.place!r}{where}", found=address.text, allowed=FORMS)
