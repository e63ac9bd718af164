"""
Texts as models read them: blocks of tokens, or sentences.

    blocks       all documents in one stream, each beginning with the model's first token where there are several, cut every `length`
                 tokens; what is left over at the end is dropped
    sentences    every line that is not empty, with the tokens that stand around a single text

A text of one split is parted: the last tenth of its blocks is its split `test`, the others are `train`, and `all` is all of them. So the
rows of an address are rows of the part that is asked for: text:book.txt[:100] calibrates on the first 100 blocks for training.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Int64
from torch import Tensor

from spikeloom.datasets.address import Address, parse_address
from spikeloom.datasets.batches import groups, shuffled
from spikeloom.datasets.documents import BETWEEN, Documents, open_documents
from spikeloom.datasets.reading import Reading, Unit
from spikeloom.datasets.splits import Wanted, choose
from spikeloom.datasets.tokenizer import FILE, Tokenizer
from spikeloom.errors import DataError

TEST_PART = 0.1
"""What part of a text of one split is for testing."""


@final
@dataclass(frozen=True)
class Text:
    """
    A text as tokens [n, l]: n blocks or sentences in our order. Of row i only the first `lengths[i]` count; None: all of every row.

    `note` says in words what was chosen when the text was loaded.
    """

    tokens: Int64[Tensor, "n l"]
    name: str = "the text given"
    split: str = "all"
    note: str = ""
    unit: Unit = "blocks"
    lengths: Int64[Tensor, " n"] | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    def batches(self, size: int, limit: int | None = None) -> Iterator[Int64[Tensor, "b m"]]:
        """The first `limit` rows in batches of at most `size` rows of one length each; shorter ones come first."""
        tokens = self.tokens[:limit]
        lengths = torch.full((len(tokens),), tokens.shape[1]) if self.lengths is None else self.lengths[:limit]
        for length in lengths.unique().tolist():
            for rows in groups((lengths == length).nonzero()[:, 0].tolist(), size):
                yield tokens[rows, :length]


def load_text(address: str, split: Wanted, reading: Reading, *, limit: int | None = None, seed: int = 0) -> Text:
    """
    The blocks or sentences of a text that serve as `split`, at most `limit` of them; those for calibration in an order drawn from `seed`.

    DataError where there is no such text, split or row, it cannot be read as the model reads, or is too short for one block.
    """
    parsed = parse_address(address)
    splits, stamp = open_documents(parsed), tuple(files_of(parsed, reading))
    only = tokenised(parsed.name, next(iter(splits)), reading, stamp) if len(splits) == 1 else None
    parts = None if only is None else parted(len(only))
    choice = choose(parsed, parts or splits, split)
    found = only if only is not None else tokenised(parsed.name, choice.split, reading, stamp)
    rows = list(range(len(found)))[slice(None) if parts is None else parts[choice.split]][choice.rows]
    if split == "calibration":
        rows = [rows[place] for place in shuffled(len(rows), seed)]
    if not rows:
        raise DataError(
            f"the text {address!r} has no {reading.unit} to take as {split}",
            found=f"{reading.unit} in all: {len(found)}, of them for testing: {0 if parts is None else len(found) - parts['test'].start}",
            todo=f"give a longer text, a smaller --length, or all of it: {parsed.name}@all",
        )
    note = choice.note or ("" if parts is None else said(parts, reading.unit))
    return stacked([found[row] for row in rows[:limit]], parsed.name, choice.split, note, reading.unit)


@lru_cache(maxsize=2)
def tokenised(name: str, split: str, reading: Reading, stamp: tuple[Any, ...]) -> Sequence[Int64[Tensor, " l"]]:
    """A split of a text as rows of tokens, kept while its files are as the `stamp` says: what checks, calibrates and tests a model reads
    the same text."""
    return rows_of(open_documents(parse_address(name))[split](), Tokenizer(reading.tokenizer), reading, name)


def files_of(address: Address, reading: Reading) -> Iterator[tuple[str, int, int]]:
    """The name, time and size of every file here that a text and its tokenizer are read from."""
    place = Path(address.place).expanduser()
    texts = sorted(place.rglob("*")) if address.scheme == "hf" and place.is_dir() else [place]
    for path in [*texts, *([] if reading.tokenizer is None else [reading.tokenizer / FILE])]:
        if path.is_file():
            yield str(path), path.stat().st_mtime_ns, path.stat().st_size


def parted(count: int) -> dict[str, slice]:
    """The parts of a text of one split with that many blocks; with two or more, none is empty."""
    first = count - min(max(1, round(count * TEST_PART)), count - 1)
    return {"train": slice(0, first), "test": slice(first, count), "all": slice(0, count)}


def said(parts: dict[str, slice], unit: Unit) -> str:
    """In words, how a text of one split is parted."""
    first, count = parts["test"].start, parts["test"].stop
    return f"the last {count - first:,} of {count:,} {unit} are for testing, the others for training and calibration"


def rows_of(documents: Documents, tokenizer: Tokenizer, reading: Reading, name: str) -> Sequence[Int64[Tensor, " l"]]:
    """Documents as rows of tokens. DataError where they give none, or tokens that the model does not know."""
    made = sentences(documents, tokenizer, reading) if reading.unit == "sentences" else blocks(documents, tokenizer, reading, name)
    known = reading.vocabulary
    most = max((int(row.max()) for row in made), default=0)
    if known is not None and most >= known:
        raise DataError(
            f"the tokenizer gives {name} tokens that the model does not know",
            found=f"token {most}",
            allowed=f"0 to {known - 1}",
            todo="take the tokenizer that the model was trained with",
        )
    return made


def blocks(documents: Documents, tokenizer: Tokenizer, reading: Reading, name: str) -> Sequence[Int64[Tensor, " l"]]:
    """All documents in one stream, cut every `length` tokens. DataError where that is not one block."""
    start = [reading.bos] if documents.divided and reading.bos is not None else []
    stream = [token for tokens in tokenizer.read(documents.texts) for token in (*start, *tokens)]
    length = reading.tokens
    if len(stream) < length:
        raise DataError(
            f"{name} is shorter than one block", found=f"{len(stream)} tokens", allowed=f"{length} or more", todo="give a smaller --length"
        )
    return torch.tensor(stream[: len(stream) // length * length]).view(-1, length).unbind()


def sentences(documents: Documents, tokenizer: Tokenizer, reading: Reading) -> Sequence[Int64[Tensor, " l"]]:
    """Every line that is not empty, with the tokens around a single text, cut to `length`."""
    lines = [line.strip() for text in documents.texts for line in text.splitlines()]
    return [torch.tensor(row) for row in tokenizer.read([line for line in lines if line and line != BETWEEN], reading.tokens) if row]


def stacked(rows: Collection[Int64[Tensor, " _"]], name: str, split: str, note: str, unit: Unit) -> Text:
    """Rows of tokens as a text; shorter ones are filled up with 0."""
    lengths = torch.tensor([len(row) for row in rows])
    tokens = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return Text(tokens, name, split, note, unit, None if unit == "blocks" else lengths)
