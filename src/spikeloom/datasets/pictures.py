"""Decoding a picture's bytes with PIL."""

import io

from PIL import Image

from spikeloom.errors import DataError


def decode_picture(data: bytes, where: str) -> Image.Image:
    """The picture in `data`, loaded. DataError says where it lies when it cannot be decoded."""
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"the picture {where} cannot be decoded", found=error, todo="remove it or fetch it again") from error
    return image
