"""Every format tells the numbers of the framework that wrote it: one network, layer by layer.

Nothing here is compared with our own output: convolutions, products and the parts of attention are
asked with one-hots, recurrent layers and attention must be computable from the matrices of their
gates and heads, by name, as the framework computes them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from format_samples import write_tfjs
from truth import GATES, Array, close, contracted, grouped, gru, held, lstm, same_as_onnx, told
from truth_keras import Oracle, browser, frozen, network

from explorer.open_model import OpenModel

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Form:
    """How a format calls the layers of the network, and what it tells of it.

    Attributes
    ----------
    linked : bool
        Whether it tells what flows where.
    names : dict of str to str
        Patterns of the names of layers that it calls neither as Keras does nor as TensorFlow.
    loops : set of str
        Recurrent layers that are loops of products in it: no layer of their own.
    past : set of str
        Layers whose input comes through something that passes no units on.
    missing : set of str
        Layers that the framework's own exporter does not write.
    """

    linked: bool = True
    names: dict[str, str] = field(default_factory=dict)
    loops: frozenset[str] = frozenset()
    past: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()

    def path(self, model: OpenModel, name: str, width: int = 0) -> str:
        """Of the one layer that a name of the network means, where needed by its in units."""
        if name in model.graph.layer_by_path:
            return name
        parts = name.replace("forward", "forward_lstm").replace("backward", "backward_lstm")
        pattern = self.names.get(name, "/(.*/)?".join(rf"{p}(_\d+)?" for p in parts.split("/")))
        found = [
            la.path for la in model.graph.layers if re.search(rf"(^|/){pattern}(/|$)", la.path)
            and width in (0, *(c.in_units for c in model.wires.connections(la.path)))
            and (la.kind == "InputLayer" or model.wires.connections(la.path))
        ]  # fmt: skip
        assert len(found) == 1, (name, found)
        return found[0]


CELLS = frozenset(("lstm", "both/forward", "both/backward", "gru"))
HEADS = frozenset(("attention/attention_output",))  # heads are moved about as axes
FORMS = {
    "keras": Form(),
    "h5": Form(),
    "weights.h5": Form(linked=False),
    "savedmodel": Form(),
    "checkpoint": Form(linked=False),
    "frozen": Form(loops=CELLS, past=frozenset(("hidden",))),  # of unknown shape after loops
    "tfjs": Form(),
    "tfjs graph": Form(loops=CELLS, past=HEADS | {"hidden"}),
    "tflite": Form(names={"head": "head_1|fully_connected"}, loops=CELLS, past=HEADS),
    "onnx": Form(names={"lstm": r"LSTM__\d+$", "deep": r"Conv__\d+", "both/forward":
                        r"LSTM__\d+/forward", "both/backward": r"LSTM__\d+/backward"},
                 loops=frozenset(("gru",)), past=HEADS | CELLS, missing=frozenset(("grouped",))),
}  # fmt: skip
DRAWN = [("image", "first"), ("first", "deep"), ("deep", "grouped"), ("hidden", "head"),
         ("attention/attention_output", "hidden"), ("gru", "hidden"), ("gru", "attention/query"),
         ("gru", "attention/key"), ("gru", "attention/value"),
         ("attention/value", "attention/attention_output")]  # fmt: skip
RECURRENT = {
    "lstm": (lstm, 5, {"grouped": slice(0, 12)}),
    "both/forward": (lstm, 4, {"lstm": slice(0, 5)}),
    "both/backward": (lstm, 4, {"lstm": slice(0, 5)}),
    "gru": (gru, 6, {"both/forward": slice(0, 4), "both/backward": slice(4, 8)}),
}


@pytest.fixture(scope="module")
def net() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def oracle(net: keras.Model) -> Oracle:
    return Oracle(net)


def _written(model: keras.Model, form: str, folder: Path) -> Path:
    """The network in a format."""
    named = {"keras": "m.keras", "h5": "m.h5", "weights.h5": "m.weights.h5", "onnx": "m.onnx"}
    path = folder / named.get(form, form)
    if form == "savedmodel":
        model.export(path, verbose=False)
    elif form == "checkpoint":
        tf.train.Checkpoint(model=model).write(str(path / "m"))
    elif form == "weights.h5":
        model.save_weights(path)
    elif form == "frozen":
        frozen(model, path)
    elif form.startswith("tfjs"):
        write_tfjs(path, *browser(model, graph=form == "tfjs graph"))
    elif form == "tflite":
        path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    elif form == "onnx":
        pytest.importorskip("tf2onnx")
        model.export(path, format="onnx", verbose=False)
    else:
        model.save(path)
    return path


@pytest.fixture(scope="module")
def opened(net: keras.Model, tmp_path_factory: pytest.TempPathFactory
           ) -> Iterator[Callable[[str], OpenModel]]:  # fmt: skip
    """The network in a format, written and opened once."""
    folder, models = tmp_path_factory.mktemp("truth"), dict[str, OpenModel]()

    def get(form: str) -> OpenModel:
        if form not in models:
            models[form] = OpenModel.open(str(_written(net, form, folder)))
        return models[form]

    yield get
    for model in models.values():
        model.close()


PRODUCTS = [(form, *ends) for form, how in FORMS.items() for ends in DRAWN
            if ends[1] not in how.missing]  # fmt: skip


@pytest.mark.parametrize(("form", "source", "target"), PRODUCTS)
def test_products_answer_one_hots_as_the_real_layers(
    form: str, source: str, target: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    how, expected = FORMS[form], oracle.matrix(target)
    model = opened(form)
    path = how.path(model, target, 0 if target == "grouped" else expected.columns)
    if how.linked and not {source, target} & (how.past | how.loops | how.missing):
        found = told(model, how.path(model, source), path, expected.mean.shape)
        close(found, expected, (form, target))
    if target == "grouped" and not how.linked:
        expected = grouped(expected, 2)  # nothing tells in how many groups: each has own inputs
    close(held(model, path), expected, (form, target))


@pytest.mark.parametrize("layer", RECURRENT)
@pytest.mark.parametrize("form", FORMS)
def test_gates_compute_what_the_real_layer_computes(
    form: str, layer: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    model, how = opened(form), FORMS[form]
    compute, units, sources = RECURRENT[layer]
    width = max(s.stop for s in sources.values())
    inputs = np.random.default_rng(5).normal(size=(6, width))
    expected = oracle.states(layer, inputs)
    path = how.path(model, layer, width)
    if layer in how.loops:  # the products of a cell of Keras, whose gates are split behind them
        blocks = GATES[compute]
        found = held(model, path), held(model, how.path(model, layer, units))
    else:
        blocks = model.units_of(model.graph.layer_by_path[path]).blocks
        assert sorted(blocks) == sorted(GATES[compute])
        found = held(model, path, "kernel"), held(model, path, "recurrent_kernel")
    kernel, again = (_gates(matrix.mean, blocks) for matrix in found)
    np.testing.assert_allclose(compute(inputs, kernel, again), expected, atol=2e-6)
    if not how.linked or {layer, *sources} & (how.past | how.loops | how.missing):
        return
    for gate in blocks:
        both = [told(model, how.path(model, s), f"{path}[{gate}]", (units, n.stop - n.start)).mean
                for s, n in sources.items()]  # fmt: skip
        np.testing.assert_allclose(np.concatenate(both, 1), kernel[gate], rtol=1e-6)
        own = told(model, path, f"{path}[{gate}]", (units, units)).mean
        np.testing.assert_allclose(own, again[gate], rtol=1e-6)


def _gates(matrix: Array, blocks: tuple[str, ...]) -> dict[str, Array]:
    return dict(zip(blocks, np.split(matrix, len(blocks)), strict=True))


@pytest.mark.parametrize("form", [form for form, how in FORMS.items() if how.linked])
def test_links_are_those_of_the_real_network(
    form: str, opened: Callable[[str], OpenModel], net: keras.Model
) -> None:
    """Between layers of Keras, whatever operators stand for them; what was fused is left out."""
    model, how = opened(form), FORMS[form]
    assert {k.origin for k in model.network.links} == {"recorded"}
    layers = {layer.name for layer in net.layers}
    known = {how.path(model, name): name.partition("/")[0] for name in how.names}

    def label(path: str) -> str:
        parts = (re.sub(r"_\d+$", "", part) for part in path.split("/"))
        return known.get(path) or next((part for part in parts if part in layers), "")

    found = contracted({(k.source, k.target) for k in model.network.links}, label)
    there = {name for link in found for name in link}
    own = {
        (tensor._keras_history.operation.name, layer.name)
        for layer in net.layers for node in layer._inbound_nodes for tensor in node.input_tensors
    }  # fmt: skip
    assert found == contracted(own, lambda name: name if name in there else "")
    assert layers - there <= {"rows", "mean"}


@pytest.mark.parametrize("form", [f for f in FORMS if f not in ("tflite", "tfjs graph", "onnx")])
def test_arrays_are_those_of_the_real_network(
    form: str, opened: Callable[[str], OpenModel], net: keras.Model
) -> None:
    """Byte for byte; a frozen graph also holds states that begin with zeros."""
    model = opened(form)
    weights = {w.name: w for la in model.network.layers for w in la.weights}.values()
    found = Counter((w.shape, model.reader.read(w).tobytes()) for w in weights)
    own = Counter((tuple(v.shape), v.numpy().tobytes()) for v in net.trainable_variables)
    assert not own - found
    assert form == "frozen" or not found - own


def test_tensors_of_onnx_are_those_of_its_package(opened: Callable[[str], OpenModel]) -> None:
    same_as_onnx(opened("onnx"))
