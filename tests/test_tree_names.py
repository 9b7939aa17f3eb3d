"""What the tree makes of names that count behind, of names used twice, and of equal parts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from test_tree_properties import check_tree

from explorer.network import Layer, Link, Network, Scope
from explorer.tree import lod
from explorer.tree.builder import build_hierarchy
from explorer.tree.hierarchy import Hierarchy


def net(layers: list[tuple[str, str]], links: list[tuple[str, str]], *scopes: str) -> Network:
    made = tuple(Layer(p, k, {"units": 4}, ((None, 4),), (None, 4)) for p, k in layers)
    recorded = tuple(Scope(s, "Functional", {}, False) for s in scopes)
    return Network("net", "test", made, recorded, tuple(Link(a, b) for a, b in links))


def tree_of(network: Network) -> Hierarchy:
    weighted = {la.path for la in network.layers if la.kind in ("Conv2D", "Dense")}
    hierarchy = build_hierarchy(network, weighted)
    check_tree(hierarchy)
    return hierarchy


def cells(kinds: str) -> Network:
    """Cells that read the one before and the one before that; their numbers stand behind."""
    layers, links, ends, acts = [("image", "InputLayer")], [], ["image", "image"], 0

    def add(name: str, kind: str, *sources: str) -> str:
        layers.append((name, kind))
        links.extend((source, name) for source in sources)
        return name

    def act(source: str) -> str:
        nonlocal acts
        acts += 1
        return add(f"activation_{acts}", "Activation", source)

    for number, kind in enumerate(kinds):
        word, tail = ("normal", f"{number}") if kind == "n" else ("reduction", f"reduce_{number}")
        older, newer = ends[-2:]
        same = add(f"adjust_bn_{tail}", "BatchNormalization", act(older))
        fresh = add(f"{word}_conv_1_{tail}", "Conv2D", act(newer))
        sums = []
        for branch, source in (("left1", fresh), ("right1", same), ("left2", fresh)):
            name = f"{word}_{branch}_{tail}"
            for step in (1, 2):
                source = add(f"sep_conv_{step}_{name}", "Conv2D", act(source))
                source = add(f"sep_conv_{step}_bn_{name}", "BatchNormalization", source)
            sums.append(source)
        first = add(f"{word}_add_1_{tail}", "Add", *sums[:2])
        ends.append(add(f"{word}_concat_{tail}", "Concatenate", first, sums[2], same))
    add("predictions", "Dense", act(ends[-1]))
    return net(layers, links)


def test_cells_that_are_counted_behind_their_names_are_groups():
    hierarchy = tree_of(cells("nnnrnnn"))
    nodes, scopes = hierarchy.nodes, {}
    for i, node in enumerate(nodes):
        if node.kind == "scope" and i:
            scopes.setdefault(node.title, []).append(i)
    for number in range(7):
        (cell,) = scopes[f"reduce {number}" if number == 3 else f"normal {number}"]
        held = {layer.path for layer in hierarchy.layers_in(cell)}
        tail = "_reduce_3" if number == 3 else f"_{number}"
        named = {
            la.path
            for la in hierarchy.network.layers
            if la.path.endswith(tail) and la.kind != "Activation"
        }
        assert named <= held
        assert all(path in named or path.startswith("activation_") for path in held)
        inner = [nodes[c].title for c in nodes[cell].children]
        assert [t for t in inner if t in ("left1", "right1", "left2")] == [
            "left1",
            "right1",
            "left2",
        ]
        # What the ending says is not said again inside.
        assert "normal_concat" in inner or "reduction_concat" in inner
    opened = lod.first_cut(hierarchy)
    seen = {n.title for n in nodes if n.parent >= 0 and nodes[n.parent].path in {"", *opened}}
    assert {f"normal {k}" for k in (0, 1, 2, 4, 5, 6)} | {"reduce 3"} <= seen


def test_endings_that_tell_the_part_are_no_groups():
    parts = ("query", "key", "value", "out")
    layers = [(f"block_{b}_{p}", "Dense") for b in range(10) for p in parts]
    links = []
    for b in range(10):
        links += [(f"block_{b}_{p}", f"block_{b}_out") for p in parts[:3]]
        links += [(f"block_{b}_out", f"block_{b + 1}_{p}") for p in parts[:3] if b < 9]
    scopes = {n.title for n in tree_of(net(layers, links)).nodes if n.kind == "scope"}
    assert {f"block_{b}" for b in range(10)} <= scopes
    assert scopes.isdisjoint(parts)


def test_series_of_blocks_in_different_stages_tell_the_stage():
    layers, links, last = [("image", "InputLayer")], [], "image"
    adds = 0
    for stage, count in enumerate((3, 4, 2)):
        down = f"downsample_{stage}"
        layers.append((down, "Conv2D"))
        links.append((last, down))
        last = down
        for block in range(count):
            before = last
            for part in ("conv", "norm", "expand", "project"):
                name = f"net_stage_{stage}_block_{block}_{part}"
                layers.append((name, "LayerNormalization" if part == "norm" else "Dense"))
                links.append((last, name))
                last = name
            adds += 1
            layers.append((f"add_{adds}", "Add"))
            links += [(before, f"add_{adds}"), (last, f"add_{adds}")]
            last = f"add_{adds}"
    network = net(layers, links)
    wider = tuple(  # each stage has a width of its own
        replace(la, config={"units": int(la.path[10]) if "stage" in la.path else 4})
        for la in network.layers
    )
    nodes = tree_of(replace(network, layers=wider)).nodes
    series = [n for n in nodes if n.kind == "series"]
    assert [n.title for n in series] == [
        "stage_0 · block_0 … block_2",
        "stage_1 · block_0 … block_3",
        "stage_2 · block_0 … block_1",
    ]
    for one in series:
        titles = [nodes[c].title for c in one.children]
        assert titles == [f"block_{k}" for k in range(len(titles))]


def test_a_region_that_a_recorded_scope_ends_has_a_title_of_its_own():
    layers = [("image", "InputLayer"), ("stem", "Conv2D"), ("residual_conv", "Conv2D"),
              ("residual_add", "Add"), ("refine/a", "Dense"), ("refine/b", "Dense"),
              ("pool", "Flatten"), ("one", "Dense"), ("two", "Dense"), ("three", "Dense"),
              ("four", "Dense"), ("sum", "Add"), ("end", "Dense")]  # fmt: skip
    links = [("image", "stem"), ("stem", "residual_conv"), ("residual_conv", "residual_add"),
             ("stem", "residual_add"), ("residual_add", "refine/a"), ("stem", "refine/a"),
             ("refine/a", "refine/b"), ("stem", "refine/b"), ("refine/b", "pool"), ("pool", "one"),
             ("pool", "two"), ("pool", "three"), ("pool", "four"), ("one", "sum"), ("two", "sum"),
             ("three", "sum"), ("four", "sum"), ("sum", "end")]  # fmt: skip
    nodes = tree_of(net(layers, links, "refine")).nodes
    inner = next(n for n in nodes if n.path == "refine")
    around = nodes[inner.parent]
    assert around.path == "refine~block"
    assert around.title == "residual … refine"


@pytest.mark.parametrize("sizes", [(40,) * 5, (38,) * 7, (36, 36, 36), (40,), (7,) * 7, (35, 2)])
def test_the_first_cut_of_a_network_shows_8_to_40(sizes):
    paths = [
        f"part{part}/{'abc'[k % 3]}{k}" for part, size in enumerate(sizes) for k in range(size)
    ]
    links = list(pairwise(paths))
    network = net([(p, "Flatten") for p in paths], links, *(f"part{p}" for p in range(len(sizes))))
    unlike = tuple(replace(la, config={"k": k}) for k, la in enumerate(network.layers))
    hierarchy = tree_of(replace(network, layers=unlike))
    cut = lod.make_cut(hierarchy, lambda _: pytest.fail("no units"), lod.first_cut(hierarchy))
    assert 8 <= cut.leaf.sum() <= 40


def test_a_prefix_that_names_share_gives_way_before_a_scope():
    """`add_…` around a scope that also something else feeds is no group; the scope stays whole."""
    steps = ["0/norm", "0/self/q", "0/self/mix", "0/self/o", "add_self", "1/norm", "1/cross/q",
             "1/cross/mix", "1/cross/o", "add_cross", "2/norm", "2/mlp/up", "2/mlp/down",
             "add_mlp"]  # fmt: skip
    keys = ["0/self/k", "0/self/v", "1/cross/k", "1/cross/v"]
    layers = [(step, "Dense") for step in (*keys, *steps)]
    links = [*pairwise(steps), ("add_self", "add_cross"), ("add_cross", "add_mlp")]
    links += [("0/norm", "0/self/k"), ("0/norm", "0/self/v")]
    links += [(key, f"{key[:-1]}mix") for key in keys]
    paths = set(tree_of(net(layers, links)).paths)
    assert {"0", "1", "2"} <= paths
    assert "add" not in paths
    assert not any("(2)" in path for path in paths)


def test_two_scopes_with_endings_are_both_regrouped():
    """Groups that one scope gets do not disturb the next."""
    layers, links, last = [("image", "InputLayer")], [], "image"
    for scope in ("one", "two"):
        whole = cells("nnrn")
        layers += [(f"{scope}/{layer.path}", layer.kind) for layer in whole.layers]
        names = {layer.path: path for layer, (path, _) in
                 zip(whole.layers, layers[-len(whole.layers):], strict=True)}  # fmt: skip
        links.append((last, names["image"]))
        links += [(names[link.source], names[link.target]) for link in whole.links]
        last = names["predictions"]
    paths = tree_of(net(layers, links)).paths
    for scope in ("one", "two"):
        assert any(path.startswith(f"{scope}/") and path.endswith("0") for path in paths)


def test_a_prefix_that_a_whole_scope_shares_is_no_group():
    paths = ["norm", "up", "gate", "act", "multiply", "drop", "scale", "down"]
    layers = [("image", "InputLayer"), *((f"experts/{k}/ffn_{p}", "Dense") for k in (0, 1)
                                         for p in paths), ("sum", "Add")]  # fmt: skip
    links = [("image", "experts/0/ffn_norm"), ("image", "experts/1/ffn_norm")]
    for k in (0, 1):
        links += [(f"experts/{k}/ffn_{a}", f"experts/{k}/ffn_{b}") for a, b in pairwise(paths)]
        links.append((f"experts/{k}/ffn_down", "sum"))
    made = tree_of(net(layers, links)).paths
    assert {"experts/0", "experts/1"} <= set(made)
    assert not any(path.endswith("ffn") for path in made)
