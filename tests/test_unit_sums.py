"""Sums between units are kept in pieces while a person opens and closes: against plain numpy."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from explorer.crossing import unit_sides, unit_sums, unit_tables
from explorer.crossing.edges import EdgeFinder
from explorer.crossing.unit_sums import MOST_OPEN
from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Weight
from explorer.open_model import OpenModel
from explorer.tree.lod import UnitRange, make_cut, open_units

SIZES = (3, 700, 600)
MANY = 1_000_000  # edges that may be drawn


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    """Two Dense layers of 700 and 600 units; some weights of the second are not finite."""
    file = tmp_path_factory.mktemp("dense") / "weights.bin"
    values = np.random.default_rng(0)
    kernels = [values.normal(size=s).astype("<f4") for s in pairwise(SIZES)]
    kernels[1][5, 7] = np.nan
    kernels[1][650, 30:40] = np.inf
    file.write_bytes(b"".join(k.tobytes() for k in kernels))
    stat = file.stat()
    layers = [Layer("in", "InputLayer", {}, (), (None, SIZES[0]), ())]
    links, at = [], 0
    for name, kernel in zip("ab", kernels, strict=True):
        rows, columns = kernel.shape
        where = ByteRange(str(file), at, kernel.nbytes)
        at += kernel.nbytes
        weight = Weight(f"{name}/kernel", "kernel", kernel.shape, "float32", where)
        links.append(Link(layers[-1].path, name, 0, 0, 0, (None, rows)))
        layers.append(Layer(name, "Dense", {}, ((None, rows),), (None, columns), (weight,)))
    stamp = FileStamp(str(file), stat.st_size, stat.st_mtime_ns)
    with OpenModel(
        Network("dense", "test", tuple(layers), (), tuple(links), files=(stamp,))
    ) as model:
        for path in model.weighted:
            for connection in model.wires.connections(path):
                model.pyramid.build(connection)
        yield model, kernels[1].astype(np.float64)


def shown(cut, name: str) -> list[tuple[int, UnitRange]]:
    """Rows of the ranges of units that show of a layer."""
    rows = zip(cut.paths, cut.units, cut.leaf.tolist(), strict=True)
    return [
        (row, units)
        for row, (path, units, leaf) in enumerate(rows)
        if leaf and units is not None and path[0] == name
    ]


def added(values: np.ndarray, sides) -> np.ndarray:
    """Sums over the ranges of either side."""
    for axis, side in enumerate(sides):
        starts = [units.start for _, units in side]
        values = np.add.reduceat(values, starts, axis=axis)
    return values


@pytest.mark.parametrize(
    ("tile", "few", "most"), [(64, 1 << 16, MOST_OPEN), (50, 1 << 12, MANY), (64, 0, MANY)]
)
def test_what_was_opened_and_closed_is_summed_as_if_for_the_first_time(
    dense, monkeypatch, tile, few, most
) -> None:
    model, kernel = dense
    monkeypatch.setattr(unit_sides, "TILE", tile)
    monkeypatch.setattr(unit_tables, "_FEW", few)
    monkeypatch.setattr(unit_sums, "MOST_OPEN", most)
    choose, finder = random.Random(tile + few), EdgeFinder(model)
    layers = {la.path: la for la in model.graph.layers}
    ranges = []
    for name in "ab":
        inner, _ = open_units(model.units_of(layers[name]), None)
        assert inner[1] == UnitRange(64, 128)
        ranges += [f"{name}[{r.start}:{r.stop}]" for r in inner]
    opened = {"a", "b", *ranges[:5], *ranges[11:15]}
    scopes = {n.path for n in model.hierarchy.nodes if n.kind not in ("layer", "root")}
    for _ in range(6):
        cut = make_cut(model.hierarchy, model.units_of, opened | scopes)
        crossing = finder.crossing(cut, MANY)
        sides = shown(cut, "a"), shown(cut, "b")
        good = np.isfinite(kernel)
        clean = np.where(good, kernel, 0.0)
        square, value, count = (added(v, sides) for v in (clean**2, clean, good.astype(float)))
        one = np.outer(*([units.count == 1 for _, units in side] for side in sides))
        assert crossing.total == one.sum()
        assert crossing.total_sum_sq == pytest.approx(square[one].sum(), rel=1e-6)
        assert crossing.non_finite == (~good).sum()
        place = [{row: at for at, (row, _) in enumerate(side)} for side in sides]
        edges, stats = crossing.edges, crossing.edges.stats
        drawn = [
            (at, place[0][tail], place[1][head])
            for at, (tail, head) in enumerate(zip(edges.source, edges.target, strict=True))
            if tail in place[0] and head in place[1]
        ]
        at, tail, head = np.array(drawn).T
        np.testing.assert_allclose(stats.sum_sq[at], square[tail, head], rtol=1e-6)
        np.testing.assert_allclose(stats.sum[at], value[tail, head], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(stats.count[at], count[tail, head])
        for edge, a, b in choose.sample(drawn, 50):
            here, there = sides[0][a][1], sides[1][b][1]
            block = clean[here.start : here.stop, there.start : there.stop]
            assert stats.max_abs[edge] == pytest.approx(np.abs(block).max(), rel=1e-6)
        strength = np.sort((square / np.maximum(count, 1)).ravel())[::-1]
        assert len(drawn) == min(square.size, most)
        weakest = (stats.sum_sq[at] / np.maximum(stats.count[at], 1)).min()
        assert weakest == pytest.approx(strength[len(drawn) - 1], rel=1e-6)
        for path in choose.sample(ranges, 3):
            opened ^= {path}


def test_only_what_was_opened_is_summed(dense, monkeypatch) -> None:
    model, _ = dense
    finder, asked = EdgeFinder(model), []
    stats = type(model.pyramid).stats

    def counted(self, connection, out, inside, *shape):
        asked.append(int((out >= 0).sum()) * int((inside >= 0).sum()))
        return stats(self, connection, out, inside, *shape)

    monkeypatch.setattr(type(model.pyramid), "stats", counted)
    scopes = {n.path for n in model.hierarchy.nodes if n.kind not in ("layer", "root")}
    opened = {*scopes, "a", "b"} | {f"a[{64 * k}:{64 * k + 64}]" for k in range(10)}
    opened |= {f"b[{64 * k}:{64 * k + 64}]" for k in range(5)}
    finder.crossing(make_cut(model.hierarchy, model.units_of, opened), MANY)
    assert sum(asked) >= 600 * 700
    asked.clear()
    opened.add("b[320:384]")
    finder.crossing(make_cut(model.hierarchy, model.units_of, opened), MANY)
    # The units that opened, with all of the layer before; and ranges with ranges, out of blocks.
    assert 0 < sum(asked) <= 64 * 700 + 280 * 60 + 700 * SIZES[0]
