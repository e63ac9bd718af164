"""
An ONNX file becomes a torch module: read, settled, opened to any batch, built. Nothing in the file is executed.

    file → Graph → constants folded, layers in one form → batch dimension freed → OnnxModule

Quantised weights (DequantizeLinear of constants) become float; quantised activations are refused. `torch.export` of the module
gives one ATen operation per layer: conv2d, linear, batch_norm, relu, relu6, max_pool2d, avg_pool2d, adaptive_avg_pool2d, cat, …
"""

from pathlib import Path

from spikeloom.capture.onnx.batch import with_free_batch
from spikeloom.capture.onnx.file import read_graph
from spikeloom.capture.onnx.module import OnnxModule, module_of
from spikeloom.capture.onnx.rewrite import settled


def load_onnx(path: Path) -> OnnxModule:
    """
    The module of an ONNX file, in eval mode: `forward` takes the graph's inputs in order (floats of [N, C, H, W] for pictures)
    and returns its output, or a tuple of several. `module.input_specs` and `module.fixed_batch` say what it takes.

    Raises SourceError (not ONNX, truncated, malformed, external data missing), UnsupportedError (all operators that cannot be
    captured, with their nodes, at once; or one whose attributes have no exact form), ResourceError (the onnx library is missing).
    """
    return module_of(*with_free_batch(settled(read_graph(path))))
