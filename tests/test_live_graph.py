"""A weighted graph of networkx: every edge with its weight, and none that it does not have."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import explorer
from explorer.errors import NeuronautError
from explorer.live.graph import network_of_graph
from explorer.open_model import OpenModel
from explorer.panel.matrix import weight_matrix
from explorer.panel.panel import layer_panel
from explorer.panel.plane import Span
from explorer.report import edges_json
from explorer.session.session import Session
from explorer.tree import lod
from explorer.viewing.view_state import ViewState


def told(model: OpenModel, source: str, target: str, size: tuple[int, int]) -> np.ndarray:
    """Signed weights from one node to another, (out, in); NaN where there is none."""
    found = edges_json(model, source, target, 100_000)
    whole = np.full(size, np.nan)
    for edge in found["edges"]:
        whole[edge["to_unit"], edge["from_unit"]] = edge["signed_mean"]
        assert edge["weights"] == 1
    assert found["total_connections"] == np.isfinite(whole).sum()
    return whole


def matrix(graph: nx.DiGraph, sources: list[Any], targets: list[Any]) -> np.ndarray:
    """Weights as networkx tells them, (out, in); NaN where there is no edge."""
    nodes = list(graph)
    whole = nx.to_numpy_array(graph, nodes, nonedge=math.nan)
    return whole[np.ix_([nodes.index(s) for s in sources], [nodes.index(t) for t in targets])].T


def layered(sizes: tuple[int, ...], keep: float, key: str = "layer", seed: int = 0) -> nx.DiGraph:
    """Layers one after the other, a share of the pairs between neighbours joined."""
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph()
    for layer, size in enumerate(sizes):
        graph.add_nodes_from((f"n{layer}_{i}" for i in range(size)), **{key: layer})
    for layer, (a, b) in enumerate(itertools.pairwise(sizes)):
        for i, j in np.argwhere(rng.random((a, b)) < keep).tolist():
            weight = float(rng.standard_normal())
            graph.add_edge(f"n{layer}_{i}", f"n{layer + 1}_{j}", weight=weight)
    return graph


@pytest.mark.parametrize("keep", [1.0, 0.3])
@pytest.mark.parametrize("key", ["layer", "subset"])
def test_nodes_of_a_layer_are_its_units_and_pairs_without_an_edge_have_no_weight(
    key: str, keep: float
) -> None:
    graph = layered((5, 4, 3), keep, key)
    network = network_of_graph(graph)
    assert [la.path for la in network.layers] == [f"{key} 0", f"{key} 1", f"{key} 2"]
    assert network.parameters == graph.number_of_edges()
    with OpenModel(network, lasting=False) as model:
        for layer, (a, b) in enumerate(((5, 4), (4, 3))):
            expected = matrix(graph, [f"n{layer}_{i}" for i in range(a)],
                              [f"n{layer + 1}_{i}" for i in range(b)])  # fmt: skip
            ends = f"{key} {layer}", f"{key} {layer + 1}"
            np.testing.assert_array_equal(told(model, *ends, (b, a)), expected)
            target = model.graph.layer_by_path[ends[1]]
            shown = weight_matrix(model, target, target.weights[0])
            bands = list(shown.bands(Span(0, b), Span(0, a)))
            np.testing.assert_array_equal(np.concatenate(bands)[:, :, 0], expected)


def test_a_node_without_a_layer_is_one() -> None:
    graph = nx.DiGraph(name="cells")
    graph.add_node("eye", kind="Sensor", gain=np.float32(0.5), tags=["a", {"b": (1, 2)}])
    graph.add_weighted_edges_from([("eye", "brain", 2.0), ("ear", "brain", -3.0),
                                   ("brain", "hand", 0.25), ("hand", "brain", 4.0),
                                   ("brain", "brain", -0.5)])  # fmt: skip
    with explorer.open_network(graph) as view:
        assert (view.network.name, view.network.format) == ("cells", "networkx")
        layers = view.network.layer_by_path
        assert layers["eye"].kind == "Sensor"
        assert layers["eye"].config == {"gain": 0.5, "kind": "Sensor",
                                        "tags": ["a", {"b": [1, 2]}]}  # fmt: skip
        for source, target, weight in graph.edges(data="weight"):
            (edge,) = view.edges(source, target, top=5)["edges"]
            assert edge["signed_mean"] == weight
        assert view.edges("eye", "hand", top=5)["total_connections"] == 0


def test_an_edge_without_a_weight_is_a_link_without_a_number() -> None:
    graph = nx.DiGraph([("a", "b"), ("b", "c"), ("c", "c")])
    graph.edges["a", "b"]["weight"] = 1.5
    network = network_of_graph(graph)
    assert {(k.source, k.target) for k in network.links} == set(graph.edges)
    assert network.parameters == 1
    assert "2 edges have no weight: they are links without a number" in network.notes
    with OpenModel(network, lasting=False) as model:
        assert edges_json(model, "b", "c", 5)["total_connections"] == 0


def test_parallel_edges_are_added_up_as_networkx_does() -> None:
    graph = nx.MultiDiGraph()
    graph.add_weighted_edges_from([("a", "b", 1.5), ("a", "b", 2.0), ("b", "a", 3.0)])
    network = network_of_graph(graph)
    assert "1 parallel edges are added up" in network.notes
    with OpenModel(network, lasting=False) as model:
        assert told(model, "a", "b", (1, 1))[0, 0] == nx.to_numpy_array(graph)[0, 1] == 3.5


def test_a_layer_that_feeds_itself_has_a_loop_and_cycles_keep_their_weights() -> None:
    graph = layered((4, 3), 1.0)
    graph.add_weighted_edges_from([("n1_0", "n1_2", 5.0), ("n1_2", "n1_0", 6.0),
                                   ("n1_1", "n0_3", 7.0)])  # fmt: skip
    with OpenModel(network_of_graph(graph), lasting=False) as model:
        own, back = [f"n1_{i}" for i in range(3)], [f"n0_{i}" for i in range(4)]
        np.testing.assert_array_equal(told(model, "layer 1", "layer 1", (3, 3)),
                                      matrix(graph, own, own))  # fmt: skip
        np.testing.assert_array_equal(told(model, "layer 1", "layer 0", (4, 3)),
                                      matrix(graph, own, back))  # fmt: skip
        np.testing.assert_array_equal(told(model, "layer 0", "layer 1", (3, 4)),
                                      matrix(graph, back, own))  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_random_graph_with_cycles_has_networkx_s_weights_wherever_it_is_opened(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(60, 0.08, seed=seed, directed=True)
    for _, _, data in graph.edges(data=True):
        data["weight"] = float(rng.standard_normal())
    graph.add_weighted_edges_from((i, 0, 0.5 + i) for i in range(1, 60))  # one that all feed
    whole = nx.to_numpy_array(graph, nonedge=math.nan)
    with OpenModel(network_of_graph(graph), lasting=False) as model:
        tree = model.hierarchy

        def inside(path: str) -> list[int]:
            first, stop = tree.spans[lod.locate(tree, path)[0]].tolist()
            return [tree.order[i] for i in range(first, stop)]

        groups = [n.path for n in tree.nodes[1:] if n.children and n.kind != "layer"]
        for opened in ([], groups[: len(groups) // 2], groups):
            session = Session(model, ViewState(opened=frozenset(opened), edge_budget=100_000))
            session.wait()
            cut = session.placed.cut
            shown = [path for path, leaf in zip(cut.paths, cut.leaf, strict=True) if leaf]
            home = {layer: path for path in shown for layer in inside(path)}
            edges, nodes = session.draw_list.edges, session.draw_list.nodes
            seen = set()
            for i in np.flatnonzero(edges.weights > 0).tolist():
                source, target = (
                    nodes[e[i]].removesuffix("[0]") for e in (edges.source, edges.target)
                )
                block = whole[np.ix_(inside(source), inside(target))]
                block = block[np.isfinite(block)]
                assert edges.weights[i] == block.size
                rms = math.sqrt(np.mean(block**2))
                assert edges.magnitude[i] == pytest.approx(rms, rel=1e-6)
                assert edges.signed_mean[i] == pytest.approx(block.mean(), rel=1e-6)
                seen.add((home[inside(source)[0]], home[inside(target)[0]]))
            assert seen == {
                (a, b)
                for a, b in itertools.permutations(shown, 2)
                if np.isfinite(whole[np.ix_(inside(a), inside(b))]).any()
            }


def test_what_takes_too_many_rectangles_stays_nodes_in_a_scope(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("explorer.live.graph.MOST_PIECES", 3)
    graph = layered((5, 4), 0.5)
    network = network_of_graph(graph)
    assert [s.path for s in network.scopes] == ["layer 0", "layer 1"]
    assert {la.path.split("/")[0] for la in network.layers} == {"layer 0", "layer 1"}
    assert len(network.layers) == 9
    with OpenModel(network, lasting=False) as model:
        found = edges_json(model, "layer 0", "layer 1", 100)
    weights = sorted(w for _, _, w in graph.edges(data="weight"))
    assert sorted(e["signed_mean"] for e in found["edges"]) == weights


@pytest.mark.parametrize("weight", [3, True, np.float32(1.5), np.int8(-2), Decimal("0.25"),
                                    Fraction(1, 8), np.array(2.5), -0.0, 2**60])  # fmt: skip
def test_a_weight_may_be_any_real_number(weight: Any) -> None:
    network = network_of_graph(nx.DiGraph([("a", "b", {"weight": weight})]))
    with OpenModel(network, lasting=False) as model:
        assert told(model, "a", "b", (1, 1))[0, 0] == float(weight)


@pytest.mark.parametrize(("weight", "why"), [
    ("0.5", "no real number: '0.5'"), (1j, "no real number: a complex"),
    (np.complex64(1), "no real number: a complex64"), ([1.0], "no real number: a list"),
    (np.ones(2), "no real number: a ndarray"), (10**400, "too large for a float"),
    (object(), "no real number: a object"),
])  # fmt: skip
def test_a_weight_that_is_no_number_is_told_with_its_edge(weight: Any, why: str) -> None:
    with pytest.raises(NeuronautError, match="the edge from 'a' to 'b' has a weight that is") as e:
        explorer.open_network(nx.DiGraph([("a", "b", {"weight": weight})]))
    assert why in str(e.value)
    assert "\n" not in str(e.value)


def test_weights_that_are_not_finite_are_counted_not_hidden() -> None:
    graph = nx.DiGraph()
    graph.add_weighted_edges_from([("a", "b", math.nan), ("a", "c", math.inf), ("c", "b", 1.0)])
    with explorer.open_network(graph) as view:
        view.set(overlay="nonfinite")
        assert view.network.parameters == 3
        assert view.edges("c", "b", top=5)["edges"][0]["signed_mean"] == 1.0


class _Nameless:
    def __str__(self) -> str:
        raise RuntimeError


def test_names_of_nodes_may_be_anything() -> None:
    names = ["", "..", "/", "a/b", "a", "a/b/c", "x[0]", "\x00\u202e", "n" * 5000,
             "/".join("a" * 99), 1, "1", 2.0, ("t/u", 2), frozenset(), b"\xff", "a\nb"]  # fmt: skip
    graph = nx.DiGraph()
    graph.add_weighted_edges_from((a, b, 1.0) for a, b in itertools.pairwise(names))
    with explorer.open_network(graph) as view:
        assert len(view.network.layers) == len(names)
        paths = [la.path for la in view.session.model.graph.layers]
        assert len(set(paths)) == len(names)
        assert all(path.isprintable() for path in paths)
    graph = nx.DiGraph([(_Nameless(), "b")])
    with pytest.raises(NeuronautError, match="a _Nameless in the graph has no name"):
        explorer.open_network(graph)


def test_attributes_cannot_change_what_a_layer_is() -> None:
    graph = nx.DiGraph()
    graph.add_node("a", data_format="channels_first", heads=3, head_dim=2, _edges=[1], name="z",
                   kind="MultiHeadAttention", odd=float("nan"), gates=["x"])  # fmt: skip
    graph.add_weighted_edges_from([("a", "b", 2.0), ("b", "a", 3.0)])
    with OpenModel(network_of_graph(graph), lasting=False) as model:
        assert told(model, "a", "b", (1, 1))[0, 0] == 2.0
        assert told(model, "b", "a", (1, 1))[0, 0] == 3.0
        rows = dict(layer_panel(model, "a")["config"])
    assert rows["attribute heads"] == "3"
    assert "_edges" not in rows


def test_a_unit_tells_which_node_it_is() -> None:
    graph = layered((3, 2), 1.0)
    graph.nodes["n0_1"]["region"] = "V1"
    with OpenModel(network_of_graph(graph), lasting=False) as model:
        panel = layer_panel(model, "layer 0[1]")
    assert ("node", "n0_1") in panel["facts"]
    assert ("region", "V1") in panel["config"]


def test_a_scene_of_a_graph_would_name_no_file(tmp_path: Path) -> None:
    with (
        explorer.open_network(layered((3, 2), 1.0)) as view,
        pytest.raises(NeuronautError, match="a live one has none"),
    ):
        view.save_scene(tmp_path / "scene.json")


def test_what_is_no_directed_graph_is_told() -> None:
    with pytest.raises(NeuronautError, match="an undirected graph has no flow"):
        explorer.open_network(nx.path_graph(3))
    with pytest.raises(NeuronautError, match="the graph has no nodes"):
        explorer.open_network(nx.DiGraph())
    with pytest.raises(NeuronautError, match=r"used with a torch\.nn\.Module alone"):
        explorer.open_network(nx.DiGraph([(1, 2)]), example=(1,))
