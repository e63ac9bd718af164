"""
Speech as the keyword spotter takes it: 49 frames of 10 mel-frequency cepstral coefficients of a second of sound at 16 kHz.

Frames of 30 ms every 20 ms, 40 mel bands from 20 to 4000 Hz, as ../shared/data/kws_dscnn/PROVENANCE.md says (TensorFlow's MFCC).
"""

import io
import wave
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import resample_poly

RATE, FRAME, HOP, FFT, BANDS, KEPT = 16_000, 480, 320, 512, 40, 10
Sound = NDArray[np.float64]


def sounds(file: Path) -> tuple[list[Sound], NDArray[np.int64]]:
    """The recordings of a parquet file of wav bytes, from -1 to 1 at their own 8 kHz, and their labels."""
    table = parquet.read_table(file)
    made = [samples(io.BytesIO(row["bytes"]))[0] for row in table["audio"].to_pylist()]
    return made, np.array(table["label"].to_pylist())


def samples(file: io.BytesIO | Path) -> tuple[Sound, int]:
    """A mono wav file's samples, from -1 to 1, and their rate."""
    with wave.open(str(file) if isinstance(file, Path) else file) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768.0, sound.getframerate()


def mfcc(sound: Sound, rate: int) -> NDArray[np.float32]:
    """[1, 49, 10] of the first second, as loud as can be, silence behind it where it is shorter."""
    sound = resample_poly(sound, RATE // rate, 1) if rate != RATE else sound
    second = np.zeros(RATE)
    second[: min(len(sound), RATE)] = sound[:RATE] / max(float(np.abs(sound[:RATE]).max(initial=0)), 1e-9)
    starts = np.arange(0, RATE - FRAME + 1, HOP)
    frames = second[starts[:, None] + np.arange(FRAME)] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME))
    spectrum = np.abs(np.fft.rfft(frames, FFT))
    logs = np.log(np.maximum(spectrum @ bands().T, 1e-12))
    found = dct(logs, 2, norm="ortho")[None, :, :KEPT]
    found[..., 0] *= np.sqrt(2.0)  # TensorFlow gives the first one the weight of the others
    return found.astype(np.float32)


def bands() -> NDArray[np.float64]:
    """[40, 257]: triangles equally wide in mel."""
    edges = 700 * (np.expm1(np.linspace(*np.log1p(np.array([20.0, 4000.0]) / 700), BANDS + 2)))
    frequency = np.linspace(0, RATE / 2, FFT // 2 + 1)
    mel, marks = np.log1p(frequency / 700), np.log1p(edges / 700)
    rising = (mel - marks[:-2, None]) / (marks[1:-1] - marks[:-2])[:, None]
    falling = (marks[2:, None] - mel) / (marks[2:] - marks[1:-1])[:, None]
    return np.maximum(np.minimum(rising, falling), 0)
