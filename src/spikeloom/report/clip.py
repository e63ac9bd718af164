"""
A short film as an address that holds a GIF: small pictures of few colours, fewer of them where it would be too large.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from spikeloom.errors import DataError
from spikeloom.report.agent_data import PICTURE

WIDTH, COLOURS, MOST_BYTES = 300, 32, 400_000


def clip(frames: Sequence[np.ndarray], frame_ms: int = 50) -> str:
    """The frames, uint8 [h, w, 3] each, as a GIF that repeats, of at most MOST_BYTES. DataError for none."""
    if not frames:
        raise DataError("a film has a picture or more", found="none")
    step = 1
    while True:
        shown = list(frames)[::step]
        data = _gif(shown, frame_ms * step)
        if len(data) <= MOST_BYTES or len(shown) <= 2:
            return PICTURE + base64.b64encode(data).decode()
        step *= 2


def _gif(frames: Sequence[np.ndarray], frame_ms: int) -> bytes:
    small = [_small(frame) for frame in frames]
    palette = small[len(small) // 2].quantize(COLOURS, dither=Image.Dither.NONE)
    drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in small]
    buffer = io.BytesIO()
    drawn[0].save(buffer, "gif", save_all=True, append_images=drawn[1:], duration=frame_ms, loop=0, optimize=True)
    return buffer.getvalue()


def _small(frame: np.ndarray) -> Image.Image:
    picture = Image.fromarray(np.asarray(frame, np.uint8))
    width = min(WIDTH, picture.width)
    return picture.resize((width, max(1, round(picture.height * width / picture.width))), Image.Resampling.LANCZOS)
