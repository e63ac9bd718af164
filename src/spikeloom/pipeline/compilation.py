"""
Compilation: a spiking network → whole numbers → a target's files, compared with the integer reference before they are handed out.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from pydantic import ValidationError

from spikeloom.backend import TARGETS, Golden, Target, TargetOptions, Verdict
from spikeloom.backend.folder import COMPILED, digests, files_of, write_files, written_whole
from spikeloom.backend.lower import InputRange, lower, obstacles, refuse
from spikeloom.errors import ConfigError, DataError, NumericError, ResourceError
from spikeloom.ir import Progress, silent
from spikeloom.ir.hardware import Netlist
from spikeloom.pipeline.calibration import calibration_stream
from spikeloom.pipeline.evaluation import Batch
from spikeloom.pipeline.input_range import input_range
from spikeloom.pipeline.library import batches_of
from spikeloom.pipeline.memory import within_memory
from spikeloom.pipeline.settings import Settings
from spikeloom.pipeline.tasks import task_of
from spikeloom.simulate import SpikingModel, primary
from spikeloom.simulate.integers import answers, quantised_input, run_integers

VECTORS = 16
"""Golden vectors shipped with a compiled network."""
BATCH = 64
NO_NETLIST = "the network cannot be put into whole numbers"


@final
@dataclass(frozen=True)
class Compilation:
    """What a compilation left: the folder, the netlist, and what compiled.json says."""

    folder: Path
    netlist: Netlist
    told: dict[str, Any]


@within_memory()
def compile_folder(
    folder: Path,
    target: str,
    output_dir: Path,
    options: Mapping[str, str] | None = None,
    *,
    dataset: str | None = None,
    data_root: Path | None = None,
    samples: int = 512,
    vectors: int = VECTORS,
    verify: bool = True,
    progress: Progress = silent,
) -> Compilation:
    """The network of a folder compiled into `output_dir`: the target's files, the netlist, golden vectors and compiled.json.

    `samples` test samples are answered by the floating and by the integer network; the first `vectors` are the golden ones. Raises
    ConfigError for an unknown target or option, UnsupportedError naming everything that the target cannot take, NumericError where what
    was emitted does not answer as the reference does (nothing is left then), ResourceError where the folder cannot be written.
    """
    chosen = target_named(target)
    asked = options_of(chosen, options or {})
    snn = SpikingModel.open(folder)
    refuse(NO_NETLIST, obstacles(snn.program, snn.timesteps))
    address = dataset or str(snn.program.settings.get("dataset", "digits"))
    settings = Settings(dataset=address, data_root=data_root, timesteps=snn.timesteps, batch_size=BATCH)
    progress("reading the input's range", 0, 0)
    given = input_range(snn.program, calibration_stream(snn.program, address, settings, 512)())
    netlist = lowered(snn, chosen, asked, given, progress)
    data = task_of(snn.program.settings).samples(address, "test", snn.program, settings, max(samples, vectors))
    golden, found = judged(snn, netlist, data.read(BATCH, None), vectors, progress, data.count)
    found |= {"dataset": address, "lowered": origin(folder, given)}
    return emitted(chosen, asked, netlist, golden, output_dir, found, verify=verify, progress=progress)


@within_memory()
def compile_model(
    snn: SpikingModel,
    output_dir: str | Path,
    data: Any,
    *,
    target: str = "c",
    options: Mapping[str, str] | None = None,
    samples: int = 512,
    vectors: int = VECTORS,
    verify: bool = True,
    progress: Progress = silent,
) -> Compilation:
    """A network in memory compiled into `output_dir`, as `compile_folder`; `data` (inputs, or (inputs, labels) batches, or an address) give
    the input's range, the comparison with the floating network and the golden vectors."""
    chosen = target_named(target)
    asked = options_of(chosen, options or {})
    refuse(NO_NETLIST, obstacles(snn.program, snn.timesteps))
    settings = Settings(dataset=data if isinstance(data, str) else "the data given", timesteps=snn.timesteps, batch_size=BATCH)
    kept = list(batches_of(snn.program, data, "test", settings, max(samples, vectors)))
    netlist = lowered(snn, chosen, asked, input_range(snn.program, (inputs for inputs, _ in kept)), progress)
    golden, found = judged(snn, netlist, iter(kept), vectors, progress, len(kept))
    return emitted(chosen, asked, netlist, golden, Path(output_dir), found, verify=verify, progress=progress)


def lowered(snn: SpikingModel, target: Target, options: TargetOptions, given: InputRange, progress: Progress) -> Netlist:
    """The netlist in the form that the target wants. Raises UnsupportedError naming all that stands against it."""
    progress("lowering", 0, 0)
    netlist = lower(snn.program, snn.timesteps, given, target.form(options))
    refuse(f"{target.title} cannot take this network", target.refusals(netlist, options))
    return netlist


def origin(folder: Path, given: InputRange) -> dict[str, Any]:
    """What was lowered, for `replaying`: the network's folder, the digest of its program (which holds those of its tensors), the range."""
    network = hashlib.sha256((folder / "program.json").read_bytes()).hexdigest()
    return {"folder": str(folder.resolve()), "network": network, "range": [given.low, given.high, given.step]}


def target_named(name: str) -> Target:
    """A target by its name. Raises ConfigError for another name."""
    if name not in TARGETS:
        raise ConfigError("the target is unknown", found=name, allowed=", ".join(TARGETS), todo="spikeloom compile --list-targets")
    return TARGETS[name]


def options_of(target: Target, given: Mapping[str, str]) -> TargetOptions:
    """A target's options from words. Raises ConfigError naming the key, what was found and what is allowed."""
    try:
        return target.options.model_validate(dict(given), strict=False)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"])
        fields = ", ".join(f"{name}={field.default}" for name, field in target.options.model_fields.items())
        allowed = fields if problem["type"] == "extra_forbidden" else problem["msg"]
        found = f"{key}={problem.get('input')}"
        raise ConfigError(f"an option of the target {target.name} cannot be", found=found, allowed=allowed or "no options") from error


def judged(
    snn: SpikingModel, netlist: Netlist, batches: Iterator[Batch], vectors: int, progress: Progress, total: int
) -> tuple[Golden, dict[str, Any]]:
    """Golden vectors from the first samples, and how the integer network answers beside the floating one."""
    inputs, right, same, count, done = list[Any](), [0, 0], 0, 0, 0
    labelled = True
    for batch, labels in batches:
        x = batch[0].numpy()
        inputs += [quantised_input(netlist, x)] if sum(map(len, inputs)) < vectors else []
        with torch.no_grad():
            floating = primary(snn(*batch)).argmax(-1)
        whole = torch.from_numpy(answers(netlist, x, BATCH)).argmax(-1)
        same, count, done = same + int((floating == whole).sum()), count + floating.numel(), done + len(x)
        labelled = labelled and labels is not None
        for place, answer in enumerate((floating, whole)):
            right[place] += int((answer == labels).sum()) if labels is not None else 0
        progress("comparing with the floating network", done, total)
    shares = {"accuracy": right[1] / count, "accuracy_floating": right[0] / count} if labelled and count else {}
    if not inputs:
        raise DataError("there is nothing to compare on", found="no samples", todo="give a data set")
    first = np.concatenate(inputs)[:vectors]
    return Golden(first, run_integers(netlist, first)), {"samples": done, "agreement": same / max(count, 1), **shares}


def emitted(
    target: Target,
    options: TargetOptions,
    netlist: Netlist,
    golden: Golden,
    output_dir: Path,
    found: Mapping[str, Any],
    *,
    verify: bool = True,
    progress: Progress = silent,
) -> Compilation:
    """The target's files in `output_dir`, run on the golden vectors where `verify` asks for it and the tools are there."""
    progress(f"writing {target.title}", 0, 0)
    files = files_of(netlist, golden, target.emit(netlist, golden, options))
    told: dict[str, Any] = {"target": target.name, "options": options.model_dump(mode="json"), "timesteps": netlist.timesteps, **found}
    told |= {"neurons": netlist.neurons, "weights": netlist.parameters, "report": dict(target.report(netlist, options))}
    with written_whole(output_dir) as place:
        write_files(place, files)
        if verify:
            progress("running the golden vectors", 0, 0)
            told["verified"] = compared(target, options, place, netlist, golden)
        told["files"] = digests(files)
        (place / COMPILED).write_text(json.dumps(told, indent=1) + "\n")
    return Compilation(output_dir, netlist, told)


def compared(target: Target, options: TargetOptions, folder: Path, netlist: Netlist, golden: Golden) -> dict[str, Any]:
    """How the files of a folder answer the golden vectors. Raises NumericError where any answer differs; a missing tool is told."""
    try:
        verdict = target.verify(folder, netlist, golden, options)
    except ResourceError as error:
        return {"ran": False, "why": str(error)}
    if verdict.mismatches:
        raise NumericError(
            f"what {target.title} was given does not answer as the integer reference",
            found=f"{verdict.mismatches} of {verdict.samples} samples differ ({verdict.how})",
            todo="if nobody altered the files, please report it; a folder that is being compiled is not kept",
        )
    return _row(verdict)


def _row(verdict: Verdict) -> dict[str, Any]:
    return {"ran": True, "samples": verdict.samples, "mismatches": verdict.mismatches, "how": verdict.how, **verdict.numbers}
