"""Every format tells the numbers of the framework that wrote it: one network, layer by layer.

Nothing here is compared with our own output: convolutions, products and the parts of attention are
asked with one-hots, recurrent layers and attention must be computable from the matrices of their
gates and heads, by name, as the framework computes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from truth import GATES, Array, close, grouped, gru, held, lstm, told
from truth_keras import Oracle, frozen, network

from explorer.open_model import OpenModel

pytestmark = pytest.mark.filterwarnings("ignore")


@dataclass(frozen=True)
class Form:
    """How a format calls the layers of the network, and what it tells of it.

    Attributes
    ----------
    linked : bool
        Whether it records what flows where.
    names : dict of str to str
        Its name of each layer that it does not call as Keras does; empty for a layer that it does
        not hold as one.
    past : set of str
        Layers whose input comes through something that passes no units on.
    """

    linked: bool = True
    names: dict[str, str] = field(default_factory=dict)
    past: frozenset[str] = frozenset()

    def path(self, name: str) -> str:
        """Of a layer in the file."""
        return self.names.get(name, name)


CELLS = {n: f"{n}/{n}_cell" for n in ("lstm", "gru")} | {
    f"both/{way}": f"both/{way}_lstm/lstm_cell" for way in ("forward", "backward")
}
FORMS = {
    "keras": Form(),
    "h5": Form(),
    "weights.h5": Form(linked=False),
    "savedmodel": Form(names={f"both/{w}": f"both/{w}_lstm" for w in ("forward", "backward")}),
    "checkpoint": Form(linked=False, names=CELLS),
}
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
    path = folder / {"keras": "m.keras", "h5": "m.h5", "weights.h5": "m.weights.h5"}.get(form, form)
    if form == "savedmodel":
        model.export(path, verbose=False)
    elif form == "checkpoint":
        tf.train.Checkpoint(model=model).write(str(path / "m"))
    elif form == "weights.h5":
        model.save_weights(path)
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


@pytest.mark.parametrize(("source", "target"), DRAWN)
@pytest.mark.parametrize("form", FORMS)
def test_products_answer_one_hots_as_the_real_layers(
    form: str, source: str, target: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    model, how, expected = opened(form), FORMS[form], oracle.matrix(target)
    if how.linked and target not in how.past:
        found = told(model, how.path(source), how.path(target), expected.mean.shape)
        close(found, expected, (form, target))
    if target == "grouped" and not how.linked:
        expected = grouped(expected, 2)  # nothing tells in how many groups: each has own inputs
    close(held(model, how.path(target)), expected, (form, target))


@pytest.mark.parametrize("layer", RECURRENT)
@pytest.mark.parametrize("form", FORMS)
def test_gates_compute_what_the_real_layer_computes(
    form: str, layer: str, opened: Callable[[str], OpenModel], oracle: Oracle
) -> None:
    model, how = opened(form), FORMS[form]
    compute, units, sources = RECURRENT[layer]
    path, width = how.path(layer), max(s.stop for s in sources.values())
    inputs = np.random.default_rng(5).normal(size=(6, width))
    expected = oracle.states(layer, inputs)
    blocks = model.units_of(model.graph.layer_by_path[path]).blocks
    assert sorted(blocks) == sorted(GATES[compute])
    kernel, again = (_gates(held(model, path, name).mean, blocks)
                     for name in ("kernel", "recurrent_kernel"))  # fmt: skip
    np.testing.assert_allclose(compute(inputs, kernel, again), expected, atol=2e-6)
    if how.linked and layer not in how.past:
        for gate in blocks:
            both = [told(model, how.path(s), f"{path}[{gate}]", (units, at.stop - at.start)).mean
                    for s, at in sources.items()]  # fmt: skip
            np.testing.assert_allclose(np.concatenate(both, 1), kernel[gate], rtol=1e-6)
            own = told(model, path, f"{path}[{gate}]", (units, units)).mean
            np.testing.assert_allclose(own, again[gate], rtol=1e-6)


def _gates(matrix: Array, blocks: tuple[str, ...]) -> dict[str, Array]:
    return dict(zip(blocks, np.split(matrix, len(blocks)), strict=True))
