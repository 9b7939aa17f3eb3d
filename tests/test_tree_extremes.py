"""Trees of networks that nobody would draw: very deep, very wide, oddly named, empty."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest

from explorer.drawing.appearance import node_family
from explorer.formats.naming.text import Names
from explorer.network import Layer, Link, Network, Scope
from explorer.tree.builder import build_hierarchy
from explorer.tree.hierarchy import Hierarchy
from explorer.weights.composites import expand


def network(
    layers: list[str], links: list[tuple[str, str]] = [], scopes: list[str] = [],  # noqa: B006
    config: dict[str, Any] | None = None,
) -> Network:  # fmt: skip
    made = tuple(Layer(p, "Dense", config or {"units": 4}, (), (None, 4)) for p in layers)
    outer = tuple(Scope(p, "Functional") for p in scopes)
    return Network("odd", "test", made, outer, tuple(Link(a, b) for a, b in links))


def checked(hierarchy: Hierarchy) -> Hierarchy:
    """The same, when it is a tree of all layers in which every path is another."""
    nodes = hierarchy.nodes
    assert len({n.path for n in nodes}) == len(nodes)
    assert sorted(hierarchy.order) == list(range(len(hierarchy.network.layers)))
    for i, node in enumerate(nodes):
        assert all(nodes[c].parent == i for c in node.children)
        assert node.children or node.kind == "layer" or i == 0
    return hierarchy


def test_a_network_without_layers_is_one_empty_node():
    hierarchy = checked(build_hierarchy(network([]), set()))
    assert len(hierarchy.nodes) == 1
    assert node_family(hierarchy, 0) == "other"


def test_names_of_thousands_of_words():
    names = ["ab" + "_x" * 5000 + str(i) for i in range(5)]
    started = time.process_time()
    checked(build_hierarchy(network(names), set()))
    checked(build_hierarchy(network(["/".join(n.split("_")) for n in names]), set()))
    assert time.process_time() - started < 9


def test_1500_nested_scopes():
    scopes = ["s0"]
    while len(scopes) < 1500:
        scopes.append(f"{scopes[-1]}/s{len(scopes)}")
    inner = f"{scopes[-1]}/x"
    hierarchy = checked(build_hierarchy(network([inner, "y"], [(inner, "y")], scopes), set()))
    assert len(hierarchy.ancestors(hierarchy.by_path[inner])) >= 1500
    without = checked(build_hierarchy(network(["y"], [], scopes), set()))
    assert [n.path for n in without.nodes] == ["", "y"]


def test_configurations_of_any_depth_are_compared():
    def nested(inner: object) -> dict[str, Any]:
        config: Any = inner
        for _ in range(3000):
            config = {"config": [config], "name": "x"}
        return config

    names = [f"layer_{i}" for i in range(5)]
    links = list(itertools.pairwise(names))
    net = network(names, links, config=nested({"units": 4}))
    hierarchy = checked(build_hierarchy(net, set()))
    assert [n.kind for n in hierarchy.nodes].count("series") == 1
    odd = Layer("layer_2", "Dense", nested({"units": 5}), (), (None, 4))
    layers = tuple(odd if la.path == "layer_2" else la for la in net.layers)
    hierarchy = build_hierarchy(Network("odd", "test", layers, (), net.links), set())
    assert [n.kind for n in hierarchy.nodes].count("series") == 0


def test_a_scope_with_a_layers_path_takes_another():
    net = network(["a", "a/b", "a/c"], [("a", "a/b"), ("a/b", "a/c")], ["a"])
    hierarchy = checked(build_hierarchy(net, set()))
    scope = next(n for n in hierarchy.nodes if n.kind == "scope" and n.parent == 0)
    assert scope.path == "a~2"
    assert scope.title == "a"
    assert [hierarchy.nodes[c].path for c in scope.children] == ["a/b", "a/c"]
    layer = hierarchy.layer(hierarchy.by_path["a"])
    assert layer is not None
    assert layer.path == "a"


def test_names_that_look_like_units_are_rewritten_once_and_stay_unique():
    paths = ["a", "a[0]", "a(0)", "s[x]/b", "s[x]/b[0:4]", "c[1]d", "d[0]"]
    net = network(paths, [("a", "a[0]"), ("a[0]", "s[x]/b[0:4]")], ["s[x]", "d[0]"])
    made = expand(net)
    assert [la.path for la in made.layers] == [
        "a", "a(0)~2", "a(0)", "s(x)/b", "s(x)/b(0:4)", "c[1]d", "d(0)",
    ]  # fmt: skip
    assert [s.path for s in made.scopes] == ["s(x)", "d(0)"]
    assert [(k.source, k.target) for k in made.links] == [
        ("a", "a(0)~2"),
        ("a(0)~2", "s(x)/b(0:4)"),
    ]
    assert expand(made) == made
    checked(build_hierarchy(made, set()))


def test_a_file_gives_no_path_that_reads_like_a_unit():
    names = Names()
    assert names.unique("s/", "a[0]") == "s/a(0)"
    assert names.unique("s/", "a(0)") == "s/a(0)~2"
    assert names.unique("", "a[0]b") == "a[0]b"


@pytest.mark.parametrize("branches", [8000])
def test_thousands_of_parallel_branches_take_little_time(branches: int):
    names, links = ["i"], []
    for k in range(branches):
        names += [f"c{k}_conv", f"c{k}_relu"]
        links += [("i", names[-2]), (names[-2], names[-1]), (names[-1], "add")]
    net = network([*names, "add"], links)
    start = time.process_time()
    checked(build_hierarchy(net, set(names[1::2])))
    assert time.process_time() - start < 9  # 2 s is usual; it was 18 when it was quadratic


def test_titles_go_without_the_networks_own_name():
    names = ["input", "net_stem", "add", "net_a", "add_1", "net_b", "add_2", "net_c", "net_"]
    ends = [*itertools.pairwise(names), ("input", "add"), ("add", "add_1"), ("add_1", "add_2")]
    paths = [*names, "net_box/one"]
    layers = tuple(Layer(n, "Dense", {}, (), (None, 4)) for n in paths)
    links = tuple(Link(a, b) for a, b in [*ends, ("net_", "net_box/one")])
    scopes = (Scope("net_box", "Sequential"),)
    titles = {}
    for name in ("net", "other"):
        made = build_hierarchy(Network(name, "test", layers, scopes, links), set())
        titles[name] = [n.title for p in ("net_stem", "net_box", "input") for n in made.nodes
                        if n.path == p]  # fmt: skip
    assert titles["net"] == ["stem", "box", "input"]
    assert titles["other"][0] == "net_stem"
