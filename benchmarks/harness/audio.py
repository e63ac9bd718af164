"""
Speech features of the MLPerf Tiny keyword-spotting reference: MFCC of one second at 16 kHz.

    magnitude spectrum (512 points, periodic Hann) of 30 ms frames every 20 ms → 40 mel bands of 20–4000 Hz → log → DCT-II → first 10

The waveform is divided by its largest magnitude first, as there. Mel bands and DCT are those of tf.signal (HTK mel scale,
orthogonal up to the first coefficient). Source: github.com/mlcommons/tiny, keyword_spotting/get_dataset.py.
"""

import io
import wave

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.signal import resample_poly

Numbers = NDArray[np.float64]
RATE_HZ, FRAME, STEP, POINTS = 16_000, 480, 320, 512
BANDS, LOW_HZ, HIGH_HZ, COEFFICIENTS = 40, 20.0, 4000.0, 10


def waveform(data: bytes) -> Numbers:
    """The samples of a 16-bit mono WAV file at 16 kHz, one second: cut, or filled with zeros behind."""
    with wave.open(io.BytesIO(data)) as file:
        rate, pcm = file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), np.int16)
    x = resample_poly(pcm.astype(np.float64), RATE_HZ, rate) if rate != RATE_HZ else pcm.astype(np.float64)
    return np.pad(x[:RATE_HZ], (0, max(0, RATE_HZ - len(x))))


def mel_bands() -> Numbers:
    """[POINTS / 2 + 1, BANDS]: triangles, equally spaced on the mel scale; the constant bin counts for nothing."""
    mel = lambda hertz: 1127.0 * np.log1p(np.asarray(hertz) / 700.0)  # noqa: E731
    bins = mel(np.linspace(0, RATE_HZ / 2, POINTS // 2 + 1)[1:])[:, None]
    edges = np.linspace(mel(LOW_HZ), mel(HIGH_HZ), BANDS + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.pad(np.maximum(0.0, np.minimum(rising, falling)), ((1, 0), (0, 0)))


def mfcc(x: Numbers) -> NDArray[np.float32]:
    """[49, 10] features of one second at 16 kHz."""
    x = x / max(float(np.abs(x).max()), 1e-9)
    frames = np.lib.stride_tricks.sliding_window_view(x, FRAME)[::STEP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    bands = np.abs(np.fft.rfft(frames * window, POINTS)) @ mel_bands()
    spread = dct(np.log(bands + 1e-6), type=2, axis=1)[:, :COEFFICIENTS]
    return (spread / np.sqrt(2.0 * BANDS)).astype(np.float32)
