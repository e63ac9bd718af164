"""
Runs a network.net in netx layout with lava-nc's fixed-point models, in its own Python 3.10: python lava_runner.py FOLDER OFFSETS

It builds what lava-dl's netx builds of the file (Dense or Conv and LIFReset, one after the other) and writes each layer's spikes and
voltages by tick to lava.npz. The inputs are FOLDER/inputs.npy [ticks, …], laid out as (W, H, C) for images.
"""

import sys
from pathlib import Path

import h5py
import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv.process import Conv
from lava.proc.dense.process import Dense
from lava.proc.io.source import RingBuffer
from lava.proc.lif.process import LIFReset
from lava.proc.monitor.process import Monitor
from lava.utils.weightutils import determine_sign_mode, optimize_weight_bits


def text(value):
    found = value[()]
    return (found if isinstance(found, bytes) else found[0]).decode()


def synapses(layer, before, bits):
    weight = layer["weight"][()].astype(int)
    if text(layer["type"]) == "dense":
        best = optimize_weight_bits(weight, determine_sign_mode(weight))
        return Dense(weights=best.weights, weight_exp=best.weight_exp, num_weight_bits=best.num_weight_bits, num_message_bits=bits)
    turned = weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
    told = {name: [int(side) for side in layer[name][()][::-1]] for name in ("stride", "padding", "dilation")}
    return Conv(input_shape=before, weight=turned, groups=int(layer["groups"][()]), num_message_bits=bits, **told)


def main():
    folder = Path(sys.argv[1])
    inputs = np.load(folder / "inputs.npy")
    steps = len(inputs)
    found, watched, flatten = {}, [], False
    with h5py.File(folder / "network.net", "r") as file:
        group = file["layer"]
        shape = tuple(int(side) for side in group["0"]["shape"][()][::-1])
        source = RingBuffer(data=np.moveaxis(inputs.reshape(steps, *shape), 0, -1))
        out, bits, number = source.s_out, 8, 0
        for place in range(1, len(group)):
            layer = group[str(place)]
            if text(layer["type"]) == "flatten":
                flatten = True
                continue
            connection = synapses(layer, shape, bits)
            (out.transpose([2, 1, 0]).flatten() if flatten else out).connect(connection.s_in)
            shape = tuple(int(side) for side in layer["shape"][()][::-1])
            neuron, flatten, number = layer["neuron"], False, number + 1
            bias = layer["bias"][()].astype(int) if "bias" in layer else np.zeros(shape[-1], int)
            neurons = LIFReset(
                shape=shape,
                vth=int(neuron["vThMant"][()]),
                du=int(neuron["iDecay"][()]) - 1,
                dv=int(neuron["vDecay"][()]),
                bias_mant=np.broadcast_to(bias, shape).copy(),
                bias_exp=6,
                reset_interval=steps,
                reset_offset=number + 1,
            )
            connection.a_out.connect(neurons.a_in)
            monitors = {}
            for name, port in (("s", neurons.s_out), ("v", neurons.v)):
                monitors[name] = Monitor()
                monitors[name].probe(port, steps)
            watched.append((number, neurons.name, monitors))
            out, bits, last = neurons.s_out, 0, neurons
    last.run(condition=RunSteps(num_steps=steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    for number, name, monitors in watched:
        for kind, monitor in monitors.items():
            found[f"{kind}{number}"] = monitor.get_data()[name]["s_out" if kind == "s" else "v"]
    last.stop()
    np.savez(folder / "lava.npz", **found)


if __name__ == "__main__":
    main()
