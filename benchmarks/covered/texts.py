"""
Building a reader of texts, sound or pictures (`readers`): a small random model, its inputs, and what it gives for them by itself.

A model that reads through transformers' attention interface is captured as `capture.language.Reader`, with positions and masks from
outside and a length that varies; every other as it stands, with its "eager" attention, but for positions that it would work out from
its tokens: those are given. What counts is the library's own model, asked
for the tokens alone.
"""

from typing import Any

import torch
from torch import Tensor, nn

from covered.architectures import Architecture
from covered.building import SAMPLES, SEED, Built, answer
from covered.networks import pictures, randomise
from spikeloom.capture.huggingface import reading_task
from spikeloom.capture.language import LENGTH, Reader, first_position, inputs_of
from spikeloom.ir import POSITIONS

OTHER_LENGTH = 7
SOURCE_LENGTH = 6  # of what a decoder attends to
SPECIAL = 5  # the first token that stands for nothing special


class Decoder(nn.Module):
    """A model's decoder on tokens and given encoder states."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.get_decoder()

    def forward(self, input_ids: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        """[B, L] and [B, S, C] to [B, L, C]."""
        return self.decoder(input_ids=input_ids, encoder_hidden_states=encoder_hidden_states, use_cache=False).last_hidden_state


def build(architecture: Architecture) -> Built:
    """The model of one row, seeded; raises whatever transformers raises where it cannot be built."""
    import transformers

    name, _, part = architecture.name.partition(".")
    chosen = getattr(transformers, name)
    torch.manual_seed(SEED)
    model = chosen._from_config(chosen.config_class(**architecture.options), attn_implementation="eager", dtype=torch.float32)
    randomise(model, SEED)
    model.eval()
    if not part and reading_task(model) is not None:
        return _read(model)
    model.config.use_cache = False
    module = {"": lambda: model, "encoder": model.get_encoder, "decoder": lambda: Decoder(model)}[part]()
    inputs = _inputs(model, part)
    wanted = answer(module, inputs)
    if not part and (first := first_position(model)):
        positions = torch.arange(first, first + LENGTH).expand(SAMPLES, -1).contiguous()
        return Built(module, {**inputs, "position_ids": positions}, wanted, {"position_ids": POSITIONS})
    return Built(module, inputs, wanted)


def _read(model: Any) -> Built:
    whole = tokens(model.config, LENGTH)
    texts = (whole, whole[:, :OTHER_LENGTH])
    wanted = [answer(model, {"input_ids": text}) for text in texts]
    reader = Reader(model)
    names = ("input_ids", *reader.structure)
    first, other = (dict(zip(names, inputs_of(text, reader.structure), strict=True)) for text in texts)
    return Built(reader, first, wanted[0], reader.structure, LENGTH, (other, wanted[1]))


def tokens(config: Any, length: int) -> Tensor:
    """`SAMPLES` texts of random ordinary tokens."""
    vocabulary = int(config.get_text_config().vocab_size)
    return torch.randint(SPECIAL, vocabulary, (SAMPLES, length), generator=torch.Generator().manual_seed(SEED + length))


def _inputs(model: Any, part: str) -> dict[str, Tensor]:
    """What a model, or a part of one, is given."""
    config, generator = model.config, torch.Generator().manual_seed(SEED)
    if part == "decoder":
        return {
            "input_ids": tokens(config, LENGTH),
            "encoder_hidden_states": torch.randn(SAMPLES, SOURCE_LENGTH, config.hidden_size, generator=generator),
        }
    if model.main_input_name == "input_features":
        sound = pictures(SAMPLES, 1, 2 * config.max_source_positions, SEED)
        return {"input_features": sound[:, 0, : config.num_mel_bins]}
    if model.main_input_name == "pixel_values":
        return {"pixel_values": pictures(SAMPLES, config.num_channels, config.image_size, SEED)}
    return {"input_ids": tokens(config, LENGTH)}
