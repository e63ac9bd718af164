"""
What a person can choose for the CUDA target.
"""

import re
from typing import Literal, final

from pydantic import Field, field_validator

from spikeloom.backend.target import TargetOptions
from spikeloom.errors import ConfigError

_CPP = """alignas alignof and asm auto bool break case catch char class const constexpr continue decltype default delete do double else enum
explicit export extern false float for friend goto if inline int long mutable namespace new noexcept not nullptr operator or private
protected public register return short signed sizeof static struct switch template this throw true try typedef typeid typename union
unsigned using virtual void volatile while xor"""
TAKEN = frozenset([*_CPP.split(), "main", "std", "spikeloom"])
"""Words that no namespace can be called."""


@final
class CudaOptions(TargetOptions):
    """Options of the CUDA target."""

    kernels: Literal["dense", "event"] = Field(
        "dense", description="layers driven by spikes: all weights, or those of active inputs only (compacted by ballot, then gathered)"
    )
    planes: bool = Field(True, description="ternary layers on spikes as two planes of bits, AND and population count (dense kernels)")
    arch: str = Field("sm_90", description="the GPU that nvcc compiles for")
    prefix: str = Field("net", description="the namespace of the emitted code")
    compiler: str = Field("g++", description="what compiles the same source for a CPU where there is no GPU")

    @field_validator("arch")
    @classmethod
    def _architecture(cls, arch: str) -> str:
        if not re.fullmatch(r"sm_\d{2,3}[af]?", arch) or int(re.sub(r"\D", "", arch)) < 61:
            raise ConfigError(
                "no such GPU architecture", found=arch, allowed="sm_61 (the first with dp4a) or later", todo="give e.g. sm_90"
            )
        return arch

    @field_validator("prefix")
    @classmethod
    def _identifier(cls, prefix: str) -> str:
        if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", prefix) or len(prefix) > 30 or prefix in TAKEN:
            allowed = "a letter and up to 29 letters, digits or single _, all small, and no word of C++"
            raise ConfigError("the prefix has to be a namespace", found=prefix, allowed=allowed, todo="give another prefix")
        return prefix

    @field_validator("compiler")
    @classmethod
    def _one_word(cls, compiler: str) -> str:
        if not re.fullmatch(r"[\w./+-]+", compiler, re.ASCII):
            raise ConfigError("the compiler goes into a Makefile", found=compiler, allowed="one word of letters, digits and ./+-_")
        return compiler
