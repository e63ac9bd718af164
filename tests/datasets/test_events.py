"""Files of events: what is written is read back; broken ones are named."""

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from spikeloom.datasets import events
from spikeloom.datasets.events import ADDRESS, CAMERA, frames, read_events, write_events
from spikeloom.errors import DataError, ResourceError


def camera(count: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    made = np.zeros(count, CAMERA)
    made["t_us"] = np.sort(rng.integers(1, 10**6, count))
    made["x"], made["y"], made["p"] = rng.integers(0, 34, count), rng.integers(0, 20, count), rng.integers(0, 2, count)
    return made


def spikes() -> np.ndarray:
    return np.array([(0, 0, 5, 1), (0, 1, 3, 2), (4, 1, 3, -1)], ADDRESS)


@pytest.mark.parametrize("name", ["a.npz", "a.csv", "a.aedat4"])
def test_camera_events_come_back(tmp_path: Path, name: str) -> None:
    if name.endswith("aedat4"):
        pytest.importorskip("dv_processing", reason="needs dv-processing (extra events)")
    write_events(tmp_path / name, camera())
    found = read_events(tmp_path / name)
    assert len(found) == 1
    assert (found.recording(0) == camera()).all()


@pytest.mark.parametrize("name", ["a.npz", "a.csv"])
def test_spikes_come_back(tmp_path: Path, name: str) -> None:
    write_events(tmp_path / name, spikes())
    assert (read_events(tmp_path / name).recording(0) == spikes()).all()
    write_events(tmp_path / name, spikes()[:0])
    assert len(read_events(tmp_path / name).recording(0)) == 0


def test_recordings_behind_one_another(tmp_path: Path) -> None:
    events = camera()
    columns = {name: events[name] for name in CAMERA.names or ()}
    np.savez(tmp_path / "many.npz", **columns, offsets=[0, 50, 200], label=[3, 7])
    found = read_events(tmp_path / "many.npz")
    assert (len(found), list(found.labels if found.labels is not None else [])) == (2, [3, 7])
    assert (found.recording(1) == events[50:]).all()
    with pytest.raises(DataError, match="no recording"):
        found.recording(2)


def test_frames_count_every_event() -> None:
    events = camera()
    whole = frames(events, (20, 34))
    assert whole.shape == (1, 2, 20, 34)
    assert whole.sum() == len(events)
    assert (frames(events, (20, 34), 5).sum(0) == whole[0]).all()
    first = frames(events, (20, 34), 2, 1000)
    early = events[events["t_us"] - events["t_us"][0] < 2000]
    assert first.sum() == len(early)
    assert whole[0, events["p"][0], events["y"][0], events["x"][0]] >= 1
    with pytest.raises(DataError, match="outside of the picture"):
        frames(events, (10, 34))
    events["x"][3] = -1
    with pytest.raises(DataError, match="event 3 has x -1"):
        frames(events, (20, 34))


BAD = [
    ("missing.npz", None, "no such file"),
    ("form.txt", b"0", "such a file"),
    ("cut.npz", b"PK\x03\x04half", "cannot be read"),
    ("words.csv", b"t_us,x,y,p\n1,2,three,0\n", "cannot be read"),
    ("short.csv", b"t_us,x,y,p\n1,2\n", "cannot be read"),
    ("empty.csv", b"", "cannot be read"),
    ("names.csv", b"a,b\n1,2\n", "holds no events"),
    ("order.csv", b"t_us,x,y,p\n5,0,0,0\n4,0,0,0\n", "out of order"),
    ("wraps.csv", b"t_us,x,y,p\n%d,0,0,0\n%d,0,0,0\n" % (2**63 - 1, -(2**63)), "out of order"),
    ("long.csv", b"t_us,x,y,p\n12345678901234567890123,0,0,0\n", "12345678901234567890123 passes 64 bits"),
    ("field.csv", b"t_us,x,y,p\n" + b"1" * 200_000 + b",0,0,0\n", "cannot be read"),
    ("ragged.csv", b"t_us,x,y,p\n1,2,3,0\n1,2\n", "cannot be read"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD, ids=[name for name, _, _ in BAD])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem):
        read_events(tmp_path / name)


def columns(count: int = 10) -> dict[str, np.ndarray]:
    return {name: camera(count)[name] for name in CAMERA.names or ()}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_one_error(tmp_path: Path, save: Callable[..., None]) -> None:
    """Bytes overwritten one place after the other: zipfile, zlib and numpy each see some of it, in their own way."""
    save(tmp_path / "whole.npz", **columns())
    whole = (tmp_path / "whole.npz").read_bytes()
    for place in range(0, len(whole), 7):
        (tmp_path / "a.npz").write_bytes(whole[:place] + b"\xff'(\x00" + whole[place + 4 :])
        with contextlib.suppress(DataError):  # some places mean nothing
            read_events(tmp_path / "a.npz")


SPOILED: list[tuple[str, dict[str, object], str]] = [
    ("offsets past the end", {"offsets": [0, 11]}, "offsets"),
    ("offsets that are empty", {"offsets": np.zeros(0, np.int64)}, "offsets"),
    ("offsets of words", {"offsets": ["0", "10"]}, "offsets"),
    ("columns of two dimensions", {"x": np.zeros((10, 1), np.int64)}, "column x"),
    ("columns of none", {"x": np.int64(3)}, "column x"),
    ("columns of words", {"x": ["a"] * 10}, "column x"),
    ("columns of other lengths", {"x": np.zeros(9, np.int64)}, "equally long"),
    ("labels of words", {"label": ["three"]}, "column label"),
    ("labels for some", {"offsets": [0, 4, 10], "labels": [3]}, "labels"),
    ("a place past 32 bits", {"x": np.arange(10) + (1 << 32)}, "column x"),
    ("a place before 32 bits", {"x": np.arange(10) - (1 << 32)}, "column x"),
    ("times past 63 bits", {"t_us": np.arange(10, dtype=np.uint64) + np.uint64(1 << 63)}, "column t_us"),
]


@pytest.mark.parametrize(("what", "parts", "problem"), SPOILED, ids=[what for what, _, _ in SPOILED])
def test_what_an_archive_holds_must_fit(tmp_path: Path, what: str, parts: dict[str, Any], problem: str) -> None:
    np.savez(tmp_path / "a.npz", **(columns() | parts))
    with pytest.raises(DataError, match=problem):
        read_events(tmp_path / "a.npz")


def test_an_index_that_would_wrap_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"time,population,index,level\n0,0,{(1 << 32) + 5},1\n")
    with pytest.raises(DataError, match="column index"):
        read_events(tmp_path / "a.csv")


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.CSV"
    write_events(path, spikes())

    def full(path: Path, _: np.ndarray) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(cast(dict[str, Any], events.WRITERS), ".csv", full)
    with pytest.raises(ResourceError, match="free some disk space"):
        write_events(path, spikes()[:1])
    assert (read_events(path).recording(0) == spikes()).all()
    write_events(tmp_path / "s.NPZ", spikes())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["s.CSV", "s.NPZ"]


def test_unwritable_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot write"):
        write_events(tmp_path / "no" / "a.csv", camera())
    with pytest.raises(DataError, match="such a file"):
        write_events(tmp_path / "a.txt", camera())
    with pytest.raises(DataError, match="camera"):
        write_events(tmp_path / "a.aedat4", spikes())


def test_nmnist_is_read(shared: Callable[[str], Path]) -> None:
    found = read_events(shared("nmnist_small") / "test.npz")
    assert len(found) == 100
    assert frames(found.recording(0), (34, 34)).sum() == len(found.recording(0))
