"""Generated checkpoints are what Keras would write, and any weight of one is a few opens away."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_models import assert_same_links, assert_same_shapes

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import made_weights
import make_checkpoint
from made_weights import Checkpoint, Decoder

from explorer.formats import open_network
from explorer.network import Layer, Network
from explorer.open_model import OpenModel
from explorer.tree import lod
from explorer.weights.weight_reader import WeightReader

# Keras 3.15 itself, with numpy 2: not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ADDRESS = re.compile(r'"shared_object_id": \d+')
MOST_OPENS = 8


@cache
def small() -> Decoder:
    return Decoder(blocks=3, heads=4, kv_heads=2, vocabulary=50, dim=32, mlp=6000)


def make(path: Path, what: Checkpoint) -> Path:
    """As the script does it, but with the Keras that is loaded here already."""
    twin = path.with_name("twin.keras")
    make_checkpoint.save_twin(twin, what.sizes, what.dtype)
    make_checkpoint.write(path, twin, what, lambda nbytes: None)
    twin.unlink()
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small decoder, written in many chunks."""
    chunk, made_weights.CHUNK = made_weights.CHUNK, 1000
    try:
        what = Checkpoint(small(), seed=3, non_finite=5)
        return make(tmp_path_factory.mktemp("checkpoint") / "decoder.keras", what)
    finally:
        made_weights.CHUNK = chunk


@pytest.fixture(scope="module")
def loaded(path: Path) -> Any:
    return keras.saving.load_model(path)


def test_keras_reads_the_same_weights(path: Path, loaded: Any) -> None:
    network = open_network(path)
    assert network.parameters == loaded.count_params() == small().parameters
    with WeightReader(network) as reader:
        for layer in loaded.layers:
            ours = network.layer_by_path[layer.name].weights
            assert len(ours) == len(layer.weights)
            for weight, variable in zip(ours, layer.weights, strict=True):
                assert weight.dtype == variable.dtype == "bfloat16"
                # A cast keeps the value of a bfloat16, and numpy knows float32.
                theirs = np.asarray(keras.ops.cast(variable, "float32"))
                np.testing.assert_array_equal(reader.read(weight), theirs)
    assert_same_links(network, loaded)
    assert_same_shapes(network, loaded)


def test_the_configuration_is_what_keras_writes(path: Path, tmp_path: Path) -> None:
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = make_checkpoint.build_decoder(small(), small().lengths)
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "own.keras")
    texts = []
    for file in (path, tmp_path / "own.keras"):
        with zipfile.ZipFile(file) as archive:
            assert not any(e.compress_type for e in archive.infolist())
            texts.append(json.loads(ADDRESS.sub('"shared_object_id": 0', _config(archive))))
    assert texts[0] == texts[1]


def _config(archive: zipfile.ZipFile) -> str:
    return archive.read("config.json").decode()


def test_the_weights_are_plausible(path: Path) -> None:
    network = open_network(path)
    bad = 0
    with WeightReader(network) as reader:
        values = {w.name: reader.read(w) for la in network.layers for w in la.weights}
        bad = sum(int(np.count_nonzero(~np.isfinite(v))) for v in values.values())
        for layer in network.layers:
            kernel = layer.weight("kernel")
            if kernel is None:
                continue
            v = values[kernel.name].astype(np.float64)
            v = v[np.isfinite(v)]
            assert 0.01 < v.std() * np.sqrt(kernel.shape[0]) < 5
            assert np.mean((v / v.std()) ** 4) > 4  # heavier tails than the normal's 3
    assert bad == 5
    gate, up, down = (
        values[network.layer_by_path[f"block_1_mlp_{n}"].weights[0].name]
        for n in ("gate", "up", "down")
    )
    dead = np.flatnonzero(~gate.any(axis=0))
    assert len(dead)
    assert np.array_equal(dead, np.flatnonzero(~up.any(axis=0)))
    assert np.array_equal(dead, np.flatnonzero(~down.any(axis=1)))
    strong = [
        set(np.argsort(np.nanstd(np.where(np.isfinite(v), v, np.nan), axis=0))[-4:].tolist())
        for name, v in values.items()
        if "dense_" in name and v.shape[-1] == 32 and v.ndim == 2
    ]
    assert len(strong) == 3  # the same channels stand out in every block
    assert strong[0] == strong[1] == strong[2]


def test_the_same_seed_makes_the_same_file(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        what = Checkpoint(None, 40, "float32", seed)
        make(tmp_path / f"{name}.keras", what)
    first, second, other = ((tmp_path / f"{n}.keras").read_bytes() for n in "abc")
    assert first == second
    assert first != other
    model = keras.saving.load_model(tmp_path / "a.keras")
    network = open_network(tmp_path / "a.keras")
    with WeightReader(network) as reader:
        read = reader.read(network.layer_by_path["matrix"].weights[0])
    np.testing.assert_array_equal(read, model.get_weights()[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.keras", "b.keras", "c.keras"]


@pytest.mark.parametrize("gigabytes", [1.0, 2.0, 16.0])
def test_sizes(gigabytes: float) -> None:
    sizes = made_weights.decoder_of(gigabytes)
    assert sizes.heads % sizes.kv_heads == 0
    assert abs(2 * sizes.parameters / 1e9 / gigabytes - 1) < 0.35
    if gigabytes == 16:
        assert sizes == Decoder()


def whole_size(twin: Network) -> Network:
    """The network of a 16 GB file, from that of its twin; its weights have no bytes."""
    lengths = Decoder().lengths

    def grown(value: Any) -> Any:
        return make_checkpoint.resized(value, lengths)

    def layer(small: Layer) -> Layer:
        return replace(
            small,
            config=grown(small.config),
            input_shapes=tuple(tuple(grown(s)) for s in small.input_shapes),
            output_shape=None if small.output_shape is None else tuple(grown(small.output_shape)),
            weights=tuple(replace(w, shape=tuple(grown(w.shape))) for w in small.weights),
        )

    links = tuple(replace(a, shape=a.shape and tuple(grown(a.shape))) for a in twin.links)
    return replace(twin, layers=tuple(layer(la) for la in twin.layers), links=links)


def opens(model: OpenModel, layer: Layer, unit: int, opened: frozenset[str]) -> int:
    """Clicks until a unit stands alone: each opens the visible node that it is in."""
    index = model.hierarchy.by_path[layer.path]
    above = {index, *model.hierarchy.ancestors(index)}
    for count in range(20):
        cut = lod.make_cut(model.hierarchy, model.units_of, opened)
        for row in np.flatnonzero(cut.leaf):
            here = cut.units[row]
            if cut.node[row] not in above or (here and not here.start <= unit < here.stop):
                continue
            if here is not None and here.count == 1:
                return count
            opened |= {cut.paths[row]}
            break
    raise AssertionError(f"unit {unit} of {layer.path} cannot be reached")


def test_every_weight_is_few_opens_away(tmp_path: Path) -> None:
    twin = tmp_path / "twin.keras"
    make_checkpoint.save_twin(twin, Decoder(), "bfloat16")
    network = whole_size(open_network(twin))
    assert network.parameters == Decoder().parameters
    with OpenModel(network) as model:
        first = lod.first_cut(model.hierarchy)
        shown = lod.make_cut(model.hierarchy, model.units_of, first)
        assert 8 <= int(shown.leaf.sum()) <= 40
        titles = [model.hierarchy.nodes[i].title for i in shown.node[shown.leaf]]
        assert [t for t in titles if "block" in t] == [f"block_{i}" for i in range(32)]
        for layer in model.graph.layers:
            count = model.units_of(layer).count
            for unit in {0, count // 2, count - 1}:
                assert opens(model, layer, unit, first) <= MOST_OPENS, layer.path
