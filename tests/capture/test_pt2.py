"""`pt2:` archives: ordinary ones load as plain data; whatever could run code is refused or never looked at."""

import contextlib
import io
import json
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from spikeloom.capture import capture, load, resolve
from spikeloom.capture.opened import Request
from spikeloom.capture.pt2 import open_pt2
from spikeloom.errors import SourceError, UnsupportedError, UserError

ROOT = "plain"
GRAPH = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
WEIGHTS = "data/weights/model_weights_config.json"
Edit = Callable[[dict[str, Any]], None]


class Net(nn.Module):
    """In-place activation, two halves of a split, a constant, outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
        self.act, self.drop = nn.ReLU(inplace=True), nn.Dropout()

    def forward(self, x: Tensor) -> dict[str, Any]:
        left, right = self.act(self.norm(self.conv(x))).chunk(2, 1)
        y = torch.cat([right, left * torch.tensor(2.0)], 1).flatten(2).max(-1)
        return {"logits": self.head(self.drop(y.values)), "both": (left, right.masked_fill(right > 1, float("-inf")))}


class Payload:
    """A pickle that leaves a folder behind when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / f"{ROOT}.pt2"
    torch.manual_seed(0)
    exported = torch.export.export(Net().eval(), (torch.randn(2, 3, 6, 6),), dynamic_shapes=({0: Dim.DYNAMIC},))
    torch.export.save(exported, path)
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix(f"{ROOT}/"): archive.read(name) for name in archive.namelist()}


def rewritten(plain: Path, target: Path, changes: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in (members(plain) | changes).items():
            archive.writestr(f"{ROOT}/{name}", data)
    return target


def edited(plain: Path, target: Path, edit: Edit, member: str = GRAPH) -> Path:
    body = json.loads(members(plain)[member])
    edit(body)
    return rewritten(plain, target, {member: json.dumps(body).encode()})


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def test_an_ordinary_archive_loads_and_equals_the_model(plain: Path) -> None:
    source = resolve(f"pt2:{plain}")
    program = capture(source.model, source.args, source.kwargs, source.settings)
    assert [(spec.name, spec.shape, spec.dynamic) for spec in program.inputs] == [("x", (2, 3, 6, 6), True)]
    assert (source.settings["classes"], source.settings["input_shape"]) == (3, [3, 6, 6])
    model = torch.export.load(plain).module()
    for batch in (1, 2, 5):
        x = torch.randn(batch, 3, 6, 6)
        with torch.no_grad():
            wanted, found = model(x), program.module()(x)
        torch.testing.assert_close(found["logits"], wanted["logits"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found["both"], wanted["both"], atol=1e-5, rtol=1e-5)


def test_a_trusted_archive_loads_by_torch_to_the_same_program(plain: Path) -> None:
    x = torch.randn(3, 3, 6, 6)
    ours, torchs = load(f"pt2:{plain}").module()(x), load(f"pt2:{plain}", allow_pickle=True).module()(x)
    torch.testing.assert_close(ours, torchs, atol=1e-5, rtol=1e-5)


def test_an_archive_of_a_fixed_batch_keeps_it(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(2, -1)

    torch.export.save(torch.export.export(Fixed(), (torch.randn(2, 3, 4),)), tmp_path / "f.pt2")
    assert not load(f"pt2:{tmp_path / 'f.pt2'}").inputs[0].dynamic


@pytest.mark.parametrize(
    ("member", "pack"),
    [
        (SAMPLES, saved),
        (SAMPLES, pickle.dumps),
        ("data/constants/custom_obj_0", pickle.dumps),
        ("data/constants/opaque_obj_0", pickle.dumps),
        ("data/weights/model.pt", saved),
        ("data/constants/model.pt", saved),
        ("data/elsewhere", pickle.dumps),
        ("data/more.pkl", lambda _: b"(dp0\n."),
    ],
)
def test_pickled_payloads_are_refused_by_name_and_never_run(plain: Path, tmp_path: Path, member: str, pack: Callable[[Any], bytes]) -> None:
    marker = tmp_path / "ran"
    path = rewritten(plain, tmp_path / "m.pt2", {member: pack(Payload(marker))})
    with pytest.raises(SourceError, match=rf"(?s)pickled payloads.*{member}.*--allow-pickle"):
        resolve(f"pt2:{path}")
    assert not marker.exists()


def test_the_payload_of_these_tests_is_live_where_the_user_trusts_it(plain: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = rewritten(plain, tmp_path / "m.pt2", {SAMPLES: saved((Payload(marker), {}))})
    with pytest.raises(SourceError):
        resolve(f"pt2:{path}", allow_pickle=True)  # torch unpickles it, then finds that it is no input
    assert marker.exists()


def test_weights_said_to_be_pickled_are_refused(plain: Path, tmp_path: Path) -> None:
    marker, body = tmp_path / "ran", json.loads(members(plain)[WEIGHTS])
    body["config"]["head.bias"]["use_pickle"] = True
    name = f"data/weights/{body['config']['head.bias']['path_name']}"
    path = rewritten(plain, tmp_path / "m.pt2", {WEIGHTS: json.dumps(body).encode(), name: saved(Payload(marker))})
    with pytest.raises(SourceError, match=name):
        resolve(f"pt2:{path}")
    assert not marker.exists()


def test_compiled_code_is_never_touched(plain: Path, tmp_path: Path) -> None:
    path = rewritten(plain, tmp_path / "m.pt2", {"data/aotinductor/model/wrapper.so": b"\x7fELF nothing"})
    assert resolve(f"pt2:{path}").settings["classes"] == 3


def test_a_size_that_is_python_code_is_never_evaluated(plain: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    def poison(body: dict[str, Any]) -> None:
        for meta in body["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(marker)!r})"

    path = edited(plain, tmp_path / f"{ROOT}.pt2", poison)
    assert resolve(f"pt2:{path}").settings["classes"] == 3
    assert not marker.exists()
    with contextlib.suppress(Exception):  # torch's own reader evaluates it, then stumbles over the result
        torch.export.load(path)
    assert marker.exists()


def nodes(body: dict[str, Any]) -> list[dict[str, Any]]:
    return body["graph_module"]["graph"]["nodes"]


def _foreign_target(body: dict[str, Any]) -> None:
    nodes(body)[0]["target"] = "torch.hub.os.system"


def _file_target(body: dict[str, Any]) -> None:
    nodes(body)[0]["target"] = "torch.ops.aten.from_file.default"


def _operator_target(body: dict[str, Any]) -> None:
    nodes(body)[0]["target"] = "_operator.methodcaller"


@pytest.mark.parametrize("edit", [_foreign_target, _file_target, _operator_target])
def test_operations_outside_the_allow_list_are_named(plain: Path, tmp_path: Path, edit: Edit) -> None:
    with pytest.raises(UnsupportedError, match=r"(?s)outside the allow-list.*(system|from_file|methodcaller)"):
        resolve(f"pt2:{edited(plain, tmp_path / 'm.pt2', edit)}")


def _input_name(body: dict[str, Any]) -> None:
    text = json.dumps(body["graph_module"])
    for plain, poisoned in (('"name": "x"', '"name": "x=print(1)"'), ('"x": {"dtype"', '"x=print(1)": {"dtype"')):
        text = text.replace(plain, poisoned)
    body["graph_module"] = json.loads(text)


def _weight_name(body: dict[str, Any]) -> None:
    specs = body["graph_module"]["signature"]["input_specs"]
    next(spec["parameter"] for spec in specs if "parameter" in spec)["parameter_name"] = 'a") or print(1) or ("'


def _argument_name(body: dict[str, Any]) -> None:
    nodes(body)[0]["inputs"][0] |= {"name": "x=print(1), y", "kind": 2}


@pytest.mark.parametrize("edit", [_input_name, _weight_name, _argument_name])
def test_names_that_would_become_source_code_are_refused(plain: Path, tmp_path: Path, edit: Edit) -> None:
    with pytest.raises(SourceError, match="do not trust this file"):
        resolve(f"pt2:{edited(plain, tmp_path / 'm.pt2', edit)}")


def test_a_tree_specification_imports_nothing(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "poison.py").write_text("raise SystemExit('imported')")

    def poison(body: dict[str, Any]) -> None:
        signature = body["graph_module"]["module_call_graph"][0]["signature"]
        spec = json.loads(signature["out_spec"])
        context = {"default_factory_module": "poison", "default_factory_name": "f", "dict_context": ["logits", "both"]}
        spec[1] |= {"type": "collections.defaultdict", "context": context}
        signature["out_spec"] = json.dumps(spec)

    path = edited(plain, tmp_path / "m.pt2", poison)
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(SourceError, match="damaged archive"):
            resolve(f"pt2:{path}")
    finally:
        os.chdir(before)


def _training(body: dict[str, Any]) -> None:
    for node in nodes(body):
        for said in node["inputs"]:
            if said["name"] == "training":
                said["arg"] = {"as_bool": True}


def _schema(body: dict[str, Any]) -> None:
    body["schema_version"]["major"] = 9


@pytest.mark.parametrize(("edit", "said"), [(_training, "training mode"), (_schema, "another schema")])
def test_what_cannot_be_converted_is_one_error(plain: Path, tmp_path: Path, edit: Edit, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        resolve(f"pt2:{edited(plain, tmp_path / 'm.pt2', edit)}")


def _no_graph(body: dict[str, Any]) -> None:
    del body["graph_module"]


def _no_value(body: dict[str, Any]) -> None:
    nodes(body)[1]["inputs"][0]["arg"] = {"as_tensor": {"name": "nobody"}}


def _odd_argument(body: dict[str, Any]) -> None:
    nodes(body)[1]["inputs"][0]["arg"] = {"as_tensor": 7}


@pytest.mark.parametrize("edit", [_no_graph, _no_value, _odd_argument])
def test_a_graph_that_makes_no_sense_is_one_error(plain: Path, tmp_path: Path, edit: Edit) -> None:
    with pytest.raises(SourceError, match="damaged archive"):
        resolve(f"pt2:{edited(plain, tmp_path / 'm.pt2', edit)}")


def test_a_weight_larger_than_its_bytes_is_one_error(plain: Path, tmp_path: Path) -> None:
    def grow(body: dict[str, Any]) -> None:
        body["config"]["head.weight"]["tensor_meta"]["sizes"] = [{"as_int": 1000}, {"as_int": 1000}]

    with pytest.raises(SourceError, match=r"(?s)damaged archive.*weight_"):
        resolve(f"pt2:{edited(plain, tmp_path / 'm.pt2', grow, WEIGHTS)}")


@pytest.mark.parametrize("share", [0.2, 0.8, 0.999])
def test_a_truncated_archive_is_one_error(plain: Path, tmp_path: Path, share: float) -> None:
    path = tmp_path / "m.pt2"
    path.write_bytes(plain.read_bytes()[: int(plain.stat().st_size * share)])
    with pytest.raises(SourceError, match="damaged"):
        resolve(f"pt2:{path}")


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(60)])
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_what_is_no_archive_is_one_error(tmp_path: Path, content: bytes, allow_pickle: bool) -> None:
    (tmp_path / "m.pt2").write_bytes(content)
    with pytest.raises(SourceError, match=r"m\.pt2"):
        resolve(f"pt2:{tmp_path / 'm.pt2'}", allow_pickle=allow_pickle)


def test_a_zip_of_something_else_a_folder_and_nothing_are_one_error_each(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("a/readme", "hello")
    with pytest.raises(SourceError, match="without archive_format"):
        resolve(f"pt2:{tmp_path / 'm.pt2'}")
    with pytest.raises(SourceError, match="is a folder"):
        resolve(f"pt2:{tmp_path}")
    with pytest.raises(SourceError, match="there is no file"):
        resolve(f"pt2:{tmp_path / 'none.pt2'}")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(plain: Path, tmp_path: Path) -> None:
    path = rewritten(plain, tmp_path / "m.pt2", {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"{ROOT}/{GRAPH}", b"{}")
    with pytest.raises(SourceError, match="two members of one name"):
        resolve(f"pt2:{path}")


def scrambled(value: Any, generator: random.Random) -> None:
    """One place of a JSON value, deep inside, is something else."""
    while isinstance(value, dict | list) and value:
        key = generator.choice(list(value)) if isinstance(value, dict) else generator.randrange(len(value))
        if not isinstance(value[key], dict | list) or not value[key] or generator.random() < 0.1:
            value[key] = generator.choice([None, -1, 10**12, 2.5, "zz", [], {"as_int": 3}])
            return
        value = value[key]


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_archive_loads_or_is_one_error_never_a_crash(plain: Path, tmp_path: Path, seed: int) -> None:
    generator, path, refused = random.Random(seed), tmp_path / "m.pt2", 0
    for turn in range(60):
        if turn % 2:
            data = bytearray(plain.read_bytes())
            for _ in range(3):
                data[generator.randrange(len(data))] = generator.randrange(256)
            path.write_bytes(data)
        else:
            edited(plain, path, lambda body: scrambled(body, generator), generator.choice([GRAPH, WEIGHTS]))
        try:
            open_pt2(str(path), Request())
        except UserError:
            refused += 1
    assert refused > 10
