"""Every format of PyTorch tells the numbers of the modules that were saved, layer by layer.

As in test_formats_truth.py: one-hots through the real modules, and recurrent layers and attention
computed from the matrices of their gates and heads by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from truth import (
    GATES,
    attend,
    close,
    contracted,
    gates_of,
    grouped,
    gru,
    held,
    lstm,
    same_as_onnx,
    told,
)
from truth_torch import Oracle, network, written

from explorer.open_model import OpenModel

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Form:
    """How a format calls the modules of the network, and what it tells of it.

    Attributes
    ----------
    linked : bool
        Whether it tells what flows where.
    names : dict of str to str
        Patterns of the names of layers.
    fused : bool
        Whether query, key and value are one product, (18, 6).
    past : set of str
        Layers whose input comes through something that passes no units on.
    """

    linked: bool = True
    names: dict[str, str] = field(default_factory=dict)
    fused: bool = True
    past: frozenset[str] = frozenset()

    def path(self, model: OpenModel, name: str) -> str:
        """Of the one layer that a name of the network means."""
        if name == "image":
            return next(la.path for la in model.graph.layers if la.kind == "InputLayer")
        pattern = self.names.get(name, rf"{name}(_l0)?(/[^/]*(LSTM|GRU|lstm|gru)[^/]*)?")
        found = [la.path for la in model.graph.layers if re.fullmatch(pattern, la.path)
                 and model.wires.connections(la.path)]  # fmt: skip
        assert len(found) == 1, (name, found)
        return found[0]


STATE = Form(False, {"both/forward": "both_l0", "both/backward": "both_l0_reverse"}, fused=False)
ONNX = Form(names={
    "both/forward": "both/.*/forward", "both/backward": "both/.*/backward",
    "attention/qkv": "attention/.*MatMul[^/]*", "attention/out_proj": "attention/.*(Gemm|linear_1)",
}, past=frozenset(("gru",)))  # fmt: skip
FORMS = {
    "pt": STATE,
    "pth": STATE,
    "safetensors": STATE,
    "pt2": Form(names={"both/forward": "both/l0", "both/backward": "both/l0_reverse",
                       "attention/qkv": "attention/linear",
                       "attention/out_proj": "attention/linear_1"}),
    "onnx": ONNX,
    "onnx dynamo": ONNX,
}  # fmt: skip
DRAWN = [("image", "first"), ("first", "deep"), ("deep", "grouped"), ("gru", "hidden"),
         ("hidden", "head")]  # fmt: skip
RECURRENT = {
    "lstm": (lstm, 5, {"grouped": slice(0, 12)}),
    "both/forward": (lstm, 4, {"lstm": slice(0, 5)}),
    "both/backward": (lstm, 4, {"lstm": slice(0, 5)}),
    "gru": (gru, 6, {"both/forward": slice(0, 4), "both/backward": slice(4, 8)}),
}


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle(network())


@pytest.fixture(scope="module")
def opened(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory
           ) -> Iterator[Callable[[str], OpenModel]]:  # fmt: skip
    """The network in a format, written and opened once."""
    folder, models = tmp_path_factory.mktemp("truth"), dict[str, OpenModel]()

    def get(form: str) -> OpenModel:
        if form not in models:
            models[form] = OpenModel.open(str(written(oracle.net, form, folder)))
        return models[form]

    yield get
    for model in models.values():
        model.close()


@pytest.mark.parametrize(("source", "target"), DRAWN)
@pytest.mark.parametrize("form", FORMS)
def test_products_answer_one_hots_as_the_real_modules(
    form: str, source: str, target: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    model, how, expected = opened(form), FORMS[form], oracle.matrix(target)
    path = how.path(model, target)
    if how.linked and target not in how.past:
        found = told(model, how.path(model, source), path, expected.mean.shape)
        close(found, expected, (form, target))
    if not how.linked and target in ("deep", "grouped"):
        # Nothing tells in how many groups: each has own inputs.
        expected = grouped(expected, 8 if target == "deep" else 2)
    close(held(model, path), expected, (form, target))


@pytest.mark.parametrize("layer", RECURRENT)
@pytest.mark.parametrize("form", FORMS)
def test_gates_compute_what_the_real_module_computes(
    form: str, layer: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    model, how = opened(form), FORMS[form]
    compute, units, sources = RECURRENT[layer]
    inputs = np.random.default_rng(5).normal(size=(6, max(s.stop for s in sources.values())))
    path = how.path(model, layer)
    blocks = model.units_of(model.graph.layer_by_path[path]).blocks
    assert sorted(blocks) == sorted(GATES[compute])
    kernel, again = gates_of(model, path)
    found = compute(inputs, kernel, again)
    np.testing.assert_allclose(found, oracle.states(layer, inputs), atol=2e-6)
    for gate in blocks if how.linked else ():
        own = told(model, path, f"{path}[{gate}]", (units, units)).mean
        np.testing.assert_allclose(own, again[gate], rtol=1e-6)
        if layer not in how.past:
            given = [
                told(model, how.path(model, s), f"{path}[{gate}]", (units, n.stop - n.start)).mean
                for s, n in sources.items()
            ]
            np.testing.assert_allclose(np.concatenate(given, 1), kernel[gate], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_heads_compute_what_the_real_attention_computes(
    form: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    model, how = opened(form), FORMS[form]
    names = ("query", "key", "value")
    if how.fused:  # rows are those of queries, then keys, then values
        whole = held(model, how.path(model, "attention/qkv")).mean
        parts = dict(zip(names, np.split(whole, 3), strict=True))
        if how.linked:
            found = told(model, how.path(model, "gru"), how.path(model, "attention/qkv"), (18, 6))
            np.testing.assert_allclose(found.mean, whole, rtol=1e-6)
    else:
        parts = {n: held(model, how.path(model, f"attention/{n}")).mean for n in names}
    parts["output"] = held(model, how.path(model, "attention/out_proj")).mean
    inputs = np.random.default_rng(6).normal(size=(5, 6))
    np.testing.assert_allclose(attend(inputs, parts, 2), oracle.attended(inputs), atol=2e-6)


@pytest.mark.parametrize("form", [form for form, how in FORMS.items() if how.linked])
def test_links_are_those_of_the_real_network(
    form: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    """Between modules, as PyTorch itself traces them, whatever operators stand for them."""
    network = opened(form).network
    assert {k.origin for k in network.links} == {"recorded"}
    modules = {name for name, _ in oracle.net.named_children()}

    def label(path: str) -> str:
        return path.partition("/")[0] if path.partition("/")[0] in modules else ""

    found = contracted({(k.source, k.target) for k in network.links}, label)
    traced = torch.fx.symbolic_trace(oracle.net).graph
    own = {(below.name, node.name) for node in traced.nodes for below in node.all_input_nodes}
    assert found == contracted(own, label)
    assert {name for link in found for name in link} == modules


@pytest.mark.parametrize("form", ["onnx", "onnx dynamo"])
def test_tensors_of_onnx_are_those_of_its_package(
    form: str, opened: Callable[[str], OpenModel]
) -> None:
    same_as_onnx(opened(form))


@pytest.mark.parametrize("form", ["pt", "pth", "safetensors", "pt2"])
def test_arrays_are_those_of_the_real_network(
    form: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    """Byte for byte, by name; what holds query, key and value is told as three."""
    model, state = opened(form), oracle.net.state_dict()
    found: dict[str, list[bytes]] = {}
    for weight in (w for la in model.network.layers for w in la.weights):
        name = weight.name.partition("[")[0]
        found.setdefault(name, []).append(model.reader.read(weight).tobytes())
    assert {n: b"".join(parts) for n, parts in found.items()} == {
        name: tensor.numpy().tobytes() for name, tensor in state.items()
    }
