"""
What a person can choose for the C target.
"""

import re
from typing import Literal, final

from pydantic import Field, field_validator

from spikeloom.backend.target import TargetOptions
from spikeloom.errors import ConfigError

KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return "
    "short signed sizeof static struct switch typedef union unsigned void volatile while asm main errno stdin stdout stderr"
)


@final
class COptions(TargetOptions):
    """Options of the C target."""

    kernels: Literal["dense", "event"] = Field("dense", description="loops over all weights, or over the weights of active inputs only")
    planes: Literal["spikes", "levels", "none"] = Field(
        "spikes",
        description="ternary layers as two planes of bits: where inputs are 0 or 1, also where they are levels of up to 8 bits, never",
    )
    prefix: str = Field("net", description="what names of files, functions and arrays begin with")
    compiler: str = Field("gcc", description="the compiler that the Makefile names and that checks the golden vectors")
    flags: str = Field("-O3 -march=native", description="how that compiler optimises; -O2 alone is portable")
    max_rom: int = Field(0, ge=0, description="most bytes that weights and tables may take; 0: any number")
    max_ram: int = Field(0, ge=0, description="most bytes that buffers and membranes may take; 0: any number")

    @field_validator("prefix")
    @classmethod
    def _identifier(cls, prefix: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", prefix) or f" {prefix} " in f" {KEYWORDS} ":
            allowed = "a letter and up to 30 letters, digits or _, all small, and no word of C"
            raise ConfigError("the prefix has to begin names of C", found=prefix, allowed=allowed, todo="give another prefix")
        return prefix

    @field_validator("compiler", "flags")
    @classmethod
    def _one_line(cls, words: str) -> str:
        if not re.fullmatch(r"[\w ./+=,-]*", words, re.ASCII):
            raise ConfigError("compiler and flags go into a Makefile", found=words, allowed="letters, digits, blanks and ./+=,-_")
        return words
