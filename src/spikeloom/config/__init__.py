"""Configuration: one YAML, every key and value of it checked before any work, as a pipeline's settings (floor 6)."""

from spikeloom.config.model import BASE_CONFIG, Config, load_config

__all__ = ["BASE_CONFIG", "Config", "load_config"]
