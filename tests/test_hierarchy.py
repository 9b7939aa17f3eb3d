"""The tree that people see, on real networks and on random ones."""

from __future__ import annotations

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer import formats
from explorer.network import Layer, Link, Network
from explorer.open_model import OpenModel
from explorer.tree import lod
from explorer.tree.builder import build_hierarchy
from explorer.tree.hierarchy import Hierarchy


def network(names: list[str], links: list[tuple[int, int]], kind: str = "Dense") -> Network:
    layers = tuple(Layer(name, kind, {"units": 4}, ((None, 4),), (None, 4)) for name in names)
    return Network("random", "test", layers, (), tuple(Link(names[a], names[b]) for a, b in links))


words = st.lists(
    st.sampled_from(["a", "b", "conv", "1", "2", "block", "é", "x y"]), min_size=1, max_size=4
)


@st.composite
def random_networks(draw: st.DrawFn) -> Network:
    n = draw(st.integers(0, 30))
    names = draw(st.lists(words.map("_".join), min_size=n, max_size=n, unique=True))
    pairs = st.tuples(st.integers(0, max(n - 1, 0)), st.integers(0, max(n - 1, 0)))
    links = draw(st.sets(pairs.filter(lambda p: p[0] < p[1]), max_size=60)) if n else set()
    return network(names, sorted(links))


def cut_edges(hierarchy: Hierarchy, opened: frozenset[str]) -> set[tuple[int, int]]:
    """Links between the visible nodes of a cut."""
    home: dict[str, int] = {}
    stack = list(hierarchy.nodes[0].children)
    while stack:
        index = stack.pop()
        node = hierarchy.nodes[index]
        if node.children and node.path in opened:
            stack.extend(node.children)
        else:
            home.update((layer.path, index) for layer in hierarchy.layers_in(index))
    links = hierarchy.network.links
    return {(home[k.source], home[k.target]) for k in links if home[k.source] != home[k.target]}


def is_acyclic(edges: set[tuple[int, int]]) -> bool:
    left = set(edges)
    while left:
        targets = {b for _, b in left}
        rest = {(a, b) for a, b in left if a in targets}
        if rest == left:
            return False
        left = rest
    return True


@given(random_networks(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_every_cut_of_an_acyclic_network_is_acyclic(net, data):
    hierarchy = build_hierarchy(net, {layer.path for layer in net.layers[::2]})
    paths = [n.path for n in hierarchy.nodes]
    assert len(set(paths)) == len(paths)
    assert sorted(hierarchy.order) == list(range(len(net.layers)))
    inner = [n.path for n in hierarchy.nodes if n.children]
    opened = frozenset(data.draw(st.sets(st.sampled_from(inner)))) if inner else frozenset()
    assert is_acyclic(cut_edges(hierarchy, opened))
    for node in hierarchy.nodes:
        assert len(node.children) <= 40


def real(model: keras.Model, tmp_path) -> OpenModel:
    path = tmp_path / "m.keras"
    model.save(path)
    return OpenModel(formats.open_network(str(path)))


def children(hierarchy: Hierarchy, path: str) -> list[str]:
    node = hierarchy.nodes[hierarchy.by_path[path]]
    return [hierarchy.nodes[c].path for c in node.children]


def test_resnet_is_read_as_people_draw_it(tmp_path):
    model = real(keras.applications.ResNet50(weights=None), tmp_path)
    hierarchy = model.hierarchy
    top = [hierarchy.nodes[c].title for c in hierarchy.nodes[0].children]
    assert top[1:] == [
        "conv1",
        "pool1",
        "conv2",
        "conv3",
        "conv4",
        "conv5",
        "avg_pool",
        "predictions",
    ]
    for stage, repeats in (("conv2", 2), ("conv3", 3), ("conv4", 5), ("conv5", 2)):
        first, rest = children(hierarchy, stage)
        assert first == f"{stage}_block1"  # its shortcut is a convolution: it stays out
        node = hierarchy.nodes[hierarchy.by_path[rest]]
        assert (node.kind, len(node.children)) == ("series", repeats)
    inside = children(hierarchy, "conv2_block2")
    assert [hierarchy.nodes[hierarchy.by_path[p]].kind for p in inside] == [
        "stage",
        "stage",
        "stage",
        "layer",
        "layer",
    ]
    model.close()


def test_parallel_regions_are_found_without_names(tmp_path):
    x = start = keras.Input((8,))
    for _ in range(6):
        y = keras.layers.Dense(8)(x)
        y = keras.layers.Dense(8, activation="relu")(y)
        x = keras.layers.Add()([x, y])
    model = real(keras.Model(start, keras.layers.Dense(2)(x)), tmp_path)
    kinds = [model.hierarchy.nodes[c].kind for c in model.hierarchy.nodes[0].children]
    assert kinds.count("series") == 1  # the six equal residual blocks
    (series,) = [n for n in model.hierarchy.nodes if n.kind == "series"]
    assert len(series.children) == 6
    model.close()


def test_series_need_equal_attributes(tmp_path):
    layers = [keras.layers.Dense(8, activation=a) for a in ("relu", "relu", "tanh", "relu", "relu")]
    x = start = keras.Input((8,))
    for k, layer in enumerate(layers):
        x = keras.layers.Add()([x, layer(x)])
        x = keras.layers.LayerNormalization()(x)
        assert k >= 0
    model = real(keras.Model(start, x), tmp_path)
    for node in model.hierarchy.nodes:
        if node.kind == "series":
            first, last = node.layers
            used = {
                str(model.graph.layers[i].config.get("activation"))
                for i in model.hierarchy.order[first:last]
                if model.graph.layers[i].kind == "Dense"
            }
            assert len(used) == 1
    model.close()


def test_nested_models_keep_their_nesting(tmp_path):
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()], name="inner"
    )
    start = keras.Input((4,))
    model = real(keras.Model(start, keras.layers.Dense(2, name="out")(inner(start))), tmp_path)
    node = model.hierarchy.nodes[model.hierarchy.by_path["inner"]]
    assert (node.kind, node.type, node.inferred) == ("scope", "Sequential", False)
    model.close()


def test_a_cycle_and_no_layers_do_no_harm():
    loop = network(["a", "b", "c"], [(0, 1), (1, 2), (2, 0)])
    assert len(build_hierarchy(loop, {"a"}).order) == 3
    assert build_hierarchy(network([], []), set()).nodes[0].children == ()


def test_a_long_chain_is_cut_into_readable_pieces():
    n = 2000
    names = [f"n{i}x" for i in range(n)]
    kinds = network(names, [(i, i + 1) for i in range(n - 1)])
    # Different units, so that no series folds it.
    layers = tuple(Layer(la.path, "Dense", {"units": i}) for i, la in enumerate(kinds.layers))
    hierarchy = build_hierarchy(Network("chain", "test", layers, (), kinds.links), set(names))
    assert max(len(node.children) for node in hierarchy.nodes) <= 40
    opened = lod.first_cut(hierarchy)
    visible = [
        n
        for n in hierarchy.nodes[1:]
        if n.path not in opened and (n.parent == 0 or hierarchy.nodes[n.parent].path in opened)
    ]
    assert 8 <= len(visible) <= 45


@pytest.mark.parametrize("name", ["ResNet50", "VGG16", "MobileNetV2", "InceptionV3"])
def test_the_first_picture_shows_a_readable_number_of_nodes(name, tmp_path):
    model = real(getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3)), tmp_path)
    cut = lod.make_cut(model.hierarchy, model.units_of, lod.first_cut(model.hierarchy))
    assert 8 <= int(cut.leaf.sum()) <= 40
    assert is_acyclic(cut_edges(model.hierarchy, lod.first_cut(model.hierarchy)))
    model.close()
