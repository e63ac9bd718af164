"""Loading by address: every scheme on small files written here, splits, ranges, samples, and what is said when nothing is there."""

import gzip
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from spikeloom.datasets import KNOWN, Dataset, Preprocessing, load, plain
from spikeloom.datasets import hub as hub_module
from spikeloom.datasets.dataset import KEPT_SIDE
from spikeloom.errors import DataError, ResourceError

FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def write_parquet(path: Path, pictures: Any, labels: list[Any], features: dict[str, Any] | None = FEATURES, rows: int = 3) -> None:
    table = pa.table({"image": [{"bytes": png(picture), "path": None} for picture in pictures], "label": labels})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)


def write_idx(path: Path, array: Any) -> None:
    data = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_npz(path: Path, **arrays: Any) -> str:
    np.savez(path, **arrays)
    return f"npz:{path}"


# --- digits -----------------------------------------------------------------------------------------------------------------


def test_digits_is_built_in_and_split_without_overlap() -> None:
    train, test = load("digits", "train"), load("digits", "test")
    assert (len(train), len(test)) == (1442, 355)
    assert train.classes == test.classes == [str(digit) for digit in range(10)]
    assert (train.name, train.split, train.note, train.num_classes) == ("digits", "train", "", 10)
    shares = np.bincount(test.labels) / np.bincount(np.concatenate([train.labels, test.labels]))
    assert shares.min() > 0.18
    assert shares.max() < 0.21
    x, y = train[0]
    assert x.shape == (1, 8, 8)
    assert (y, round(float(x.max()) * 16)) == (0, 15)
    seen = {x.numpy().tobytes() for x, _ in (train[index] for index in range(len(train)))}
    assert not any(test[index][0].numpy().tobytes() in seen for index in range(len(test)))


def test_calibration_is_a_seeded_sample_of_training_pictures() -> None:
    train = load("digits", "train")
    first, same, other = (load("digits", "calibration", limit=100, seed=seed) for seed in (0, 0, 1))
    assert first.split == "train"
    np.testing.assert_array_equal(first.rows, same.rows)
    assert set(first.rows) <= set(train.rows)
    assert len(set(first.rows)) == 100
    assert list(first.rows) != sorted(first.rows)
    assert list(first.rows) != list(other.rows)
    further = load("digits", "calibration", limit=100, offset=100)
    assert not set(first.rows) & set(further.rows)


def test_limit_and_offset_keep_the_order() -> None:
    whole, part = load("digits", "test"), load("digits", "test", limit=5, offset=7)
    np.testing.assert_array_equal(part.rows, whole.rows[7:12])
    for limit, offset in ((0, 0), (None, -1)):
        with pytest.raises(DataError, match="cannot be taken"):
            load("digits", "test", limit=limit, offset=offset)
    with pytest.raises(DataError, match="no samples"):
        load("digits", "test", offset=355)


def test_rows_and_split_in_the_address() -> None:
    np.testing.assert_array_equal(load("digits[10:20]", "test").rows, np.arange(10, 20))
    np.testing.assert_array_equal(load("digits[-3:]", "train").rows, np.arange(1439, 1442))
    named = load("digits@train[::100]", "test")
    assert (named.split, len(named)) == ("train", 15)
    assert named.note == "rows [::100] of split 'train', as the address says"
    assert sorted(load("digits[:50]", "calibration").rows) == list(range(50))
    with pytest.raises(DataError, match=r"no split 'dev'\n  found: train, test"):
        load("digits@dev", "test")
    with pytest.raises(DataError, match="no samples"):
        load("digits[5:5]", "test")


# --- parquet ----------------------------------------------------------------------------------------------------------------


def test_parquet_folder_loads_without_network_over_files_and_row_groups(tmp_path: Path) -> None:
    pictures = noise(10, 5, 4, 3)
    write_parquet(tmp_path / "train-00000-of-00002.parquet", pictures[:7], [0, 1, 0, 1, 0, 1, 1])
    write_parquet(tmp_path / "train-00001-of-00002.parquet", pictures[7:], [0, 0, 1])
    write_parquet(tmp_path / "test-00000-of-00001.parquet", pictures[:2], [1, 1])
    train = load(f"hf:{tmp_path}", "train")
    assert (len(train), train.classes, train.num_classes) == (10, ["cat", "dog"], 2)
    order = [9, 0, 6, 7, 3]
    x, y = train.gather(order)
    assert torch.equal(x, torch.stack([plain(3).apply(pictures[index]) for index in order]))
    assert y.tolist() == [1, 0, 1, 0, 1]
    assert load(f"hf:{tmp_path}", "test").labels.tolist() == [1, 1]


def test_parquet_keeps_bounded_bytes_of_undecoded_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeloom.datasets import parquet

    write_parquet(tmp_path / "train-0.parquet", noise(9, 70, 70, 3), [0] * 9)
    monkeypatch.setattr(parquet, "HELD_BYTES", 50_000)  # one group of three pictures, not two
    dataset = load(f"hf:{tmp_path}@train", "test")
    source = dataset.source
    assert isinstance(source, parquet.ParquetSource)
    for index in (0, 4, 8, 1):
        assert torch.equal(dataset[index][0], plain(3).apply(noise(9, 70, 70, 3)[index]))
        assert list(source.held) == [index // 3]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("dev500-00000-of-00001.parquet", "dev"),
        ("Test.parquet", "test"),
        ("data/validation-00000.parquet", "validation"),
        ("val/0000.parquet", "val"),
    ],
)
def test_split_is_read_from_the_file_or_folder_name(tmp_path: Path, name: str, split: str) -> None:
    write_parquet(tmp_path / name, noise(10, 4, 4), [0, 1] * 5)
    assert load(f"hf:{tmp_path}@{split}", "test").split == split


def test_a_set_of_one_split_is_parted_and_says_so(tmp_path: Path) -> None:
    write_parquet(tmp_path / "dev10-0.parquet", noise(10, 4, 4), list(range(10)), features=None)
    address = f"hf:{tmp_path}"
    calibration, train, test = (load(address, part) for part in ("calibration", "train", "test"))
    assert sorted(calibration.labels) == sorted(train.labels) == [0, 1]
    assert test.labels.tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert test.note == "the only split is 'dev' (10 pictures): its first 2 serve for training and calibration, the rest for testing"
    assert load(f"{address}[:]", "test").labels.tolist() == list(range(10))
    assert len(load(f"{address}@dev", "test")) == 10


def test_validation_serves_where_there_is_no_other(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", noise(4, 4, 4), [0] * 4)
    write_parquet(tmp_path / "validation-0.parquet", noise(4, 4, 4), [1] * 4)
    test = load(f"hf:{tmp_path}", "test")
    assert (test.split, test.note) == ("validation", "split 'validation' serves as test: there is no other")
    write_parquet(tmp_path / "test-0.parquet", noise(4, 4, 4), [0] * 4)
    assert load(f"hf:{tmp_path}", "test").split == "test"


def test_parquet_without_pictures_labels_or_sense(tmp_path: Path) -> None:
    pq.write_table(pa.table({"audio": [b"x"], "label": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=r"no column of pictures\n  found: audio: binary, label: int64"):
        load(f"hf:{tmp_path}", "train")
    pq.write_table(pa.table({"image": [b"x"], "name": ["a"]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match="no column of labels"):
        load(f"hf:{tmp_path}", "train")
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="not a parquet file"):
        load(f"hf:{tmp_path}", "train")
    pq.write_table(pa.table({"image": [b"no picture"], "label": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match=r"picture 0 of .*train-0.parquet cannot be decoded"):
        load(f"hf:{tmp_path}", "train")
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "x.png"}], "label": [0]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match="holds no bytes"):
        load(f"hf:{tmp_path}", "train")
    pq.write_table(pa.table({"image": [b"x"], "label": ["cat"]}), tmp_path / "train-0.parquet")
    with pytest.raises(DataError, match="not whole numbers"):
        load(f"hf:{tmp_path}", "train")


def test_hidden_labels_are_minus_one(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test-0.parquet", noise(2, 4, 4), [None, 1])
    assert load(f"hf:{tmp_path}@test", "test").labels.tolist() == [-1, 1]


# --- IDX --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(tmp_path: Path, suffix: str) -> None:
    pictures, labels = noise(20, 6, 5), np.arange(20, dtype=np.uint8) % 10
    for split, rows in (("train", slice(15)), ("t10k", slice(15, None))):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte{suffix}", pictures[rows])
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte{suffix}", labels[rows])
    train, test = load(f"idx:{tmp_path}", "train"), load(f"idx:{tmp_path}", "test")
    assert (len(train), len(test), test.split, test.note) == (15, 5, "t10k", "")
    assert test[0][1] == 5
    assert torch.equal(test[0][0], plain(1).apply(pictures[15]))


def test_idx_that_is_broken(tmp_path: Path) -> None:
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte.gz"
    write_idx(images, noise(4, 3, 3))
    with pytest.raises(DataError, match=r"labels of .* are missing"):
        load(f"idx:{tmp_path}", "train")
    write_idx(labels, np.zeros(3, np.uint8))
    with pytest.raises(DataError, match="not one label per picture"):
        load(f"idx:{tmp_path}", "train")
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        load(f"idx:{tmp_path}", "train")
    write_idx(labels, np.zeros(4, np.uint8))
    for data, problem in (
        (images.read_bytes()[:-1], "truncated"),
        (b"\x00\x00\x0d\x03" + b"\x00" * 12, "not an IDX file"),
        (b"", "not an IDX file"),
    ):
        images.write_bytes(data)
        with pytest.raises(DataError, match=problem):
            load(f"idx:{tmp_path}", "train")
    write_idx(images, noise(4, 3))
    with pytest.raises(DataError, match="does not hold pictures"):
        load(f"idx:{tmp_path}", "train")
    with pytest.raises(DataError, match="holds no IDX pictures"):
        load(f"idx:{tmp_path.parent}", "train")
    with pytest.raises(DataError, match="no such folder"):
        load(f"idx:{tmp_path}/none", "train")


# --- npz --------------------------------------------------------------------------------------------------------------------


def test_npz_of_one_split_and_of_named_ones(tmp_path: Path) -> None:
    x, y = noise(10, 4, 4), np.arange(10)
    one = write_npz(tmp_path / "one.npz", x=x, y=y)
    assert load(one, "test").labels.tolist() == list(range(2, 10))
    two = write_npz(tmp_path / "two.npz", x_train=x, y_train=y[:, None], x_test=x[:3], y_test=y[:3].astype(np.float32))
    train, test = load(two, "train"), load(two, "test")
    assert (len(train), len(test), train.num_classes) == (10, 3, 10)
    assert train[1][0].shape == (1, 4, 4)


def test_npz_of_floats_stays_as_it_is_unless_preprocessed(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 1, 49, 10))
    address = write_npz(tmp_path / "sound.npz", x=x, y=np.zeros(6, int))
    found, _ = load(f"{address}[:]", "test").gather([0, 5])
    assert torch.equal(found, torch.from_numpy(x[[0, 5]]).float())
    doubled, _ = load(f"{address}[:]", "test", Preprocessing(None, (0.0,), (0.5,), scale=1.0, channels=1)).gather([0, 5])
    assert torch.allclose(doubled, 2 * found)


def test_npz_that_is_broken_or_pickled(tmp_path: Path) -> None:
    x, y = noise(4, 3, 3), np.zeros(4, int)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"x": x}, "lacks arrays\n  found: x"),
        ({"y": y}, "lacks arrays"),
        ({"x": x, "y": np.zeros(3, int)}, "not one label per picture"),
        ({"x": x, "y": np.eye(4)}, "not one label per picture"),
        ({"x": x, "y": y + 0.5}, "not whole numbers"),
        ({"x": y, "y": y}, "holds no samples"),
        ({"x": np.array([{}, {}, {}, {}], dtype=object), "y": y}, "not pickled"),
    ]
    for arrays, problem in cases:
        with pytest.raises(DataError, match=problem):
            load(write_npz(tmp_path / "x.npz", **arrays), "test")
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(DataError, match="not an npz archive"):
        load(f"npz:{tmp_path}/x.npz", "test")
    write_npz(tmp_path / "x.npz", x=x, y=y)
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npz").read_bytes().replace(b"'shape'", b"((((((("))
    with pytest.raises(DataError, match="cannot be read"):
        load(f"npz:{tmp_path}/x.npz", "test")
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(DataError, match="not an npz archive"):
        load(f"npz:{tmp_path}/x.npy", "test")
    with pytest.raises(DataError, match="no such npz file"):
        load(f"npz:{tmp_path}/none.npz", "test")


# --- class folders ------------------------------------------------------------------------------------------------------------


def write_picture(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels))


def test_imagefolder_with_and_without_splits(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 2)):
        for label, name in enumerate(("bird", "ant")):
            for number in range(count):
                write_picture(tmp_path / "split" / split / name / f"{number}.png", noise(4, 4, seed=label))
                write_picture(tmp_path / "flat" / name / f"{split}{number}.PNG", noise(4, 4, seed=label))
    train, test = (load(f"imagefolder:{tmp_path}/split", part) for part in ("train", "test"))
    assert (train.classes, train.labels.tolist(), test.labels.tolist()) == (["ant", "bird"], [0, 0, 0, 1, 1, 1], [0, 0, 1, 1])
    assert torch.equal(test[0][0], plain(1).apply(noise(4, 4, seed=1)))
    flat = load(f"imagefolder:{tmp_path}/flat[:]", "test")
    assert (len(flat), flat.num_classes) == (10, 2)


def test_imagefolder_that_is_empty_or_holds_a_broken_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no class folders with pictures\n  found: an empty folder"):
        load(f"imagefolder:{tmp_path}", "test")
    write_picture(tmp_path / "a" / "1.png", noise(4, 4))
    (tmp_path / "a" / "2.png").write_bytes(png(noise(4, 4))[:-30])
    dataset = load(f"imagefolder:{tmp_path}[:]", "test")
    with pytest.raises(DataError, match=r"2\.png cannot be decoded"):
        dataset.gather([0, 1])
    with pytest.raises(DataError, match="no such folder"):
        load(f"imagefolder:{tmp_path}/none", "test")


# --- known names, data root, hub ----------------------------------------------------------------------------------------------


def test_known_name_comes_from_the_data_root_in_any_layout(tmp_path: Path) -> None:
    write_parquet(tmp_path / "cifar10" / "test-0.parquet", noise(4, 4, 4, 3), [0, 1, 0, 1])
    write_idx(tmp_path / "mnist" / "train-images-idx3-ubyte.gz", noise(10, 4, 4))
    write_idx(tmp_path / "mnist" / "train-labels-idx1-ubyte.gz", np.zeros(10, np.uint8))
    write_picture(tmp_path / "own" / "test" / "a" / "1.png", noise(4, 4))
    assert len(load("cifar10@test", "test", data_root=tmp_path)) == 4
    assert len(load("mnist", "test", data_root=tmp_path)) == 8
    assert len(load("own@test", "test", data_root=tmp_path)) == 1


@pytest.mark.parametrize("name", list(KNOWN))
def test_known_name_that_is_nowhere_is_one_error_that_says_where(tmp_path: Path, name: str) -> None:
    for root, where in ((tmp_path, f"{tmp_path / name}: there is no such data folder"), (None, "no data root was given")):
        with pytest.raises(DataError) as caught:
            load(name, "test", data_root=root)
        message = str(caught.value)
        assert f"data set {name!r} can be had neither from the data root nor" in message
        assert where in message
        assert (KNOWN[name] or "not on the hub") in message
        assert "--data-root" in message
        assert "digits" in message


def test_known_folder_that_holds_nothing_goes_on_to_the_hub(tmp_path: Path) -> None:
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(DataError, match=r"cifar10: .*holds no class folders.*; hub id uoft-cs/cifar10"):
        load("cifar10", "test", data_root=tmp_path)


def test_unknown_names_and_missing_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set called 'cifar11'"):
        load("cifar11", "test")
    with pytest.raises(DataError, match=f"nor is it a folder in {tmp_path}"):
        load("cifar11", "test", data_root=tmp_path)
    with pytest.raises(DataError, match="no such data folder"):
        load(f"hf:{tmp_path}/none", "test")


def test_hub_id_offline_is_a_data_error() -> None:
    with pytest.raises(DataError, match=r"'nobody/nothing' cannot be had from the Hugging Face hub"):
        load("hf:nobody/nothing", "test")


def test_hub_data_set_reads_through_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import datasets

    pictures = noise(6, 4, 4, 3)
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"img": [Image.fromarray(picture) for picture in pictures], "label": [0, 1, 0, 1, 0, None]}
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows, features=features)})
    whole["test"] = whole["train"].select([5, 1])
    monkeypatch.setattr(hub_module, "unreachable", lambda endpoint: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: whole)
    train, test = load("hf:some/pictures", "train"), load("hf:some/pictures", "test")
    assert (len(train), train.classes, test.labels.tolist()) == (6, ["cat", "dog"], [-1, 1])
    assert torch.equal(test.gather([1])[0][0], plain(3).apply(pictures[1]))
    whole.save_to_disk(str(tmp_path / "saved"))
    assert load(f"hf:{tmp_path}/saved", "train").labels.tolist() == [0, 1, 0, 1, 0, -1]


def test_without_the_libraries_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", noise(2, 4, 4), [0, 1])
    for library, address in (("datasets", "hf:some/pictures"), ("pyarrow.parquet", f"hf:{tmp_path}")):
        monkeypatch.setitem(__import__("sys").modules, library, None)
        with pytest.raises(ResourceError, match=r"spikeloom\[data\]"):
            load(address, "train")
    with pytest.raises(DataError, match="hub id zalando-datasets/fashion_mnist: this data set needs the library 'datasets'"):
        load("fashion_mnist", "test")


def test_full_disk_while_fetching_is_a_resource_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    import datasets

    def full(name: str, configuration: str | None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hub_module, "unreachable", lambda endpoint: None)
    monkeypatch.setattr(datasets, "load_dataset", full)
    with pytest.raises(ResourceError, match="disk is full"):
        load("hf:some/pictures", "test")


def test_unreachable_asks_the_name_server_unless_a_proxy_stands_between(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub_module.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(hub_module, "getproxies", dict)
    assert hub_module.unreachable("https://huggingface.co") == "no network: huggingface.co: Name or service not known"
    monkeypatch.setattr(hub_module, "getproxies", lambda: {"https": "http://proxy"})
    assert hub_module.unreachable("https://huggingface.co") is None


# --- the data set itself ------------------------------------------------------------------------------------------------------


def test_small_pictures_are_decoded_once_and_large_ones_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeloom.datasets import imagefolder

    calls: list[str] = []
    decode = imagefolder.decode_picture
    monkeypatch.setattr(imagefolder, "decode_picture", lambda data, where: calls.append(where) or decode(data, where))
    for side, decodings in ((KEPT_SIDE, 1), (KEPT_SIDE + 1, 2)):
        write_picture(tmp_path / str(side) / "a" / "1.png", noise(side, side))
        dataset = load(f"imagefolder:{tmp_path}/{side}[:]", "test", plain(1))
        calls.clear()
        assert torch.equal(dataset[0][0], dataset.gather([0])[0][0])
        assert len(calls) == decodings


def test_indexing_and_gathering_agree_and_end() -> None:
    dataset = load("digits", "test", Preprocessing((8, 8), (0.3,), (0.2,), channels=1))
    x, y = dataset.gather(torch.tensor([3, 0]))
    assert torch.equal(x[0], dataset[3][0])
    assert int(y[0]) == dataset[3][1]
    assert torch.equal(dataset[-1][0], dataset[354][0])
    for index in (355, -356):
        with pytest.raises(IndexError, match="355 samples"):
            dataset[index]


def test_pictures_of_several_sizes_ask_for_a_size(tmp_path: Path) -> None:
    write_picture(tmp_path / "a" / "1.png", noise(4, 4))
    write_picture(tmp_path / "a" / "2.png", noise(4, 5))
    with pytest.raises(DataError, match=r"differ in size\n(.*\n)*.*preprocessing.size"):
        load(f"imagefolder:{tmp_path}[:]", "test").gather([0, 1])
    sized = load(f"imagefolder:{tmp_path}[:]", "test", Preprocessing((4, 4), (0.0,), (1.0,), channels=1))
    assert sized.gather([0, 1])[0].shape == (2, 1, 4, 4)


def test_works_in_a_torch_loader_with_workers() -> None:
    dataset = load("digits", "test", limit=8)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, num_workers=1)
    x = torch.cat([x for x, _ in loader])
    assert torch.equal(x, dataset.gather(range(8))[0])


# --- the shared data ----------------------------------------------------------------------------------------------------------


def test_shared_cifar10_opens_by_name(shared: Callable[[str], Path]) -> None:
    root = shared("cifar10").parent
    train, test = load("cifar10", "train", data_root=root), load("cifar10", "test", data_root=root)
    assert (len(train), len(test)) == (50_000, 10_000)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.classes is not None
    assert test.classes[:3] == ["airplane", "automobile", "bird"]
    x, _ = train.gather([0, 49_999])
    assert x.shape == (2, 3, 32, 32)


def test_shared_mnist_and_imagenet_sample_have_one_split(shared: Callable[[str], Path]) -> None:
    root = shared("mnist").parent
    shared("imagenet_sample")
    mnist = load("mnist[50000:]", "test", data_root=root)
    assert (len(mnist), mnist.split) == (10_000, "train")
    calibration, test = (load("imagenet_sample", part, data_root=root) for part in ("calibration", "test"))
    assert (len(calibration), len(test), test.num_classes) == (100, 400, 1000)
    assert set(calibration.rows) == set(range(100))
    assert "only split is 'dev'" in test.note


def test_dataset_is_a_torch_dataset() -> None:
    assert isinstance(load("digits", "test"), torch.utils.data.Dataset)
    assert Dataset.__orig_bases__  # type: ignore[attr-defined]
