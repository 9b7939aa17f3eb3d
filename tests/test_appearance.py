"""What a closed node looks like: how many blocks it shows, its colour, how large its units are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from explorer.drawing.appearance import SLICES, members, node_family, unit_size
from explorer.network import ByteRange, Layer, Link, Network, Weight
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.tree.lod import UnitRange
from explorer.weights.units import Units


def layer(path: str, kind: str = "Dense", width: int = 8) -> Layer:
    where = ByteRange("/nowhere", 0, 4 * width * width)
    kernel = Weight(f"{path}/kernel", "kernel", (width, width), "float32", where)
    weights = (kernel,) if kind == "Dense" else ()
    return Layer(path, kind, {}, ((None, width),), (None, width), weights)


def row(*layers: Layer) -> Network:
    paths = [la.path for la in layers]
    links = tuple(Link(a, b) for a, b in itertools.pairwise(paths))
    return Network("made", "test", layers, (), links)


def stages(*blocks: int) -> Network:
    """Stages of blocks whose widths grow, so that no two blocks are equal."""
    made = [layer("input", "InputLayer")]
    for s, count in enumerate(blocks, 1):
        for b in range(1, count + 1):
            name = f"conv{s}/block{b}"
            made += [layer(f"{name}/one", width=8 + b), layer(f"{name}/act", "ReLU", 8 + b)]
            made += [layer(f"{name}/two", width=8 + b), layer(f"{name}/sum", "Add", 8 + b)]
    return row(*made, layer("head"))


@pytest.mark.parametrize("count", [3, 6, 12, 48])
def test_a_stage_shows_its_blocks_though_they_differ_in_shape(count):
    with OpenModel(stages(2, count)) as model:
        hierarchy = model.hierarchy
        at = hierarchy.by_path["conv2"]
        assert members(hierarchy, at) == count
        assert members(hierarchy, hierarchy.by_path["conv2/block2"]) == 1
        session = Session(model)
        session.close("conv2")
        drawn, row_ = session.draw_list, session.row_of("conv2")
        assert (drawn.solids.node == row_).sum() == min(count, SLICES)
        assert f"conv2 · {count} blocks" in [label.text for label in drawn.labels]
        session.close_session()


def test_a_series_in_pieces_tells_how_many_there_are_in_all():
    blocks = [layer(f"net/block_{k}/{part}") for k in range(300) for part in ("one", "two")]
    with OpenModel(row(layer("in", "InputLayer"), *blocks, layer("out"))) as model:
        hierarchy = model.hierarchy
        series = [i for i in hierarchy.nodes[0].children if hierarchy.nodes[i].kind == "series"]
        assert [members(hierarchy, i) for i in series] == [300]


def test_what_differs_is_not_counted():
    layers = [layer("net/a/one"), layer("net/a/two"), layer("net/b/one"), layer("net/b/two")]
    layers += [layer(f"net/c/{k}", "ReLU" if k % 2 else "Dense") for k in range(9)]
    with OpenModel(row(layer("in", "InputLayer"), *layers, layer("out"))) as model:
        hierarchy = model.hierarchy
        assert members(hierarchy, hierarchy.by_path["net"]) == 1
        assert members(hierarchy, 0) == 1


def test_a_block_with_attention_has_its_colour_though_other_weights_are_more():
    made = [layer("in", "InputLayer")]
    for name in ("block_0", "block_1"):
        made += [layer(f"{name}/self_attn/{part}") for part in ("query", "key", "value", "out")]
        made += [layer(f"{name}/mlp/up", width=16), layer(f"{name}/mlp/down", width=16)]
    with OpenModel(row(*made, layer("head", width=64))) as model:
        hierarchy = model.hierarchy
        at = hierarchy.by_path
        assert node_family(hierarchy, at["block_0"]) == "attention"
        assert node_family(hierarchy, at["block_0/self_attn"]) == "attention"
        assert node_family(hierarchy, at["block_0/mlp"]) == "dense"
        assert node_family(hierarchy, at["block_0/self_attn/query"]) == "dense"
        assert node_family(hierarchy, 0) == "dense"  # the head holds nearly all weights


def test_a_long_grid_of_units_stays_near_the_size_of_a_square_one():
    what = layer("query", width=128)
    units = Units(128, 128, heads=(4, 32))
    one = UnitRange(0, 1)
    square = unit_size(what, units, (11, 12), one, False)
    long = unit_size(what, units, (4, 32), one, False)
    assert 32 * long[2] < 2 * 12 * square[2]
    assert np.array(long).min() > 0.05


def test_a_network_without_layers_says_so():
    session = Session(Network("empty", "test", ()))
    drawn = session.draw_list
    assert len(drawn.solids.node) == len(drawn.frames.node) == len(drawn.labels) == 0
    assert "this network holds no layers" in drawn.legend.lines
    session.close_session()
