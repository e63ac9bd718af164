"""
Setting the bench up: samples, targets, prices and the ANN's mean activations, written where every worker can read them.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from spikeloom.errors import ConfigError, DataError, NumericError, ResourceError
from spikeloom.evolve.bench import HALF, Bench, Tally, mismatch, one_thread, settings_of
from spikeloom.evolve.limits import Limits
from spikeloom.evolve.network import Watch
from spikeloom.evolve.objective import chosen, writes_text
from spikeloom.evolve.prices import check_encoding, priced
from spikeloom.evolve.space import Space
from spikeloom.ir import Context, Program, kwargs_of, note, save, write_bytes
from spikeloom.neuron import by_channel
from spikeloom.simulate import Recorder, decoded, executable, populations, primary, repeated
from spikeloom.simulate.fidelity import MASKED, counterparts

Chunk = tuple[tuple[Tensor, ...], Tensor | None]
"""Inputs [B, …] and, where there are any, their labels [B]."""


def chunks_of(context: Context, program: Program, samples: int, size: int) -> list[Chunk]:
    """At most `samples` calibration samples, `size` at once. A batch of one tensor more than the program has inputs has labels in it.

    Raises ConfigError without a stream, DataError without samples or for batches of another number of tensors.
    """
    if context.calibration is None:
        raise ConfigError("a search needs calibration data", found="no calibration stream", todo="give a data set")
    wanted, found, taken = len(program.inputs), list[Chunk](), 0
    for batch in context.calibration():
        if len(batch) not in (wanted, wanted + 1):
            raise DataError(
                "calibration batches of another kind", found=f"{len(batch)} tensors", allowed=f"{wanted}, or {wanted + 1} with labels"
            )
        for part in zip(*(value.split(size) for value in batch), strict=True):
            cut = tuple(value[: samples - taken] for value in part)
            if len(cut[0]):
                found.append((cut[:wanted], cut[wanted] if len(cut) > wanted else None))
                taken += len(cut[0])
        if taken >= samples:
            break
    if not found:
        raise DataError("a search needs calibration samples", found="none", todo="give a data set that holds some")
    return found


def apart(chunks: Sequence[Chunk], share: float) -> tuple[list[Chunk], list[Chunk]]:
    """All samples but a share at the end, and that share; none where it is fewer than two samples."""
    count = sum(len(inputs[0]) for inputs, _ in chunks)
    left = count - int(share * count)
    if count - left < 2:
        return list(chunks), []
    first, rest = list[Chunk](), list[Chunk]()
    for inputs, labels in chunks:
        for place, rows in ((first, slice(0, max(left, 0))), (rest, slice(max(left, 0), None))):
            part = tuple(value[rows] for value in inputs)
            if len(part[0]):
                place.append((part, None if labels is None else labels[rows]))
        left -= len(inputs[0])
    return first, rest


def set_up(
    folder: Path,
    program: Program,
    context: Context,
    chunks: Sequence[Chunk],
    *,
    timesteps: int,
    limits: Limits,
    groups: int,
    parameters: tuple[str, ...],
    objective: str,
    encoding: str,
) -> Bench:
    """The bench of a program and its ANN on these samples, written into `folder` and read from there. Raises UserErrors for what the user
    can mend."""
    check_encoding(encoding)
    Space(program, timesteps, limits, groups, parameters)
    _check_audible(program, timesteps, chunks[0][0])
    outputs, data = _of_the_ann(program, context, chunks)
    named = chosen(objective, program, torch.cat([value[:1] for value in outputs]), all(labels is not None for _, labels in chunks))
    for place, ((inputs, labels), output) in enumerate(zip(chunks, outputs, strict=True)):
        data |= {f"input.{place}.{k}": value for k, value in enumerate(inputs)}
        data[f"target.{place}"] = _target(named, program, inputs, labels, output)
    told: dict[str, Any] = {"timesteps": timesteps, "objective": named, "variance": _variance(outputs), "limits": limits, "groups": groups}
    told |= {"parameters": list(parameters), "prices": priced(program, timesteps, (inputs for inputs, _ in chunks), encoding)}
    _write(folder, program, data, told)
    write_bytes(folder / "bench.json", settings_of({**told, "match": _match(Bench(folder))}).encode())
    return Bench(folder)


def _match(bench: Bench) -> float:
    """The divergence of the program as given over its mean mismatch with the ANN's activations; 0 where it has none."""
    tally, total = Tally(bench), list[float]()

    def listening(exact: Mapping[str, Tensor]) -> Watch:
        return lambda name, driving, sent: (
            total.append(float(mismatch(decoded(sent, bench.timesteps), exact[name]))) if name in exact else None
        )

    with torch.no_grad(), one_thread():
        for inputs, target, exact in zip(bench.chunks, bench.targets, bench.activations, strict=True):
            tally.answered(bench.network.run(inputs, bench.network.own, listening(exact)), target)
    return tally.outcome().divergence * len(total) / max(sum(total), 1e-30) if total else 0.0


def _target(objective: str, program: Program, inputs: tuple[Tensor, ...], labels: Tensor | None, output: Tensor) -> Tensor:
    if objective != "task":
        return output
    if writes_text(program):
        return inputs[0]
    if (
        labels is None
        or labels.dtype.is_floating_point
        or labels.ndim != 1
        or bool((labels < 0).any())
        or bool((labels >= output.shape[-1]).any())
    ):
        found = "none" if labels is None else f"{labels.dtype}, {tuple(labels.shape)}"
        raise DataError(
            "labels that are no classes of this network", found=found, allowed=f"whole numbers 0 … {output.shape[-1] - 1}, one a sample"
        )
    return labels.long()


def _of_the_ann(program: Program, context: Context, chunks: Iterable[Chunk]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """The ANN's answers of every chunk, and its activations and their means for each channel of the populations that it has counterparts
    of; those that are free to differ from it by a factor (softmax's) are left out."""
    if context.reference is None:
        raise ConfigError("a search needs the ANN", found="no reference", todo="keep the captured ANN in the context")
    ann, nodes = context.reference, {node.name: node for node in populations(program)}
    stand_for = {name: source for name, source in counterparts(program, ann).items() if "free" not in note(nodes[name])}
    recorder, outputs, sums = Recorder(ann.module(), stand_for.values()), list[Tensor](), dict[str, list[Tensor]]()
    kept = dict[str, Tensor]()
    with torch.no_grad():
        for inputs, _ in chunks:
            outputs.append(primary(recorder.run(*inputs)).float().contiguous())
            for name, source in stand_for.items():
                kept[f"act.{len(outputs) - 1}.{name}"] = recorder.kept[source].clamp(-HALF, HALF).half()
                rows = by_channel(recorder.kept[source], kwargs_of(nodes[name]).get("axis", 1)).double()
                seen = rows > MASKED
                found = [torch.where(seen, rows, 0.0).sum(1), seen.sum(1)]
                sums[name] = [a + b for a, b in zip(sums[name], found, strict=True)] if name in sums else found
    _check_finite(outputs)
    return outputs, kept | {f"ann.{name}": total / count.clamp_min(1) for name, (total, count) in sums.items()}


def _check_finite(outputs: Iterable[Tensor]) -> None:
    if not all(bool(value.isfinite().all()) for value in outputs):
        raise NumericError("the ANN's answers are not finite on the calibration data", todo="check its weights and the preprocessing")


def _check_audible(program: Program, timesteps: int, inputs: tuple[Tensor, ...]) -> None:
    """Raises NumericError where no population sends anything: there is nothing to steer by."""
    names = [node.name for node in populations(program)]
    recorder = Recorder(executable(program, timesteps), names)
    with torch.no_grad():
        recorder.run(*(repeated(value, timesteps) for value in inputs))
    if not any(bool((value != 0).any()) for value in recorder.kept.values()):
        raise NumericError(
            "no neuron of this network ever fires on the calibration data",
            found=f"{len(names)} silent populations",
            todo="calibrate its thresholds first, check the weights and the preprocessing",
        )


def _variance(outputs: Iterable[Tensor]) -> float:
    """The mean variance of the ANN's outputs over samples, by which squared errors are divided."""
    every: Float[Tensor, "n d"] = torch.cat([value.flatten(1) for value in outputs]).double()
    return max(float(every.var(0, unbiased=False).mean()), 1e-12)


def _write(folder: Path, program: Program, data: Mapping[str, Tensor], told: Mapping[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save(program, folder / "program")
        save_file({name: tensor.contiguous().clone() for name, tensor in data.items()}, folder / "data.safetensors")
    except (OSError, SafetensorError) as error:
        raise ResourceError(f"cannot write to {folder}", found=str(error), todo="free some disk space, or choose another folder") from error
    write_bytes(folder / "bench.json", settings_of(told).encode())
