"""
A model's tokenizer: the file tokenizer.json beside it, read by the library `tokenizers`. No code from that folder ever runs.

Source: https://huggingface.co/docs/tokenizers.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

from spikeloom.datasets.optional import require
from spikeloom.errors import DataError

FILE = "tokenizer.json"


@final
class Tokenizer:
    """The tokenizer in a folder. DataError where there is none that can be read; ResourceError where the library is missing."""

    def __init__(self, folder: Path | None) -> None:
        if folder is None or not (folder / FILE).is_file():
            found = "the model has none beside it" if folder is None else f"no {FILE} in {folder}"
            raise DataError("a text cannot be read without a tokenizer", found=found, todo=f"save the model's {FILE} in the model's folder")
        library = require("tokenizers", "hf")
        try:
            self.inner: Any = library.Tokenizer.from_file(str(folder / FILE))
        except Exception as error:  # the library raises plain exceptions
            raise DataError(f"{folder / FILE} is no tokenizer", found=str(error), todo="fetch or save the model again") from error
        self.inner.no_padding()

    def read(self, texts: Sequence[str], longest: int | None = None) -> list[list[int]]:
        """The tokens of each text: all of them and nothing else, or with `longest` as the model was trained on single texts, with the
        tokens that stand around one and cut to that many. DataError where a text holds what the tokenizer has no token for."""
        if longest is None:
            self.inner.no_truncation()
        else:
            self.inner.enable_truncation(longest)
        try:
            return [found.ids for found in self.inner.encode_batch(list(texts), add_special_tokens=longest is not None)]
        except Exception as error:  # the library raises plain exceptions
            raise DataError(
                "the text holds what the tokenizer has no token for", found=str(error), todo="give a text in the model's own alphabet"
            ) from error
