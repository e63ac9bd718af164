"""
The files of an emitted folder.
"""

from collections.abc import Mapping
from importlib.resources import files as resources

import numpy as np

from spikeloom.backend.cuda.elementwise import elementwise
from spikeloom.backend.cuda.moves import address, by_sample, pool, route, tick_step
from spikeloom.backend.cuda.numbers import Constants, Number, literal, reckoned
from spikeloom.backend.cuda.options import CudaOptions
from spikeloom.backend.cuda.plan import Step, Work, planned
from spikeloom.backend.cuda.products import product
from spikeloom.backend.target import Golden
from spikeloom.ir.hardware import Affine, Convolution, Netlist, Pool, membrane_wires

STANDARD = "-std=c++17"
COPIED = ("device.cuh", "emulate.h", "kernels.cuh", "main.cu", "Makefile", "README.md")


def files(netlist: Netlist, golden: Golden, options: CudaOptions) -> Mapping[str, bytes]:
    """The files, by path."""
    work = planned(netlist, options)
    constants = Constants()
    parts = written(work, constants)
    places = {
        "PREFIX": options.prefix,
        "ARCH": options.arch,
        "COMPILER": options.compiler,
        "KERNELS": options.kernels,
        "STANDARD": STANDARD,
        "STEPS": str(len(work.steps)),
        "CONSTANTS": str(constants.bytes),
        "SAMPLE_BYTES": str(sum(work.slots) * netlist.timesteps),
        "TICKS": str(netlist.timesteps),
    }
    texts = {name: (resources("spikeloom.backend.cuda") / "sources" / name).read_text() for name in COPIED}
    for name in ("main.cu", "Makefile", "README.md"):
        for key, value in places.items():
            texts[name] = texts[name].replace(f"@{key}@", value)
    texts["network.cuh"] = _header(work)
    texts["weights.cuh"] = _weights(options.prefix, constants)
    texts["network.cu"] = _network(work, parts)
    return {**{name: texts[name].encode() for name in sorted(texts)}, "golden.bin": packed(golden, netlist)}


def packed(golden: Golden, netlist: Netlist) -> bytes:
    """Golden vectors as the test program reads them: samples, whether there is an input for each tick, inputs, outputs, of 64 bits each."""
    streamed = golden.inputs.ndim == len(netlist.wires[netlist.source.name].shape) + 2
    numbers = [np.array([len(golden.outputs), int(streamed)]), golden.inputs.reshape(-1), golden.outputs.reshape(-1)]
    return np.concatenate(numbers).astype("<i8").tobytes()


def written(work: Work, constants: Constants) -> list[tuple[str, list[str]]]:
    """For each step its kernel or constants, and the lines that launch it."""
    widths = membrane_wires(work.netlist)
    parts = list[tuple[str, list[str]]]()
    for step in work.steps:
        match step.operation:
            case Affine() | Convolution():
                parts.append(product(step, step.operation, constants))
            case Pool():
                parts.append(pool(step, step.operation, work.netlist.timesteps))
            case _ if step.within:
                parts.append((elementwise(step, work.netlist, constants, widths), by_sample(step)))
            case _:
                parts.append(route(step, constants))
    return parts


def output_number(netlist: Netlist) -> Number:
    """The type of the sum of the output over all ticks."""
    wire = netlist.wires[netlist.output]
    return reckoned(max(-wire.low, wire.high, 0) * netlist.timesteps)


def _header(work: Work) -> str:
    netlist, prefix = work.netlist, work.options.prefix
    source, answer = netlist.wires[netlist.source.name], netlist.wires[netlist.output]
    return f"""// A spiking network in whole numbers for a GPU, emitted by Spikeloom.
//
// Who has the input x on the network's scale hands over round(x / step), half to even, within INPUT_LOW and INPUT_HIGH; an answer on the
// network's scale is output * unit / TICKS. step = {netlist.source.step!r}, unit = {netlist.unit!r}.
#ifndef SPIKELOOM_{prefix.upper()}_CUH
#define SPIKELOOM_{prefix.upper()}_CUH

#include "device.cuh"

namespace {prefix} {{

constexpr int TICKS = {netlist.timesteps}, INPUT_SIZE = {source.size}, OUTPUT_SIZE = {answer.size};
constexpr int INPUT_LOW = {literal(source.low)}, INPUT_HIGH = {literal(source.high)};

using input_t = {work.steps[0].reads[0].number.name};
using output_t = {output_number(netlist).name};

// Memory for a batch of so many samples.
class Network {{
  public:
    explicit Network(int64_t batch);
    ~Network();
    Network(const Network &) = delete;
    Network &operator=(const Network &) = delete;

    // All ticks of a batch from rest: input [batch, INPUT_SIZE], shown at every tick, or (streamed) [TICKS, batch, INPUT_SIZE]; output
    // [batch, OUTPUT_SIZE] is the sum over the ticks. Both lie on the device.
    void run(const input_t *input, bool streamed, output_t *output, cudaStream_t stream = nullptr);

  private:
    int64_t batch;
    char *slots[{len(work.slots)}];
    template <class X> X *at(int slot) const {{ return reinterpret_cast<X *>(slots[slot]); }}
}};

}}  // namespace {prefix}

#endif
"""


def _weights(prefix: str, constants: Constants) -> str:
    guard = f"SPIKELOOM_{prefix.upper()}_WEIGHTS_CUH"
    text = "\n".join(array.text for array in constants.arrays.values())
    return (
        f"// Weights and tables, emitted by Spikeloom.\n#ifndef {guard}\n#define {guard}\n\n"
        f'#include "kernels.cuh"\n\nnamespace {prefix} {{\n\n{text}\n}}  // namespace {prefix}\n\n#endif\n'
    )


def _network(work: Work, parts: list[tuple[str, list[str]]]) -> str:
    prefix = work.options.prefix
    kernels = "\n".join(text for text, _ in parts)
    launches = "\n".join(_launch(step, lines) for step, (_, lines) in zip(work.steps, parts, strict=True))
    slots = ", ".join(str(size) for size in work.slots)
    total, lines = _total(work)
    return f"""// A spiking network in whole numbers for a GPU, emitted by Spikeloom: step by step, each for all ticks at once.
#include "network.cuh"

#include "weights.cuh"

namespace {prefix} {{

{kernels}
{total}
static constexpr int64_t SLOT_BYTES[] = {{{slots}}};

Network::Network(int64_t batch_) : batch(batch_)
{{
    for (int slot = 0; slot < {len(work.slots)}; ++slot)
        slots[slot] = static_cast<char *>(spikeloom::reserved(static_cast<size_t>(SLOT_BYTES[slot] * batch * TICKS)));
}}

Network::~Network()
{{
    for (char *slot : slots)
        spikeloom::released(slot);
}}

void Network::run(const input_t *input, bool streamed, output_t *output, cudaStream_t stream)
{{
    using namespace spikeloom;
    [[maybe_unused]] const auto rows = [&](bool still) {{ return still && !streamed ? batch : batch * TICKS; }};
{launches}
    {{
{lines}
    }}
}}

}}  // namespace {prefix}
"""


def _launch(step: Step, lines: list[str]) -> str:
    name = step.operation.name if step.operation is not None else step.made.key
    return "\n".join([f"    {{  // {name}", *[f"        {line}" for line in lines], "    }"])


def _total(work: Work) -> tuple[str, str]:
    """The kernel that sums the output over all ticks, and its launch."""
    output = work.output
    place = "p" if output.layout.straight else "PLACE[p]"
    table = ", ".join(str(each) for each in output.layout.place.tolist())
    places = "" if output.layout.straight else f"static __device__ const int32_t PLACE[{len(output.layout.place)}] = {{{table}}};\n\n"
    text = f"""{places}// The sum over all ticks
__global__ void __launch_bounds__(256)
    total(const {output.number.name} *__restrict__ in, int64_t step, output_t *__restrict__ out, int64_t count)
{{
    const int64_t at = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (at >= count)
        return;
    const int p = static_cast<int>(at % OUTPUT_SIZE);
    output_t sum = 0;
    for (int tick = 0; tick < TICKS; ++tick)
        sum += in[tick * step + at / OUTPUT_SIZE * {output.layout.stride} + {place}];
    out[at] = sum;
}}
"""
    lines = f"""        const int64_t count = batch * OUTPUT_SIZE;
        launch<false>(total, blocks(count, 256), 256, stream, {address(output)}, {tick_step(output)}, output, count);"""
    return text, lines
