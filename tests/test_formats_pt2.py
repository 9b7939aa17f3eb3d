"""Programs of torch.export against PyTorch: tensors, graph, edges; and archives that lie."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explorer.formats import formats, open_network, pt2
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.report import edges_json

pytestmark = pytest.mark.filterwarnings("ignore")
CREATORS = ("zeros", "arange", "full")


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(8, 8, 3, groups=2, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, groups=8, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.deep(self.grouped(x)) + x)


class _Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.block = _Block()
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.block(torch.relu(self.norm(self.stem(x))))
        both = torch.cat([self.pool(self.up(x)), self.pool(x)], 1)
        return self.head(torch.flatten(both, 1))


class _Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.place = nn.Parameter(torch.randn(7, 6))
        self.norm = nn.LayerNorm(6)
        self.lstm = nn.LSTM(6, 4, 2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("idle", torch.arange(3))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.embed(tokens) + self.place)
        x = self.gru(self.lstm(x)[0])[0]
        query, key, value = x.chunk(3, -1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.head(torch.cat([mixed, query, key], -1))


def _saved(module: nn.Module, given: torch.Tensor, path: Path) -> Any:
    torch.manual_seed(2)
    program = torch.export.export(module.eval(), (given,))
    torch.export.save(program, path)
    return program


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A file under a name that tells nothing, and the program in it."""
    path = tmp_path_factory.mktemp("pt2") / "images.pt2"
    program = _saved(_Images(), torch.randn(1, 3, 6, 6), path)
    return path, program


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """Recurrent layers, attention, and an embedding tied to the last layer."""
    path = tmp_path_factory.mktemp("pt2") / "words.pt2"
    return path, _saved(_Words(), torch.zeros(1, 7, dtype=torch.long), path)


def _source(path: Path) -> Source:
    return Source(str(path), os.open(path, os.O_RDONLY))


def _own_graph(program: Any, network: Network) -> set[tuple[str, str]]:
    """Links between the operators of PyTorch's own graph, under the names of the layers."""
    paths = {la.path for la in network.layers} | {s.path for s in network.scopes}

    def called(node: Any) -> str:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        head = stack[-1][0].replace(".", "/") if stack else ""
        alone = head in paths and head not in {s.path for s in network.scopes}
        return head if alone else f"{head}/{node.name}" if head else node.name

    spec = program.graph_signature
    stored = {*spec.inputs_to_parameters, *spec.inputs_to_buffers}

    def sources(node: Any) -> list[str]:
        if node.name in stored or node.op == "output":
            return []
        if "getitem" in str(node.target):
            return sources(node.args[0])
        return [] if any(c in str(node.target) for c in CREATORS) else [called(node)]

    return {
        (source, called(node))
        for node in program.graph.nodes
        if node.op == "call_function" and "getitem" not in str(node.target)
        for below in node.all_input_nodes
        for source in sources(below)
    }


def _check_tensors(model: OpenModel, program: Any) -> None:
    found = {w.name: w for la in model.network.layers for w in la.weights}
    tied: dict[int, str] = {}
    whole = {**program.state_dict, **program.constants}
    expected = {n: v for n, v in whole.items() if tied.setdefault(v.data_ptr(), n) == n}
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(model.reader.read(found[name]), value.detach().numpy(), name)


def _matrix(model: OpenModel, source: str, target: str, shape: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape)
    for edge in edges_json(model, source, target, 100_000)["edges"]:
        whole[edge["to_unit"], edge["from_unit"]] = edge["magnitude"]
    return whole


def _rms(tensor: torch.Tensor) -> np.ndarray:
    w = tensor.detach().numpy().astype(np.float64)
    return np.sqrt(np.mean(w**2, axis=tuple(range(2, w.ndim))))


def test_convolutions(images: tuple[Path, Any]) -> None:
    path, program = images
    state = program.state_dict
    assert [f.name for f in formats() if f.matches(_source(path))] == ["pt2"]
    with OpenModel.open(str(path)) as model:
        network = model.network
        _check_tensors(model, program)
        links = {(k.source, k.target) for k in network.links}
        assert links == _own_graph(program, network)
        assert {k.origin for k in network.links} == {"recorded"}
        kinds = {la.path: (la.kind, la.op) for la in network.layers}
        assert kinds["block/grouped"] == ("Conv2d", "Conv2D")
        assert kinds["up"] == ("ConvTranspose2d", "Conv2DTranspose")
        assert kinds["block/add"] == ("add", "Add")
        assert [(s.path, s.kind) for s in network.scopes if s.path == "block"] == [
            ("block", "_Block")
        ]
        rms = _rms(state["stem.weight"])
        np.testing.assert_allclose(_matrix(model, "x", "stem", (8, 3)), rms, rtol=1e-6)
        grouped, whole = _rms(state["block.grouped.weight"]), np.zeros((8, 8))
        whole[:4, :4], whole[4:, 4:] = grouped[:4], grouped[4:]
        np.testing.assert_allclose(
            _matrix(model, "stem", "block/grouped", (8, 8)), whole, rtol=1e-6
        )
        deep = np.diag(_rms(state["block.deep.weight"])[:, 0])
        found = _matrix(model, "block/grouped", "block/deep", (8, 8))
        np.testing.assert_allclose(found, deep, rtol=1e-6)
        up = _rms(state["up.weight"]).T
        np.testing.assert_allclose(_matrix(model, "block/deep", "up", (4, 8)), up, rtol=1e-6)
        head = np.abs(state["head.weight"].detach().numpy())
        np.testing.assert_allclose(_matrix(model, "up", "head", (5, 4)), head[:, :4], rtol=1e-6)


def test_words(words: tuple[Path, Any]) -> None:
    path, program = words
    state = program.state_dict
    with OpenModel.open(str(path)) as model:
        network = model.network
        _check_tensors(model, program)
        inner = ("lstm/l0", "lstm/l0_reverse", "lstm/l1", "lstm/l1_reverse", "lstm/l0_concatenate",
                 "lstm/l1_concatenate")  # fmt: skip
        links = {(k.source, k.target) for k in network.links}
        outer = {tuple("lstm" if p in inner else p for p in link) for link in links}
        own = _own_graph(program, network)
        merged = {tuple("lstm" if p.startswith("lstm") else p for p in link) for link in own}
        assert outer - {("lstm", "lstm")} == merged
        assert ("lstm/l0_concatenate", "lstm/l1_reverse") in links
        gru = network.layer_by_path["gru"]
        assert gru.config["gates"] == ["reset gate", "update gate", "candidate"]
        # One tensor under two names is one weight.
        head, embed = network.layer_by_path["head"], network.layer_by_path["embed"]
        assert (embed.weights[0].name, embed.weights[0].role) == (
            head.weights[0].name,
            "embeddings",
        )
        assert network.parameters == sum(v.numel() for v in _distinct(state))
        # A cell and what feeds it are joined by a weight for each gate.
        for source, target, name, gates, wide in (
            ("lstm/l1", "gru", "gru.weight_ih_l0", 3, 4),
            ("lstm/l1_reverse", "gru", "gru.weight_ih_l0", 3, -4),
            ("embed", "lstm/l0_reverse", "lstm.weight_ih_l0_reverse", 4, 6),
            ("lstm/l0", "lstm/l1", "lstm.weight_ih_l1", 4, 4),
        ):
            kernel = state[name].detach().numpy().astype(np.float64)
            kernel = kernel[:, :wide] if wide > 0 else kernel[:, wide:]
            whole = np.sqrt(np.mean(kernel.reshape(gates, -1, abs(wide)) ** 2, axis=0))
            found = _matrix(model, source, target, whole.shape)
            np.testing.assert_allclose(found, whole, rtol=1e-6)


def test_decomposed_into_few_operators(tmp_path: Path) -> None:
    """`linear` becomes a product with a transposed matrix, and lengths may be unknown."""
    torch.manual_seed(5)
    length = torch.export.Dim("length")
    made = torch.export.export(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)).eval(),
        (torch.zeros(2, 3),), dynamic_shapes={"input": {0: length}},
    )  # fmt: skip
    program = made.run_decompositions()
    assert "torch.ops.aten.addmm.default" in {str(n.target) for n in program.graph.nodes} | {
        f"torch.ops.{n.target}" for n in program.graph.nodes
    }
    torch.export.save(program, tmp_path / "few.pt2")
    with OpenModel.open(str(tmp_path / "few.pt2")) as model:
        _check_tensors(model, program)
        assert [(la.path, la.kind, la.op) for la in model.network.layers] == [
            ("input", "InputLayer", "InputLayer"), ("0", "Linear", "Dense"),
            ("1", "ReLU", "ReLU"), ("2", "Linear", "Dense"),
        ]  # fmt: skip
        assert model.network.layers[1].output_shape == (None, 4)
        for source, target, shape in (("input", "0", (4, 3)), ("0", "2", (2, 4))):
            expected = np.abs(program.state_dict[f"{target}.weight"].detach().numpy())
            np.testing.assert_allclose(_matrix(model, source, target, shape), expected, rtol=1e-6)


def _distinct(state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return list({v.data_ptr(): v for v in state.values()}.values())


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def _write(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Source:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in members.items():
            archive.writestr(f"m/{name}", data)
    return _source(path)


CONFIG, GRAPH = "data/weights/model_weights_config.json", "models/model.json"


def _entry(key: str, value: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        data = json.loads(members[CONFIG])
        entry = data["config"]["stem.weight"]
        (entry if key in entry else entry["tensor_meta"])[key] = value
        members[CONFIG] = json.dumps(data).encode()

    return change


def _graph(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes]], None]:
    def changed(members: dict[str, bytes]) -> None:
        data = json.loads(members[GRAPH])
        change(data["graph_module"])
        members[GRAPH] = json.dumps(data).encode()

    return changed


HOSTILE = [
    (_entry("sizes", [{"as_int": 2**40}] * 4), "beyond its bytes"),
    (_entry("sizes", [{"as_int": -8}, {"as_int": 3}, {"as_int": 3}, {"as_int": 3}]), "impossible"),
    (_entry("sizes", [{"as_int": 0}, {"as_int": 2**70}] * 2), "impossible|beyond"),
    (_entry("strides", []), "impossible"),
    (_entry("strides", [{"as_int": 2**60}] * 4), "beyond its bytes"),
    (_entry("storage_offset", {"as_int": 2**61}), "beyond its bytes"),
    (_entry("dtype", 99), "not known"), (_entry("dtype", [7]), "not known"),
    (_entry("path_name", "../../etc/passwd"), "holds no"), (_entry("path_name", 7), "holds no"),
    (_graph(lambda g: g.update(graph=None)), "damaged"),
    (_graph(lambda g: g["graph"].update(nodes=[{"target": "x"}])), "damaged"),
    (_graph(lambda g: g["graph"]["nodes"][0].update(inputs=[3])), "damaged"),
    (_graph(lambda g: g.pop("signature")), "damaged"),
    (lambda m: m.update({GRAPH: b"[" * 100_000}), "nested too deeply"),
    (lambda m: m.update({GRAPH: b"{}"}), "holds no graph"),
    (lambda m: m.update({"models/a.json": m.pop(GRAPH), "models/b.json": b""}), "several"),
    (lambda m: m.pop(GRAPH), "no model"), (lambda m: m.update(byteorder=b"big"), "big-endian"),
    (lambda m: m.pop("data/weights/weight_0"), "holds no"),
]  # fmt: skip


@pytest.mark.parametrize(("harm", "reason"), HOSTILE)
def test_archives_that_lie(
    harm: Callable[[dict[str, bytes]], None], reason: str, images: tuple[Path, Any], tmp_path: Path
) -> None:
    members = _members(images[0])
    harm(members)
    source = _write(tmp_path / "bad", members)
    assert pt2.matches(source)
    with pytest.raises(UnreadableError, match=reason):
        pt2.read(source)


def test_what_is_not_read_in_place(images: tuple[Path, Any], tmp_path: Path) -> None:
    members = _members(images[0])
    _entry("use_pickle", True)(members)
    network = pt2.read(_write(tmp_path / "pickled", members))
    kernel = network.layer_by_path["stem"].weight("kernel")
    assert kernel is not None
    assert (kernel.where, kernel.shape) == (None, (8, 3, 3, 3))
    assert "stem.weight" in network.notes[0]
    with pytest.raises(UnreadableError, match="compressed"):
        pt2.read(_write(tmp_path / "packed", members, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "old", "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(UnreadableError, match=r"before 2\.8"):
        pt2.read(_source(tmp_path / "old"))
    assert [f.name for f in formats() if f.matches(_source(tmp_path / "old"))] == ["pt2"]


def test_unknown_operators_and_a_very_long_chain(images: tuple[Path, Any], tmp_path: Path) -> None:
    """A graph that nothing here knows is shown with its links, and deep is no trouble."""
    members = _members(images[0])

    def change(module: dict[str, Any]) -> None:
        module["graph"]["nodes"] += [
            {"target": "torch.ops.mine.odd.default", "name": f"odd_{i}", "metadata": {},
             "inputs": [{"name": "x", "arg": {"as_tensor": {"name": f"odd_{i - 1}" if i else "x"}},
                         "kind": 1}],
             "outputs": [{"as_tensor": {"name": f"odd_{i}"}}]}
            for i in range(20_000)
        ]  # fmt: skip

    _graph(change)(members)
    path = tmp_path / "long"
    _write(path, members)
    network = open_network(path)
    assert network.layer_by_path["odd_19999"].kind == "odd"
    assert ("odd_19998", "odd_19999") in {(k.source, k.target) for k in network.links}


def test_bytes_that_are_cut_or_changed_never_escape(
    images: tuple[Path, Any], tmp_path: Path
) -> None:
    """Whatever a byte of the directory or the graph says: read, or refused in one line."""
    data = bytearray(images[0].read_bytes())
    random = np.random.default_rng(3)
    for number in range(60):
        bad = bytearray(data)
        if number % 3:
            at = int(random.integers(0, len(bad)))
            bad[at : at + 4] = struct.pack("<I", int(random.integers(0, 2**32)))[: len(bad) - at]
        else:
            del bad[int(random.integers(0, len(bad))) :]
        (tmp_path / "bad").write_bytes(bad or b"PK")
        source = _source(tmp_path / "bad")
        if pt2.matches(source):
            with contextlib.suppress(UnreadableError):
                pt2.read(source)
