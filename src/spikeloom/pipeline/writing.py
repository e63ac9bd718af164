"""
Writing: a saved causal language model goes on with texts, token by token, as transformers' `generate` has it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from spikeloom.errors import ConfigError, DataError, ProgramError, ResourceError
from spikeloom.simulate import SpikingModel

Told = Callable[[str], None]


@final
@dataclass(frozen=True)
class Writing:
    """How a text is written: `temperature` 0 takes the likeliest token each time, above it tokens are drawn (from the `top_k`
    likeliest and the `top_p` share of them); `seed` drives the drawing; `max_new_tokens` ends it, or the model's own end."""

    max_new_tokens: int = 100
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    timesteps: int | None = None

    def options(self) -> dict[str, Any]:
        """What `generate` takes."""
        if self.max_new_tokens < 1:
            raise ConfigError("the number of new tokens is out of range", found=self.max_new_tokens, allowed="1 or more")
        if self.temperature < 0:
            raise ConfigError("the temperature is out of range", found=self.temperature, allowed="0 or more")
        drawn: dict[str, Any] = {"do_sample": True, "temperature": self.temperature, "top_k": self.top_k or 0, "top_p": self.top_p or 1.0}
        return {"max_new_tokens": self.max_new_tokens, **(drawn if self.temperature else {"do_sample": False})}


def write_texts(folder: Path, prompts: Sequence[str], how: Writing, tell: Told | None = None) -> list[str]:
    """The prompts with what the network in `folder` writes on; with `tell` (one prompt) every piece is told as it comes.

    Raises ProgramError where the folder holds no causal language model or no tokenizer, DataError for a prompt without tokens or
    longer than the model allows with what is to be written.
    """
    if not prompts:
        raise DataError("there is nothing to go on from", found="no prompt", todo='give one: --prompt "Once upon a time"')
    snn, tokenizer = SpikingModel.open(folder), tokenizer_of(folder)
    batch = tokens_of(prompts, tokenizer, snn)
    room = snn.program.settings.get("context")
    longest = batch["input_ids"].shape[1]
    if room is not None and longest + how.max_new_tokens > room:
        found = f"{longest} tokens and {how.max_new_tokens} new ones"
        raise DataError("the text would be longer than the model allows", found=found, allowed=f"{room} in all")
    streamer = None if tell is None or len(prompts) > 1 else _streamer(tokenizer, tell)
    torch.manual_seed(how.seed)
    written = snn.generate(**batch, **how.options(), timesteps=how.timesteps, streamer=streamer)
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
    rows = [starts + tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    if not all(rows):
        raise DataError("a prompt gives no tokens", found=repr(prompts[[bool(row) for row in rows].index(False)]), todo="write a word")
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
