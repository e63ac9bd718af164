"""
Writing: a saved causal language model goes on with texts, token by token, as transformers' `generate` has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from spikeloom import datasets
from spikeloom.errors import ConfigError, DataError, ProgramError, ResourceError
from spikeloom.simulate import SpikingModel

Told = Callable[[str], None]
LANGUAGE = "text-generation"
"""The task of models that write texts."""
NEW = 100
"""Tokens that are written where nobody says how many."""


@final
@dataclass(frozen=True)
class Writing:
    """How a text is written: `temperature` 0 takes the likeliest token each time, above it tokens are drawn (from the `top_k`
    likeliest and the `top_p` share of them); `seed` drives the drawing; `max_new_tokens` ends it, or the model's own end. None: `NEW`
    tokens, or as many as the model has room for."""

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    timesteps: int | None = None

    def __post_init__(self) -> None:
        known = {"max_new_tokens": (1, None), "temperature": (0, None), "top_k": (1, None), "top_p": (1e-6, 1), "seed": (0, 2**32 - 1)}
        for name, (least, most) in known.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= (value if most is None else most):
                allowed = f"{least} or more" if most is None else f"{least} to {most}"
                raise ConfigError(f"{name} is out of range", found=value, allowed=allowed)
        drawn = [f"{name} {value}" for name, value in (("top_k", self.top_k), ("top_p", self.top_p)) if value is not None]
        if drawn and not self.temperature:
            todo = "give a temperature above 0, such as 0.8, or leave them out"
            raise ConfigError("nothing is drawn at temperature 0", found=", ".join(drawn), allowed="neither top_k nor top_p", todo=todo)

    def options(self, room: int | None) -> dict[str, Any]:
        """What `generate` takes, where there is `room` for so many tokens more; None: for any number."""
        new = self.max_new_tokens if self.max_new_tokens is not None else NEW if room is None else max(1, min(NEW, room))
        drawn: dict[str, Any] = {"do_sample": True, "temperature": self.temperature, "top_k": self.top_k or 0, "top_p": self.top_p or 1.0}
        return {"max_new_tokens": new, **(drawn if self.temperature else {"do_sample": False})}


def write_texts(folder: Path, prompts: Sequence[str], how: Writing, tell: Told | None = None) -> list[str]:
    """The prompts with what the network in `folder` writes on; with `tell` (one prompt) every piece is told as it comes.

    Raises ProgramError where the folder holds no causal language model or no tokenizer, DataError for a prompt without tokens or
    longer than the model allows with what is to be written.
    """
    if not prompts:
        raise DataError("there is nothing to go on from", found="no prompt", todo='give one: --prompt "Once upon a time"')
    snn = SpikingModel.open(folder)
    if snn.program.settings.get("task") != LANGUAGE:
        found = snn.program.settings.get("task")
        raise ProgramError(
            f"{folder} holds no model that writes texts", found=found, allowed=LANGUAGE, todo="convert a causal language model"
        )
    tokenizer, context = tokenizer_of(folder), snn.program.settings.get("context")
    batch = tokens_of(prompts, tokenizer, snn)
    room = None if context is None else context - batch["input_ids"].shape[1]
    streamer = None if tell is None or len(prompts) > 1 else _streamer(tokenizer, tell)
    torch.manual_seed(how.seed)
    written = snn.generate(**batch, **how.options(room), timesteps=how.timesteps, streamer=streamer)
    return tokenizer.batch_decode(written, skip_special_tokens=True)


def tokenizer_of(folder: Path) -> Any:
    """The tokenizer kept in `folder`/tokenizer, with a padding token. Raises ProgramError where there is none."""
    try:
        from transformers import PreTrainedTokenizerFast
    except ModuleNotFoundError as error:
        raise ResourceError("writing needs the library 'transformers'", found=str(error), todo="pip install 'spikeloom[hf]'") from error
    place = folder / "tokenizer"
    if not (place / "tokenizer.json").is_file():
        raise ProgramError(f"{folder} holds no tokenizer", found=f"no {place / 'tokenizer.json'}", todo="convert a model that has one")
    tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(place, padding_side="left")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def tokens_of(prompts: Sequence[str], tokenizer: Any, snn: SpikingModel) -> dict[str, torch.Tensor]:
    """The prompts as one batch, padded in front; each starts with the model's first token where its tokenizer knows one."""
    bos = snn.program.settings.get("bos")
    starts = [bos] if bos is not None and tokenizer.bos_token_id == bos else []
    given = datasets.encoded(tokenizer.backend_tokenizer, prompts, around=False)
    empty = next((prompt for prompt, row in zip(prompts, given, strict=True) if not row), None)
    if empty is not None:
        raise DataError("an empty prompt is nothing to go on from", found=repr(empty), allowed="1 token or more", todo="write a word")
    rows = [starts + row for row in given]
    longest = max(map(len, rows))
    pad = int(tokenizer.pad_token_id or 0)
    ids = [[pad] * (longest - len(row)) + row for row in rows]
    real = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(real)}


def _streamer(tokenizer: Any, tell: Told) -> Any:
    """A streamer of transformers that tells each piece of text as soon as it is sure."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            tell(text + ("\n" if stream_end else ""))

    return Streamer(tokenizer, skip_special_tokens=True)
