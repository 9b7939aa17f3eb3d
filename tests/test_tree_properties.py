"""What must hold for the tree of any layer graph, checked by brute force."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from explorer.network import Layer, Link, Network, Scope
from explorer.tree.builder import build_hierarchy
from explorer.tree.hierarchy import Hierarchy
from explorer.tree.titles import FAN

KINDS = ("Dense", "Add", "InputLayer", "Activation", "Conv2D")
words = st.sampled_from(
    ["a", "b", "conv", "1", "2", "17", "block", "layers", "é", "x y", "🙂", "", "dense", "op"]
)
separators = st.sampled_from(["/", ".", "_", "-", "//", "__"])


@st.composite
def names(draw: st.DrawFn, count: int) -> list[str]:
    """Different paths: counters, scopes, dots, junk, equal stems, names made from the kind."""
    style = draw(st.sampled_from(["mixed", "counted", "blocks", "junk"]))
    if style == "counted":
        return [f"op_{i}" for i in range(count)]
    if style == "blocks":
        size = draw(st.integers(1, 6))
        join = draw(separators)
        return [f"block{join}{i // size}{join}part{i % size}" for i in range(count)]
    if style == "junk":
        return draw(st.lists(st.text(min_size=1, max_size=8).filter(lambda t: t.strip("/")),
                             min_size=count, max_size=count, unique=True))  # fmt: skip
    made: list[str] = []
    for i in range(count):
        parts = draw(st.lists(st.tuples(words, separators), min_size=1, max_size=4))
        name = "".join(f"{s}{w}" for w, s in parts).lstrip("/") or "n"
        made.append(name if name not in made else f"{name}_{i}")
    return made


@st.composite
def networks(draw: st.DrawFn, most: int = 60, *, loops: bool = False) -> Network:
    """A random layer graph, now and then made of a part that repeats."""
    unit = draw(st.integers(1, 9))
    repeats = draw(st.sampled_from([1, 1, 2, 3, 5, 8]))
    count = min(unit * repeats + draw(st.integers(0, 3)), most)
    own = [draw(st.sampled_from(KINDS)) for _ in range(unit)]
    offsets = [
        draw(st.lists(st.integers(1, unit + 3), max_size=3, unique=True)) for _ in range(unit)
    ]
    config: list[dict[str, Any]] = [{"units": draw(st.integers(1, 2))} for _ in range(unit)]
    pairs = {(i - d, i) for i in range(count) for d in offsets[i % unit] if i >= d}
    pairs |= {(0, i) for i in range(1, count) if draw(st.integers(0, 9)) == 0}
    extra = st.tuples(st.integers(0, count), st.integers(0, count)).filter(
        lambda p: max(p) < count and (p[0] < p[1] or loops)
    )
    if count:
        pairs |= draw(st.sets(extra, max_size=draw(st.sampled_from([0, 0, 4, 30])))) if (
            count > 1 or loops
        ) else set()  # fmt: skip
    paths = draw(names(count))
    layers = [
        Layer(p, own[i % unit], {"name": p, **config[i % unit]}, (), (None, 4))
        for i, p in enumerate(paths)
    ]
    if draw(st.booleans()):  # the file need not have them in an order of flow
        layers = draw(st.permutations(layers))
    beginnings = sorted({p[:k] for p in paths for k in range(1, len(p)) if p[k] == "/"})
    scopes = draw(st.sets(st.sampled_from(beginnings))) if beginnings else set()
    recorded = [Scope(p, "Model", {}, draw(st.booleans())) for p in sorted(scopes)]
    links = [Link(paths[a], paths[b]) for a, b in sorted(pairs)]
    return Network("random", "test", tuple(layers), tuple(recorded), tuple(links))


def weighted(network: Network) -> set[str]:
    return {la.path for la in network.layers if la.kind in ("Dense", "Conv2D")}


def sorts(edges: set[tuple[int, int]]) -> bool:
    """Whether a graph has no cycle: vertices that nothing points at are taken away."""
    left = set(edges)
    while left:
        targets = {b for _, b in left}
        rest = {(a, b) for a, b in left if a in targets}
        if rest == left:
            return False
        left = rest
    return True


def places(hierarchy: Hierarchy) -> dict[str, int]:
    return {hierarchy.network.layers[i].path: k for k, i in enumerate(hierarchy.order)}


def check_tree(hierarchy: Hierarchy) -> None:
    nodes, network = hierarchy.nodes, hierarchy.network
    assert sorted(hierarchy.order) == list(range(len(network.layers)))
    assert len(set(hierarchy.paths)) == len(nodes) == len(hierarchy.by_path)
    assert all(hierarchy.by_path[n.path] == i for i, n in enumerate(nodes))
    assert (nodes[0].path, nodes[0].parent) == ("", -1)
    assert nodes[0].layers == (0, len(network.layers))
    for i, node in enumerate(nodes):
        assert len(node.children) <= 40
        assert node.title
        if node.kind == "layer":
            assert not node.children
            assert node.layers[1] == node.layers[0] + 1
            layer = hierarchy.layer(i)
            assert layer is network.layers[hierarchy.order[node.layers[0]]]
            assert (layer.path, layer.kind) == (node.path, node.type)
            continue
        assert hierarchy.layer(i) is None
        assert node.children or i == 0
        at = node.layers[0]
        for child in node.children:
            assert child > i
            assert nodes[child].parent == i
            assert nodes[child].layers[0] == at
            at = nodes[child].layers[1]
        assert at == node.layers[1]


def check_flow(hierarchy: Hierarchy) -> None:
    """The order of the layers, and that of the children of each node, goes with the links."""
    place = places(hierarchy)
    links = [(place[k.source], place[k.target]) for k in hierarchy.network.links]
    assert all(a < b for a, b in links)
    for node in hierarchy.nodes:
        owner = {k: c for c in node.children for k in range(*hierarchy.nodes[c].layers)}
        edges = {(owner[a], owner[b]) for a, b in links if a in owner and b in owner}
        assert sorts({(a, b) for a, b in edges if a != b})


def members(hierarchy: Hierarchy, index: int) -> list[int]:
    found: list[int] = []
    for child in hierarchy.nodes[index].children:
        found += members(hierarchy, child) if hierarchy.pieces[child] else [child]
    return found


def check_series(hierarchy: Hierarchy) -> int:
    """Members of each series are equal; returns how many series there are."""
    place = places(hierarchy)
    links = [(place[k.source], place[k.target], k.target_input) for k in hierarchy.network.links]
    layers = [hierarchy.network.layers[i] for i in hierarchy.order]
    found = [i for i, n in enumerate(hierarchy.nodes) if n.kind == "series"]
    for index in found:
        inside = members(hierarchy, index)
        assert len(inside) == hierarchy.copies[index] >= 2
        spans = [hierarchy.nodes[m].layers for m in inside]
        assert len({b - a for a, b in spans}) == 1
        width = spans[0][1] - spans[0][0]
        looks, fed, inner = [], [], []
        for start, stop in spans:
            looks.append([
                (la.kind, {k: v for k, v in la.config.items() if k != "name"}, la.output_shape)
                for la in layers[start:stop]
            ])  # fmt: skip
            inner.append(Counter((a - start, b - start, t) for a, b, t in links
                                 if start <= a < stop and start <= b < stop))  # fmt: skip
            fed.append(Counter((b - start, t) for a, b, t in links
                               if start <= b < stop and not start <= a < stop))  # fmt: skip
        assert all(x == looks[0] for x in looks)
        assert all(x == inner[0] for x in inner)
        pairs = {(a, b) for a, b, _ in links}
        assert all(Counter(b for b, _ in x) == Counter(b for b, _ in fed[0]) for x in fed)
        from_before = [
            {(a - s, b - t) for a, b in pairs if s <= a < s + width and t <= b < t + width}
            for (s, _), (t, _) in itertools.pairwise(spans)
        ]
        abreast = FAN in hierarchy.nodes[index].path  # side by side, not in a row
        assert all(x == from_before[0] and (not x) == abreast for x in from_before)
        first = spans[0][0]
        outside = [
            {(a, b - s) for a, b in pairs if s <= b < s + width and a < first} for s, _ in spans
        ]
        assert all(x == outside[2] for x in outside[3:])
    return len(found)


relaxed = settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=200)


@given(networks())
@relaxed
def test_the_tree_of_any_acyclic_graph(network):
    hierarchy = build_hierarchy(network, weighted(network))
    check_tree(hierarchy)
    check_flow(hierarchy)
    check_series(hierarchy)
    again = build_hierarchy(network, weighted(network))
    assert list(again.nodes) == list(hierarchy.nodes)
    assert again.order == hierarchy.order


@given(networks(loops=True))
@relaxed
def test_the_tree_of_a_graph_with_loops(network):
    hierarchy = build_hierarchy(network, weighted(network))
    check_tree(hierarchy)


@given(networks(most=400), st.integers(41, 300))
@settings(relaxed, max_examples=40)
def test_wide_scopes(network, count):
    side = tuple(Layer(f"side {i}", "Dense") for i in range(count))
    first = network.layers[0].path if network.layers else "side 0"
    more = tuple(Link(first, la.path) for la in side if la.path != first)
    wide = Network(
        "wide", "test", (*network.layers, *side), network.scopes, (*network.links, *more)
    )
    hierarchy = build_hierarchy(wide, weighted(wide))
    check_tree(hierarchy)
    check_flow(hierarchy)


def blocks(count: int, *, masked: bool = True, odd: int | None = None, join: str = "/") -> Network:
    """Residual blocks of three layers, a mask fed to the second of each but the odd one."""
    layers = [Layer("x", "InputLayer"), Layer("mask", "InputLayer")]
    links, last = [], "x"
    for k in range(count):
        name = f"net{join}block_{k}{join}"
        parts = [name + p for p in ("norm", "mix", "add")]
        kinds = ("LayerNormalization", "Attention", "Add")
        layers += [Layer(p, kind, {"name": p}) for p, kind in zip(parts, kinds, strict=True)]
        links += [(last, parts[0]), (parts[0], parts[1]), (parts[1], parts[2]), (last, parts[2])]
        if masked and k != odd:
            links.append(("mask", parts[1]))
        last = parts[2]
    layers.append(Layer("out", "Dense"))
    links.append((last, "out"))
    return Network("n", "test", tuple(layers), (), tuple(Link(a, b) for a, b in links))


def test_blocks_that_share_a_mask_are_one_series():
    for join in ("/", ".", "_"):
        hierarchy = build_hierarchy(blocks(30, join=join), {"out"})
        check_series(hierarchy)
        (series,) = [i for i, n in enumerate(hierarchy.nodes) if n.kind == "series"]
        assert hierarchy.copies[series] == 30


def test_a_block_without_the_mask_stays_out():
    hierarchy = build_hierarchy(blocks(12, odd=5), {"out"})
    assert check_series(hierarchy) == 2
    counts = [int(c) for c in hierarchy.copies if c]
    assert counts == [5, 6]
    odd = hierarchy.nodes[hierarchy.by_path["net/block_5"]]
    assert hierarchy.nodes[odd.parent].kind == "scope"


def test_blocks_fed_by_another_mask_are_another_series():
    one = blocks(12)
    late = {f"net/block_{k}/mix" for k in range(6, 12)}
    other = tuple(
        Link("other", k.target) if k.source == "mask" and k.target in late else k for k in one.links
    )
    layers = (Layer("other", "InputLayer"), *one.layers)
    hierarchy = build_hierarchy(Network("n", "test", layers, (), other), {"out"})
    check_series(hierarchy)
    assert [int(c) for c in hierarchy.copies if c] == [6, 6]


def test_more_members_than_a_scope_shows():
    hierarchy = build_hierarchy(blocks(500), {"out"})
    check_tree(hierarchy)
    assert check_series(hierarchy) > 1
    top = next(i for i, n in enumerate(hierarchy.nodes) if n.kind == "series")
    assert hierarchy.copies[top] == 500


def test_a_scope_that_is_left_and_entered_again_is_split():
    layers = tuple(Layer(p, "Dense", {"units": i}) for i, p in enumerate(["a/x", "b/y", "a/z"]))
    links = (Link("a/x", "b/y"), Link("b/y", "a/z"))
    for scopes in ((Scope("a", "Model"), Scope("b", "Model")), ()):
        hierarchy = build_hierarchy(Network("n", "test", layers, scopes, links), set())
        check_tree(hierarchy)
        check_flow(hierarchy)
    hierarchy = build_hierarchy(
        Network("n", "test", layers, (Scope("a", "Model"), Scope("b", "Model")), links), set()
    )
    titles = [hierarchy.nodes[c].title for c in hierarchy.nodes[0].children]
    assert titles == ["a", "b", "a (2)"]


def test_blocks_without_names_are_found():
    named = blocks(40)
    number = {la.path: f"op_{i}" for i, la in enumerate(named.layers)}
    layers = tuple(Layer(number[la.path], la.kind) for la in named.layers)
    links = tuple(Link(number[k.source], number[k.target]) for k in named.links)
    hierarchy = build_hierarchy(Network("n", "test", layers, (), links), set())
    check_tree(hierarchy)
    check_flow(hierarchy)
    check_series(hierarchy)
    assert int(hierarchy.copies.max()) == 40
