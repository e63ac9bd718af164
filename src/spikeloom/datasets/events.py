"""
Recordings of events: from a camera (time in microseconds, x, y, polarity), or spikes by address (time in ticks, population, index, level).

    .npz      arrays t_us (or t), x, y, p; or time, population, index, level; several recordings behind one another with `offsets`
    .csv      the same names in the first line
    .aedat4   camera events, by the library dv-processing (extra `events`)

Source of the camera events tried: N-MNIST, Orchard et al. 2015, doi:10.3389/fnins.2015.00437. Nothing is unpickled.
"""

import csv
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

from spikeloom.datasets.optional import require
from spikeloom.errors import DataError, ResourceError

CAMERA = np.dtype([("t_us", "<i8"), ("x", "<i4"), ("y", "<i4"), ("p", "<i4")])
ADDRESS = np.dtype([("time", "<i8"), ("population", "<i4"), ("index", "<i4"), ("level", "<i4")])
FORMS = {"t_us, x, y, p": CAMERA, "time, population, index, level": ADDRESS}
ALSO = {"t": "t_us", "polarity": "p", "timestamp": "t_us"}
"""Other names that columns have."""


@final
@dataclass(frozen=True, eq=False)
class Recordings:
    """One or more recordings: `events` of one of the two forms, where each begins and the last ends (`offsets` [n+1]), and labels [n]
    where they are known."""

    events: Shaped[ndarray, " e"]
    offsets: Int[ndarray, " n1"]
    labels: Int[ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def recording(self, number: int) -> Shaped[ndarray, " k"]:
        """The events of one recording. Raises DataError where there is none of that number."""
        if not 0 <= number < len(self):
            raise DataError("there is no recording of that number", found=number, allowed=f"0 to {len(self) - 1}")
        return self.events[self.offsets[number] : self.offsets[number + 1]]


def read_events(path: Path) -> Recordings:
    """The recordings of a file. Raises DataError where there is none, or it is truncated, out of order, or of another form."""
    if not path.is_file():
        raise DataError("there is no such file of events", found=path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError("events cannot be read from such a file", found=path.suffix or path.name, allowed=", ".join(READERS))
    found = reader(path)
    for number in range(len(found)):
        times = found.recording(number)[found.events.dtype.names[0]]  # pyright: ignore[reportOptionalSubscript]
        falling = np.flatnonzero(times[1:] < times[:-1])  # differences could wrap
        if len(falling):
            place = int(falling[0]) + 1
            told = f"event {place} of recording {number} at {times[place]} after {times[place - 1]}"
            raise DataError(f"the events of {path} are out of order", found=told, todo="sort them by time")
    return found


def write_events(path: Path, events: Shaped[ndarray, " e"]) -> None:
    """One recording in the form that the file's name says, whole or not at all. Raises DataError for another name, ResourceError where the
    disk refuses."""
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise DataError("events cannot be written to such a file", found=path.suffix or path.name, allowed=", ".join(WRITERS))
    if path.suffix.lower() == ".aedat4" and events.dtype != CAMERA:
        raise DataError("AEDAT4 holds events of a camera", found=", ".join(events.dtype.names or ()), allowed="t_us, x, y, p", todo=".npz")
    draft = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix.lower()}")
    try:
        writer(draft, events)
        draft.replace(path)
    except OSError as error:
        todo = "choose a file in a folder that exists" if not path.parent.is_dir() else "free some disk space or choose another folder"
        raise ResourceError(f"cannot write {path}", found=error.strerror or error, todo=todo) from error
    finally:
        draft.unlink(missing_ok=True)


def frames(events: Shaped[ndarray, " e"], shape: tuple[int, int], ticks: int = 1, window_us: int | None = None) -> Int[ndarray, "t 2 h w"]:
    """How often each pixel and polarity fired in each tick; a tick lasts `window_us`, or the recording is shared out evenly. Raises
    DataError for a pixel outside of `shape` (height, width), or a polarity that is neither 0 nor 1."""
    height, width = shape
    for part, most in (("x", width - 1), ("y", height - 1), ("p", 1)):
        outside = np.nonzero((events[part] < 0) | (events[part] > most))[0]
        if len(outside):
            found = f"event {int(outside[0])} has {part} {events[part][outside[0]]}"
            raise DataError("an event lies outside of the picture", found=found, allowed=f"0 to {most}")
    made = np.zeros((ticks, 2, height, width), np.int64)
    if len(events):
        since = events["t_us"] - events["t_us"][0]
        lasts = window_us or max(-(-(int(since[-1]) + 1) // ticks), 1)
        kept = since // lasts < ticks
        np.add.at(made, (since[kept] // lasts, events["p"][kept], events["y"][kept], events["x"][kept]), 1)
    return made


def _structured(columns: Mapping[str, Any], path: Path) -> Shaped[ndarray, " e"]:
    """Columns as events of one of the two forms. Raises DataError where they are neither, or a number does not fit its column."""
    named = {ALSO.get(name, name): values for name, values in columns.items()}
    form = next((form for form in FORMS.values() if set(form.names or ()) <= set(named)), None)
    if form is None:
        raise DataError(f"{path} holds no events", found=", ".join(columns), allowed=" or ".join(FORMS))
    whole = {name: _column(named[name], name, path, form[name]) for name in form.names or ()}
    sizes = {name: len(values) for name, values in whole.items()}
    if len(set(sizes.values())) != 1:
        raise DataError(f"the columns of {path} are not equally long", found=sizes)
    events = np.zeros(next(iter(sizes.values())), form)
    for name in form.names or ():
        events[name] = whole[name]
    return events


def _column(values: Any, name: str, path: Path, dtype: np.dtype[Any]) -> Shaped[ndarray, " n"]:
    """A column as whole numbers of a type. Raises DataError where it is no row of whole numbers, or one of them does not fit."""
    found = np.asarray(values)
    if found.ndim != 1:
        raise DataError(f"the column {name} of {path} is no row of numbers", found=f"shape {found.shape}", allowed="one dimension")
    if found.dtype.kind not in "iub":
        raise DataError(f"the column {name} of {path} holds no whole numbers", found=found.dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    for place in (int(found.argmin()), int(found.argmax())) if len(found) else ():
        if not low <= int(found[place]) <= high:
            told = f"entry {place} is {found[place]}"
            raise DataError(f"a number in the column {name} of {path} is out of range", found=told, allowed=f"{low} to {high}")
    return found.astype(dtype)


def _read_npz(path: Path) -> Recordings:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib and numpy's reader of headers raise many things on a damaged archive
        raise DataError(f"{path} cannot be read", found=error, allowed="what numpy.savez writes, without pickled objects") from error
    events = _structured(arrays, path)
    offsets = _column(arrays.get("offsets", [0, len(events)]), "offsets", path, np.dtype(np.int64))
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(events) or (np.diff(offsets) < 0).any():
        raise DataError(f"the offsets of {path} do not fit its events", found=offsets, allowed=f"from 0 to {len(events)}, never falling")
    return Recordings(events, offsets, _labels(arrays.get("label", arrays.get("labels")), len(offsets) - 1, path))


def _labels(values: Any, count: int, path: Path) -> Int[ndarray, " n"] | None:
    """A label for each recording, or None where there are none. Raises DataError where some recordings have one and some have not."""
    if values is None:
        return None
    labels = _column(values, "label", path, np.dtype(np.int64))
    if len(labels) != count:
        raise DataError(f"the labels of {path} do not fit its recordings", found=f"{len(labels)} labels", allowed=f"{count}, one for each")
    return labels


def _write_npz(path: Path, events: Shaped[ndarray, " e"]) -> None:
    columns: Any = {name: events[name] for name in events.dtype.names or ()}
    np.savez_compressed(path, **columns)


def _read_csv(path: Path) -> Recordings:
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        if not rows:
            raise ValueError("an empty file")
        names, body = [name.strip() for name in rows[0]], [row for row in rows[1:] if row]
        table = np.array([[_number(word) for word in row] for row in body], np.int64).reshape(len(body), -1 if body else len(names))
        if body and table.shape[1] != len(names):
            raise ValueError(f"{table.shape[1]} columns under {len(names)} names")
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read", found=error, allowed=f"a line of names ({' or '.join(FORMS)}), then whole numbers"
        ) from error
    events = _structured({name: table[:, place] for place, name in enumerate(names)}, path)
    return Recordings(events, np.array([0, len(events)]))


def _number(word: str) -> int:
    """A word as a whole number of 64 bits. Raises ValueError where it is none."""
    number = int(word)
    if not -(1 << 63) <= number < 1 << 63:
        raise ValueError(f"{word.strip()} passes 64 bits")
    return number


def _write_csv(path: Path, events: Shaped[ndarray, " e"]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(events.dtype.names or ())
        writer.writerows(events.tolist())


def _read_aedat4(path: Path) -> Recordings:
    dv = require("dv_processing", "events")
    try:
        reader, parts = dv.io.MonoCameraRecording(str(path)), list[Any]()
        while reader.isRunning():
            batch = reader.getNextEventBatch()
            if batch is not None and len(batch):
                parts.append(batch.numpy())
    except RuntimeError as error:
        why = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__  # a stack trace of C++ comes behind
        raise DataError(f"{path} cannot be read", found=why, allowed="an AEDAT4 recording of one camera") from error
    columns = {name: np.concatenate([part[key] for part in parts]) if parts else np.zeros(0, np.int64) for key, name in _AEDAT.items()}
    events = _structured(columns, path)
    return Recordings(events, np.array([0, len(events)]))


def _write_aedat4(path: Path, events: Shaped[ndarray, " e"]) -> None:
    dv = require("dv_processing", "events")
    size = (int(events["x"].max(initial=0)) + 1, int(events["y"].max(initial=0)) + 1)
    store = dv.EventStore()
    for t, x, y, p in events.tolist():
        store.push_back(t, x, y, bool(p))
    writer = dv.io.MonoCameraWriter(str(path), dv.io.MonoCameraWriter.EventOnlyConfig("spikeloom", size))
    writer.writeEvents(store)
    del writer


_AEDAT = {"timestamp": "t_us", "x": "x", "y": "y", "polarity": "p"}
READERS: Mapping[str, Callable[[Path], Recordings]] = {".npz": _read_npz, ".csv": _read_csv, ".aedat4": _read_aedat4}
WRITERS: Mapping[str, Callable[[Path, Any], None]] = {".npz": _write_npz, ".csv": _write_csv, ".aedat4": _write_aedat4}
