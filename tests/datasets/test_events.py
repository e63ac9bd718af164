"""Files of events: what is written is read back; broken ones are named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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


BAD = [
    ("missing.npz", None, "no such file"),
    ("form.txt", b"0", "such a file"),
    ("cut.npz", b"PK\x03\x04half", "cannot be read"),
    ("words.csv", b"t_us,x,y,p\n1,2,three,0\n", "cannot be read"),
    ("short.csv", b"t_us,x,y,p\n1,2\n", "cannot be read"),
    ("empty.csv", b"", "cannot be read"),
    ("names.csv", b"a,b\n1,2\n", "holds no events"),
    ("order.csv", b"t_us,x,y,p\n5,0,0,0\n4,0,0,0\n", "out of order"),
]


@pytest.mark.parametrize(("name", "content", "problem"), BAD, ids=[name for name, _, _ in BAD])
def test_a_broken_file_is_named(tmp_path: Path, name: str, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=problem):
        read_events(tmp_path / name)


def test_offsets_must_fit(tmp_path: Path) -> None:
    events = camera(10)
    np.savez(tmp_path / "a.npz", **{name: events[name] for name in CAMERA.names or ()}, offsets=[0, 11])
    with pytest.raises(DataError, match="offsets"):
        read_events(tmp_path / "a.npz")


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
