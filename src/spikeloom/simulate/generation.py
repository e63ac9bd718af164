"""
Writing texts: a converted causal language model under transformers' own `generate` (greedy, sampling, beams, batches, streamers).

`generate` hands over the whole text at every step; the model finds which of the texts it read last each row goes on from, keeps
their spikes of keys and values (`decoding`), and reads the new tokens only.

Source: https://huggingface.co/docs/transformers/main_classes/text_generation.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

from spikeloom.errors import ConfigError, DataError, ResourceError
from spikeloom.ir import Program
from spikeloom.simulate.decoding import Decoder, Kept
from spikeloom.simulate.structure import check_tokens


@final
class Memory:
    """The texts read last, and what was kept of them; `logits` goes on from the longest part that is the same."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.tokens = torch.zeros(0, 0, dtype=torch.int64)
        self.kept: Kept | None = None

    def logits(self, tokens: Tensor, real: Tensor) -> Tensor:
        """The logits [B, V] after the last token of each row."""
        kept, done = self._common(tokens, real)
        logits, self.kept = self.decoder.read(tokens[:, done:], kept, real[:, done:])
        self.tokens = tokens
        return logits[:, -1]

    def _common(self, tokens: Tensor, real: Tensor) -> tuple[Kept, int]:
        """What was kept of earlier texts that these rows all go on from, and how many tokens that is."""
        length = min(self.tokens.shape[1], tokens.shape[1] - 1)
        if self.kept is None or length < 1:
            return self.decoder.start(len(tokens)), 0
        same = (tokens[:, None, :length] == self.tokens[None, :, :length]) & (real[:, None, :length] == self.kept.real[None, :, :length])
        runs = same.int().cumprod(2).sum(2)
        best = runs.max(1)
        shared = int(best.values.min())
        if shared < 1:
            return self.decoder.start(len(tokens)), 0
        return self.decoder.chosen(self.decoder.shortened(self.kept, shared), best.indices), shared


def writer_of(program: Program, timesteps: int) -> Any:
    """A transformers model over a spiking program, with all of `generate`. Raises ResourceError where transformers is missing,
    ProgramError for a program that is no causal language model."""
    try:
        from transformers import GenerationConfig, GenerationMixin, PretrainedConfig, PreTrainedModel
        from transformers.modeling_outputs import CausalLMOutput
    except ModuleNotFoundError as error:
        raise ResourceError(
            "writing texts needs the library 'transformers'", found=str(error), todo="pip install 'spikeloom[hf]'"
        ) from error

    memory = Memory(Decoder(program, timesteps))
    settings = program.settings
    known: dict[str, Any] = {
        "vocab_size": settings.get("vocabulary"),
        "is_decoder": True,
        "max_position_embeddings": settings.get("context"),
    }
    config = PretrainedConfig(**known)

    class Writer(PreTrainedModel, GenerationMixin):
        """The spiking network as transformers sees it."""

        config_class = PretrainedConfig
        main_input_name = "input_ids"

        def __init__(self) -> None:
            super().__init__(config)
            self.anchor = torch.nn.Parameter(torch.zeros(()), requires_grad=False)  # tells the device and the dtype

        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any) -> Any:
            real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            return CausalLMOutput(logits=memory.logits(input_ids, real)[:, None])

        def prepare_inputs_for_generation(self, input_ids: Tensor, *_: Any, **kwargs: Any) -> dict[str, Any]:
            return {"input_ids": input_ids, "attention_mask": kwargs.get("attention_mask")}

    model = Writer()
    eos = settings.get("eos")
    pad = settings.get("pad", eos[0] if isinstance(eos, list) else eos)
    model.generation_config = GenerationConfig(bos_token_id=settings.get("bos"), eos_token_id=eos, pad_token_id=pad, use_cache=False)
    return model


def written(program: Program, writer: Any, inputs: Any = None, **options: Any) -> Any:
    """What `writer.generate` writes on from these tokens [B, L]; those beside which no mask is given are all real.

    Raises DataError for texts that the program cannot go on from or that would outgrow it, ConfigError for options that transformers
    refuses.
    """
    given = [value for value in (inputs, options.pop("inputs", None), options.pop("input_ids", None)) if value is not None]
    tokens: Any = given[0] if given else None
    real = options.get("attention_mask")
    check_prompts(program, tokens, real)
    check_room(program, tokens, options)
    options["use_cache"] = False  # spikes of keys and values are kept anyhow (`Memory`); transformers' own cache would stay empty
    if real is None and not {"pad_token_id", "generation_config"} & set(options):
        options["attention_mask"] = torch.ones_like(tokens)
    try:
        return writer.generate(tokens, **options)
    except ValueError as error:  # what transformers says of its options; our own mistakes with values are UserErrors
        found = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError("transformers' generate refuses these options", found=found) from error


def check_prompts(program: Program, tokens: Any, real: Any) -> None:
    """Raises DataError for what is no prompts in tokens [B, L], or where one has no token, or padding at its end."""
    strange = [value for value in (tokens, real) if not isinstance(value, Tensor | None)]
    if tokens is None or strange:
        found = "nothing" if not strange else type(strange[0]).__name__
        todo = 'tokens come from the model\'s tokenizer: tokenizer(texts, return_tensors="pt", padding=True, padding_side="left")'
        raise DataError("there are no tokens to go on from", found=found, allowed="a tensor [batch, length]", todo=todo)
    if tokens.dim() == 2 and not tokens.shape[1]:
        raise DataError("an empty prompt is nothing to go on from", found="no token", allowed="1 token or more", todo="write a word")
    check_tokens(program, tokens, real)
    if real is None or bool(real[:, -1].all()):
        return
    empty = (real == 0).all(1).nonzero()[:, 0].tolist()
    if empty:
        raise DataError("an empty prompt is nothing to go on from", found=f"row {empty[0]} is padding alone", todo="write a word")
    found = f"padding at the end of row {int((real[:, -1] == 0).nonzero()[0])}"
    raise DataError("prompts are padded in front", found=found, allowed="0 before 1 in each row", todo='padding_side="left"')


def check_room(program: Program, tokens: Tensor, options: Mapping[str, Any]) -> None:
    """Raises DataError where these tokens and the new ones asked for are more than the program takes."""
    room, told = program.settings.get("context"), options.get("generation_config")
    new, whole = (options.get(key, getattr(told, key, None)) for key in ("max_new_tokens", "max_length"))
    most = tokens.shape[1] + new if isinstance(new, int) else whole if isinstance(whole, int) else tokens.shape[1] + 1
    if room is not None and most > room:
        found = f"{tokens.shape[1]} tokens and {most - tokens.shape[1]} new ones"
        todo = "give a shorter prompt, or a smaller max_new_tokens"
        raise DataError("the text would be longer than the model allows", found=found, allowed=f"{room} in all", todo=todo)
