"""Small reference architectures of our own, written to be read; `build` makes one by name, `ARCHITECTURES` says what there is."""

from spikeloom.zoo.architectures import ARCHITECTURES, Architecture, architecture, build

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "build"]
