"""ONNX files as torch modules: see `load_onnx`."""

from spikeloom.capture.onnx.graph import InputSpec
from spikeloom.capture.onnx.load import load_onnx
from spikeloom.capture.onnx.module import OnnxModule

__all__ = ["InputSpec", "OnnxModule", "load_onnx"]
