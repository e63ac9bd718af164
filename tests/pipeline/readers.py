"""What the tests of texts share: tiny models with random weights and a tokenizer of words, saved as transformers saves them."""

import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = [f"w{index}" for index in range(20)]
SPECIAL = ["<s>", "</s>", "<unk>"]
VOCABULARY = len(SPECIAL) + len(WORDS)
CONTEXT = 32


def sentence(count: int, seed: int) -> str:
    """Words in a random order, no two words of which stand twice beside each other."""
    draw, words = random.Random(seed), ["w0"]
    while len(words) < count:
        words.append(draw.choice([word for word in WORDS if word != words[-1]]))
    return " ".join(words)


def story(lines: int, words: int = 12, seed: int = 0) -> str:
    """A text of several lines."""
    return "\n".join(sentence(words, seed * 1000 + line) for line in range(lines)) + "\n"


def save_tokenizer(folder: Path, unknown: str = "<unk>", around: bool = False) -> Path:
    """A tokenizer of words, others being `unknown`. `around`: it puts <s> and </s> around a text, and pads and cuts, as many do."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate([*SPECIAL, *WORDS])}, unk_token=unknown))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if around:
        made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
        made.enable_padding()
        made.enable_truncation(4)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"}')
    return folder


def llama(folder: Path, **changes: Any) -> Path:
    """A Llama of one layer, in `folder`, with its tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    options = {"num_key_value_heads": 1, "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "bos_token_id": 0, "eos_token_id": 1}
    LlamaForCausalLM(LlamaConfig(**{**sizes, **options, "initializer_range": 0.3, **changes})).save_pretrained(folder)
    return save_tokenizer(folder)


def bert(folder: Path) -> Path:
    """A BERT of one layer that embeds sentences, in `folder`, with its tokenizer."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, initializer_range=0.3)
    BertModel(config).save_pretrained(folder)
    return save_tokenizer(folder, around=True)


def written(path: Path, lines: int = 60) -> str:
    """The address of a text of so many lines of twelve words."""
    path.write_text(story(lines))
    return f"text:{path}"
