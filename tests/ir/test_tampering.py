"""
Tampered folders: whatever is wrong with one, loading it is one ProgramError, and nothing of it is executed.

Two kinds of harm. An accident truncates, flips or loses a file: the digests tell. An attacker writes what he likes and
signs it again: names resolve through the allow-list alone, and no name of his becomes source code (torch.fx writes the
names of inputs and constants into the Python it generates).
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.ir.networks import captured
from torch import nn

from spikeloom.errors import ProgramError
from spikeloom.ir import Program, load, save, store
from spikeloom.plan import plan

Body = dict[str, Any]
FILES = ("program.json", "model.safetensors", "config.json", "records.json")


@pytest.fixture(scope="module")
def program() -> Program:
    program = captured(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 2)), 2, 3)
    return program.replaced(plan=plan(program), settings={"source": "here"})


@pytest.fixture(scope="module")
def saved(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "program"
    save(program, folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A whole saved program of the test's own, beside nothing."""
    return Path(shutil.copytree(saved, tmp_path / "program"))


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path) -> Iterator[None]:
    """No test here may leave the file that every payload tries to make."""
    yield
    assert not marker(tmp_path).exists()


def marker(place: Path) -> Path:
    return place / "executed"


def payload(place: Path) -> str:
    """Python that makes the marker when it runs (no dots: torch.fx takes names apart at them)."""
    return f"open({str(marker(place))!r}, 'w')"


def altered(folder: Path, edit: Callable[[Body], object]) -> None:
    """Alter program.json by an attacker's hand: valid JSON, every digest right again."""
    body = json.loads((folder / "program.json").read_text())
    edit(body)
    body["digests"] = {name: store.digest(folder / name) for name in FILES[1:]}
    body["digests"]["program.json"] = store.body_digest(body)
    (folder / "program.json").write_text(json.dumps(body))


def row(body: Body, name: str) -> Body:
    """The row of one node."""
    return next(row for row in body["graph"] if row["name"] == name)


def refused(folder: Path, message: str | None = None) -> None:
    """Loading is one ProgramError, whose message fits, and nothing else; where it is none, the program runs and shows its harm."""
    with pytest.raises(ProgramError, match=message):
        load(folder).module()(torch.ones(1, 3))


def test_signing_again_changes_nothing_by_itself(folder: Path) -> None:
    altered(folder, lambda body: None)
    assert load(folder).module()(torch.ones(1, 3)).shape == (1, 2)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_refused(name: str, share: float, folder: Path) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data.rstrip()) * share)])
    refused(folder, name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    refused(folder, f"no {name}")


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_refused_wherever_it_is(name: str, folder: Path) -> None:
    data = (folder / name).read_bytes()
    for place in range(0, len(data), max(1, len(data) // 60)):
        (folder / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        refused(folder)


def test_a_number_changed_in_the_graph_is_refused(folder: Path) -> None:
    text = (folder / "program.json").read_text()
    (folder / "program.json").write_text(text.replace('"node": "relu"', '"node": "rely"'))
    refused(folder, r"program.json is truncated or altered")


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_a_files_place_is_refused(name: str, folder: Path) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{}")
    refused(tmp_path / "file", "is not a saved program")
    refused(tmp_path / "nowhere", "is not a saved program")


@pytest.mark.parametrize(
    "text",
    [
        *["null", "[]", "1", '"program"', "{}", '{"format": 1}', '{"format": 1, "digests": []}'],
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("1" * 10_000, id="long"),
        pytest.param("\udcff", id="not UTF-8"),
    ],
)
def test_json_that_is_no_program_is_refused(text: str, folder: Path) -> None:
    (folder / "program.json").write_bytes(text.encode(errors="surrogateescape"))
    refused(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_format_is_refused(version: object, folder: Path) -> None:
    altered(folder, lambda body: body.update(format=version))
    refused(folder, r"(?s)saved in another format.*allowed: 1")


@pytest.mark.parametrize(
    "target",
    [
        "aten.from_file.default",
        "aten.relu_.default",
        "aten.relu",
        "os.system",
        "builtins.exec",
        "builtins.getattr",
        "operator.methodcaller",
        "torch.load",
        "torch.ops.load_library",
        "",
        None,
        ["aten.relu.default"],
    ],
)
def test_an_operation_outside_the_allow_list_is_refused(target: object, folder: Path, tmp_path: Path) -> None:
    altered(folder, lambda body: row(body, "relu").update(target=target, args=[f"touch {marker(tmp_path)}"]))
    refused(folder)


@pytest.mark.parametrize("op", ["call_module", "call_method", "root", "", None])
def test_a_node_of_another_kind_is_refused(op: object, folder: Path) -> None:
    altered(folder, lambda body: row(body, "relu").update(op=op, target="relu"))
    refused(folder, "a node of a kind no program has")


@pytest.mark.parametrize(
    "form",
    [
        "input_1={code}",
        "*input_1",
        "**input_1",
        "input_1, other={code}",
        "input_1):\n        return {code}\n    def other(self, y",
        3,
        None,
    ],
)
def test_no_name_of_an_input_becomes_source_code(form: Any, folder: Path, tmp_path: Path) -> None:
    evil = form.format(code=payload(tmp_path)) if isinstance(form, str) else form
    altered(folder, lambda body: row(body, "input_1").update(target=evil))
    refused(folder, "a name that is no plain name")


@pytest.mark.parametrize("form", ['0"), {code}, getattr(self, "0', "0\\", "0\n{code}", "0\r{code}", "0\0"])
def test_no_name_of_a_constant_becomes_source_code(form: str, folder: Path, tmp_path: Path) -> None:
    renamed(folder, "0.weight", form.format(code=payload(tmp_path)))
    refused(folder, "a name that is no plain name")


def test_a_constant_may_have_any_name_that_stays_within_its_quotes(folder: Path, tmp_path: Path) -> None:
    renamed(folder, "0.weight", f"x/y:0.it's ü = {payload(tmp_path)} #{{x}}")
    assert load(folder).module()(torch.ones(1, 3)).shape == (1, 2)


def renamed(folder: Path, old: str, new: str) -> None:
    """Give a constant another name, in the tensors and in the graph."""
    tensors = load_file(folder / "model.safetensors")
    save_file({new if name == old else name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    altered(folder, lambda body: next(row for row in body["graph"] if row["target"] == old).update(target=new))


def test_no_keyword_becomes_source_code(folder: Path, tmp_path: Path) -> None:
    altered(folder, lambda body: row(body, "relu")["kwargs"].update({f"x={payload(tmp_path)}, y": 1}))
    refused(folder)


@pytest.mark.parametrize("name", ["relu); {code} #", "class", "linear", "re lu", 3, None])
def test_a_node_name_that_torch_would_not_give_is_refused(name: Any, folder: Path, tmp_path: Path) -> None:
    name = name.format(code=payload(tmp_path)) if isinstance(name, str) else name
    altered(folder, lambda body: row(body, "relu").update(name=name))
    refused(folder)


def test_an_operation_that_reads_a_later_one_is_refused(folder: Path) -> None:
    altered(folder, lambda body: row(body, "relu").update(args=[{"%": "linear_1"}]))
    refused(folder, r"(?s)reads a value that does not exist yet.*%linear_1")


def test_a_shape_that_disagrees_is_refused(folder: Path) -> None:
    altered(folder, lambda body: row(body, "relu").update(spec=[[2, 3], "float32"]))
    refused(folder, r"(?s)does not hold a valid program.*the shape of %relu disagrees")


def test_a_dtype_that_disagrees_is_refused(folder: Path) -> None:
    altered(folder, lambda body: row(body, "relu").update(spec=[[2, 2], "float64"]))
    refused(folder, r"the shape of %relu disagrees")


def test_tensors_that_do_not_fit_the_graph_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "2.weight": torch.zeros(2, 7)}, folder / "model.safetensors")
    altered(folder, lambda body: None)
    refused(folder, "shapes disagree|disagrees")


def test_a_constant_that_is_not_there_is_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["2.bias"]
    save_file(tensors, folder / "model.safetensors")
    altered(folder, lambda body: None)
    refused(folder, r"reads constants the program does not hold")


@pytest.mark.parametrize(
    "args",
    [
        [{"eval": "print()"}],
        [{"%": "linear", "tuple": []}],
        [{"%": ["linear"]}],
        [{"slice": "abcd"}],
        [{"dict": 3}],
        [{"dtype": "load"}],
        [{"device": "cuda:x"}],
        [{"float": "1e400"}],
        {"%": "linear"},
        "linear",
        7,
        None,
    ],
    ids=str,
)
def test_an_argument_in_a_strange_form_is_refused(args: object, folder: Path) -> None:
    altered(folder, lambda body: row(body, "relu").update(args=args))
    refused(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: body.update(dialect="cnn"),
        lambda body: body.update(dialect="hw"),
        lambda body: body.update(graph=[]),
        lambda body: body.update(graph=None),
        lambda body: body["graph"].pop(),
        lambda body: body["graph"].append(dict(body["graph"][0])),
        lambda body: row(body, "relu").pop("kwargs"),
        lambda body: row(body, "relu").update(kwargs=[]),
        lambda body: row(body, "relu").update(note=1),
        lambda body: row(body, "relu").update(spec=3),
        lambda body: body.update(inputs=[]),
        lambda body: body["inputs"].append(body["inputs"][0]),
        lambda body: body["inputs"][0].update(name="y"),
        lambda body: body["inputs"][0].update(shape=[2, -3]),
        lambda body: body["inputs"][0].update(shape="23"),
        lambda body: body["inputs"][0].update(dtype="load"),
        lambda body: body["inputs"][0].update(size=3),
        lambda body: body["plan"][0].update(strange=1),
        lambda body: body.update(plan=3),
        lambda body: body.pop("inputs"),
    ],
)
def test_a_program_that_is_odd_in_any_other_way_is_refused(edit: Callable[[Body], object], folder: Path) -> None:
    altered(folder, edit)
    refused(folder)
