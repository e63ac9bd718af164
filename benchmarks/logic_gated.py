"""
Logic-gated networks (weights −1, 0, +1, spikes 0 or 1, integer thresholds) against networks that multiply.

    python benchmarks/logic_gated.py [--parts speed seed mnist fashion_mnist lenet …] [--seconds 6]

    speed                  a packed layer, as ratios in one run on one core
    seed                   the seed task at its limit                                         benchmarks/gated/seed.py
    mnist, fashion_mnist   pictures under bit flips, fully connected and convolutional        benchmarks/gated/pictures.py
    cifar10                colours under the corruptions of CIFAR-10-C                        benchmarks/gated/cifar.py
    local                  learning without backpropagation                                   benchmarks/gated/local.py
    lenet                  a trained LeNet, whole in gates                                    benchmarks/gated/lenet.py

Part `speed`: a layer 4096 × 4096 with random ternary weights, from packed spikes to packed spikes, against torch's linear layer in fp32 and
onnxruntime's MatMulInteger of uint8 inputs and int8 weights (its fastest form, as fast as QLinearMatMul): all with the same weights and
inputs, each given its inputs in its own form. They take turns of twenty calls each, so that a layer finds its weights in the cache if they
fit there (4 MiB packed, 16 MiB int8, 64 MiB fp32). Targets are for the layer as `layer_of` makes it, in the order that suits batch and
activity; rows called dense are by rows, where every word of weights is read whatever spikes; rows called cold have turns of one call, each
after the others have filled the caches.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from gated import cifar, lenet, local, pictures, seed
from harness.clock import fastest
from harness.rows import Row, write
from spikeloom.kernels.packed import pack_spikes, pack_ternary, unpack_spikes
from spikeloom.kernels.packed_events import columns_of
from spikeloom.kernels.packed_layers import Rows, fire_layer, layer_of

COMMAND = "python benchmarks/logic_gated.py"
SIZE, CALLS = 4096, 20
TARGETS = {1: (60.0, 6.0), 64: (8.0, 1.5)}
"""How many times as fast as fp32 and int8, by batch."""


def int8_layer(weights: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """onnxruntime's product of uint8 inputs [b, n] and int8 weights [o, n], on one core."""
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["b", weights.shape[1]])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, ["b", weights.shape[0]])
    held = numpy_helper.from_array(np.ascontiguousarray(weights.T.numpy()), "w")
    model = helper.make_model(
        helper.make_graph([node], "layer", [x], [y], [held]), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, {"x": inputs})[0]  # pyright: ignore[reportReturnType]


def ratio_rows(name: str, way: str, times: Mapping[str, float], targets: tuple[float, float] | None) -> list[Row]:
    """How many times as fast as fp32, and as int8; beside it the times in microseconds and the order of the weights."""
    rows = list[Row]()
    for place, peer in enumerate(("fp32", "int8")):
        value, least = times[peer] / times["packed"], None if targets is None else targets[place]
        told = {key: float(f"{times[key] * 1e6:.4g}") for key in (peer, "packed")}
        target, holds = (None, None) if least is None else (f"at least {least:g}", value >= least)
        control = {f"{key}_us": number for key, number in told.items()} | {"by": way}
        rows.append(Row(f"packed layer 4096×4096 over {peer}, {name}", round(value, 2), "x", COMMAND, control, None, target, holds))
    return rows


def speed(seconds: float) -> list[Row]:
    """The packed layer against fp32 and int8, batches of 1 and 64, half and a twentieth of the inputs spiking; and its memory."""
    weights = torch.randint(-1, 2, (SIZE, SIZE), dtype=torch.int8)
    thresholds = torch.randint(-20, 21, (SIZE,), dtype=torch.int32)
    plain, eight, planes, rows = weights.float(), int8_layer(weights), pack_ternary(weights), list[Row]()
    for batch in (1, 64):
        for active in (0.5, 0.05):
            x = (torch.rand(batch, SIZE) < active).to(torch.uint8)
            packed, numbers, array = pack_spikes(x), x.float(), x.numpy()
            layer, dense = layer_of(*planes, SIZE, thresholds, active, batch), Rows(*planes, thresholds, SIZE, SIZE)
            functions: dict[str, Callable[[], object]] = {
                "fp32": lambda numbers=numbers: torch.nn.functional.linear(numbers, plain),
                "int8": lambda array=array: eight(array),
                "packed": lambda layer=layer, packed=packed: fire_layer(layer, packed),
            }
            expected = torch.from_numpy(eight(array)) >= thresholds
            for each in (layer, dense):
                if not torch.equal(unpack_spikes(fire_layer(each, packed), SIZE).bool(), expected):
                    raise RuntimeError("the packed layer differs from int8")
            way, name = type(layer).__name__.lower(), f"batch {batch}, {active:.0%} active"
            with torch.inference_mode():
                rows += ratio_rows(name, way, fastest(functions, seconds, CALLS), TARGETS[batch] if active == 0.5 else None)
                if active == 0.5:
                    functions["packed"] = lambda dense=dense, packed=packed: fire_layer(dense, packed)
                    rows += ratio_rows(f"{name}, dense", "rows", fastest(functions, seconds, CALLS), None)
                    rows += ratio_rows(f"{name}, dense, cold", "rows", fastest(functions, seconds / 2), None)
    return [*rows, memory(plain, planes, columns_of(*planes, SIZE).records)]


def memory(plain: Tensor, planes: tuple[Tensor, Tensor], records: Tensor) -> Row:
    """What the weights take in memory, by rows or by columns, whichever is more, against fp32."""
    fp32, by_rows, by_columns = (sum(part.numel() * part.element_size() for part in parts) for parts in ((plain,), planes, (records,)))
    share = max(by_rows, by_columns) / fp32
    control = {"rows_mib": by_rows / 2**20, "columns_mib": round(by_columns / 2**20, 4), "fp32_mib": fp32 / 2**20}
    return Row(
        "weights of a packed layer 4096×4096 / in fp32", round(share, 4), "x", COMMAND, control, None, "at most 1/15", share <= 1 / 15
    )


PARTS: Mapping[str, Callable[[float], Iterable[Row]]] = {
    "speed": speed,
    "seed": lambda _: seed.rows(),
    "lenet": lambda _: lenet.rows(),
    "mnist": lambda _: pictures.rows("mnist", pictures.FULL),
    "mnist-convolutional": lambda _: pictures.rows("mnist", pictures.CONV),
    "local": lambda _: local.rows(),
    "cifar10": lambda _: cifar.rows(),
    "fashion_mnist": lambda _: pictures.rows("fashion_mnist", pictures.FULL),
    "fashion_mnist-convolutional": lambda _: pictures.rows("fashion_mnist", pictures.FASHION),
}


def main() -> None:
    """Measure the parts asked for and write benchmarks/results/logic_gated.json; rows of other parts stay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each pair of ratios")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for part in options.parts:
        rows: Iterable[Row] = PARTS[part](options.seconds)
        for row in rows:
            sys.stdout.write(f"{row.name}: {row.value} {row.control} holds={row.holds}\n")
        write("logic_gated", rows, part=True)


if __name__ == "__main__":
    main()
