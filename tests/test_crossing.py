"""What crosses a cut, compared with every weight followed one by one."""

from __future__ import annotations

import itertools
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from explorer.crossing.edges import EdgeFinder
from explorer.crossing.shares import FEWEST, STRANDS, allot, shares
from explorer.flow.clear_layers import clear_layers, link_sizes
from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Weight
from explorer.open_model import OpenModel
from explorer.tree.hierarchy import Hierarchy, Node
from explorer.tree.lod import Cut, make_cut

ANY = 10**9


class Maker:
    """A small network of Dense, Add, Activation and Concatenate layers with real weights."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.choose = random.Random(seed)
        self.values = np.random.default_rng(seed)
        self.file = folder / f"{seed}.bin"
        self.bytes = b""
        self.layers: list[Layer] = []
        self.links: list[Link] = []
        self.width: dict[str, int] = {}
        self.kernel: dict[str, np.ndarray] = {}

    def add(self, kind: str, sources: tuple[str, ...] = (), units: int = 0) -> str:
        path = f"{kind.lower()}_{len(self.layers)}"
        weights = ()
        if kind == "Dense":
            kernel = self.values.normal(size=(self.width[sources[0]], units)).astype("<f4")
            where = ByteRange(str(self.file), len(self.bytes), kernel.nbytes)
            self.bytes += kernel.tobytes()
            self.kernel[path] = kernel.astype(np.float64)
            weights = (Weight(f"{path}/kernel", "kernel", kernel.shape, "float32", where),)
        if kind == "Concatenate":
            units = sum(self.width[s] for s in sources)
        self.width[path] = units or self.width[sources[0]]
        config = {"axis": -1} if kind == "Concatenate" else {}
        shapes = tuple((None, self.width[s]) for s in sources)
        self.layers.append(Layer(path, kind, config, shapes, (None, self.width[path]), weights))
        self.link(path, sources, 0)
        return path

    def link(self, path: str, sources: tuple[str, ...], call: int) -> None:
        self.links += [
            Link(s, path, 0, i, call, (None, self.width[s])) for i, s in enumerate(sources)
        ]

    def grow(self, count: int) -> None:
        """Add layers at random; every width occurs often, so that sums are possible."""
        made = [self.add("InputLayer", units=3), self.add("InputLayer", units=4)]
        while len(made) < count:
            kind = self.choose.choice(["Dense", "Dense", "Add", "Add", "Activation", "Concatenate"])
            first = self.choose.choice(made[-6:])
            if kind == "Dense":
                made.append(self.add(kind, (first,), self.choose.choice([3, 4])))
            elif kind == "Activation":
                made.append(self.add(kind, (first,)))
            elif kind == "Concatenate" and self.width[first] < 9:
                other = self.choose.choice([p for p in made if self.width[p] < 9])
                made.append(self.add(kind, (first, other)))
                if self.choose.random() < 0.5:  # units arrive at two places, and are added
                    made.append(self.add(kind, (other, first)))
                    made.append(self.add("Add", (made[-2], made[-1])))
            elif kind == "Add":
                alike = [p for p in made if self.width[p] == self.width[first] and p != first]
                if alike:
                    others = self.choose.sample(alike, min(len(alike), self.choose.choice([1, 2])))
                    made.append(self.add(kind, (first, *others)))
            if self.choose.random() < 0.12:  # a layer is called again
                again = self.choose.choice(made)
                layer = next(la for la in self.layers if la.path == again)
                alike = [p for p in made if layer.kind == "Dense"
                         and self.width[p] == len(self.kernel[again])
                         and made.index(p) < made.index(again)]  # fmt: skip
                if alike:
                    self.link(again, (self.choose.choice(alike),), 1)

    def model(self) -> OpenModel:
        self.file.write_bytes(self.bytes or b"\0")
        stat = self.file.stat()
        stamp = FileStamp(str(self.file), stat.st_size, stat.st_mtime_ns)
        network = Network(
            "random", "test", tuple(self.layers), (), tuple(self.links), files=(stamp,)
        )
        model = OpenModel(network)
        model.__dict__["hierarchy"] = nested(model.graph, self.choose)
        for path in model.weighted:
            for connection in model.wires.connections(path):
                model.pyramid.build(connection)
        return model


def nested(network: Network, choose: random.Random) -> Hierarchy:
    """A tree at random over the layers in their order."""
    nodes: list[Node] = []

    def add(first: int, last: int, parent: int, depth: int) -> int:
        me = len(nodes)
        if last - first == 1 and parent >= 0:
            layer = network.layers[first]
            nodes.append(
                Node(layer.path, layer.path, "layer", layer.kind, parent, (), (first, last), False)
            )
            return me
        nodes.append(Node("", "", "scope", "", -1, (), (0, 0), False))
        most = last - first - 1 if depth else min(4, last - first - 1)
        pieces = min(most, choose.choice([1, 1, 2, 3]))
        cuts = sorted(choose.sample(range(first + 1, last), max(pieces, 0)))
        if depth > 3:
            cuts = list(range(first + 1, last))
        children = [add(a, b, me, depth + 1) for a, b in itertools.pairwise([first, *cuts, last])]
        path = "" if parent < 0 else f"part_{me}"
        nodes[me] = Node(path, path, "scope", "", parent, tuple(children), (first, last), False)
        return me

    add(0, len(network.layers), -1, 0)
    return Hierarchy(tuple(nodes), tuple(range(len(network.layers))), network)


class Brute:
    """Follows every weight on its own, by sets; knows nothing of how the finder works."""

    def __init__(self, maker: Maker, hierarchy: Hierarchy, cut: Cut) -> None:
        self.maker, self.cut = maker, cut
        self.kind = {la.path: la.kind for la in maker.layers}
        self.into = defaultdict(list)
        for link in maker.links:
            self.into[link.target].append(link)
        self.top: dict[str, int] = {}
        self.unit: dict[tuple[str, int], int] = {}
        self.open: set[str] = set()
        for row in range(len(cut)):
            node, here = hierarchy.nodes[cut.node[row]], cut.units[row]
            inside = [maker.layers[i].path for i in hierarchy.order[slice(*node.layers)]]
            if here is not None:
                for u in range(here.start, here.stop) if cut.leaf[row] else ():
                    self.unit[inside[0], u] = row
            elif cut.leaf[row] or node.kind == "layer":
                self.top.update(dict.fromkeys(inside, row))
                if not cut.leaf[row]:
                    self.open.update(inside)
        for path, row in self.top.items():
            if path not in self.open:
                self.unit.update({(path, u): row for u in range(maker.width[path])})

    def before(self, path: str, unit: int) -> list[tuple[str, int]]:
        """What a weightless layer's unit is made of."""
        links = self.into[path]
        if self.kind[path] == "Concatenate":
            for link in links:
                if unit < self.maker.width[link.source]:
                    return [(link.source, unit)]
                unit -= self.maker.width[link.source]
        return [(link.source, unit) for link in links]

    def sources(self, target: str, unit: int) -> set[tuple[str, int]]:
        """Units outside the target's node that one of its in units carries."""
        home, found, seen = self.top[target], set(), set()
        todo = [(link.source, unit) for link in self.into[target]]
        while todo:
            path, u = todo.pop()
            if (path, u) in seen:
                continue
            seen.add((path, u))
            if target in self.open or self.top[path] != home:
                found.add((path, u))
            elif self.kind[path] not in ("Dense", "InputLayer"):
                todo += self.before(path, u)
        return found

    def weighted(self) -> dict[tuple[int, int], set[tuple[str, int, int]]]:
        """The weights that each pair of rows is joined by."""
        found = defaultdict(set)
        for target, kernel in self.maker.kernel.items():
            for i in range(kernel.shape[0]):
                for path, u in self.sources(target, i):
                    for o in range(kernel.shape[1]):
                        pair = self.unit[path, u], self.unit[target, o]
                        found[pair].add((target, i, o))
        return found

    def flows(self, weighted) -> set[tuple[int, int]]:
        found = set()
        for link in self.maker.links:
            a, b = link.source, link.target
            if self.top[a] == self.top[b] or self.kind[b] == "Dense":
                continue
            for v in range(self.maker.width[b]):
                for path, u in self.before(b, v):
                    if path == a:
                        found.add((self.unit[a, u], self.unit[b, v]))
        return found - set(weighted)


def cases(maker: Maker, model: OpenModel) -> list[Cut]:
    paths = [n.path for n in model.hierarchy.nodes]
    cuts = []
    for share in (0.0, 0.3, 0.5, 0.5, 0.7, 0.7, 0.9, 1.0):
        opened = frozenset(p for p in paths if maker.choose.random() < share)
        # Layers open to units beside scopes that hide many layers.
        opened |= frozenset(p for p in paths if "part" not in p and maker.choose.random() < 0.5)
        cuts.append(make_cut(model.hierarchy, model.units_of, opened))
    scopes = frozenset(n.path for n in model.hierarchy.nodes if n.kind != "layer")
    return [*cuts, make_cut(model.hierarchy, model.units_of, scopes)]


def compare(maker: Maker, model: OpenModel, finder: EdgeFinder, cut: Cut) -> None:
    edges = finder.crossing(cut, ANY).edges
    assert not edges.pending.any()
    brute = Brute(maker, model.hierarchy, cut)
    expected = brute.weighted()
    rows = edges.take(~edges.strand)
    carries = rows.stats.count > 0
    pairs = list(zip(rows.source.tolist(), rows.target.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    drawn = {p: k for k, p in enumerate(pairs) if carries[k]}
    assert set(drawn) == set(expected)
    for pair, weights in expected.items():
        values = np.array([maker.kernel[t][i, o] for t, i, o in weights])
        at = drawn[pair]
        assert rows.stats.count[at] == len(values)
        assert rows.stats.sum_sq[at] == pytest.approx(float(np.square(values).sum()), rel=1e-5)
        assert rows.stats.sum[at] == pytest.approx(float(values.sum()), abs=1e-4)
        assert rows.stats.max_abs[at] == pytest.approx(float(np.abs(values).max()), rel=1e-6)
    flows = {p for k, p in enumerate(pairs) if not carries[k]}
    assert flows == brute.flows(expected)


@pytest.mark.parametrize("seed", range(60))
def test_edges_are_those_of_every_weight_followed_alone(tmp_path, seed: int) -> None:
    maker = Maker(tmp_path, seed)
    maker.grow(maker.choose.choice([8, 14, 24, 40]))
    with maker.model() as model:
        finder = EdgeFinder(model)
        for cut in cases(maker, model):
            compare(maker, model, finder, cut)


@pytest.mark.parametrize("seed", range(12))
def test_a_stream_that_runs_back_is_followed_too(tmp_path, seed: int) -> None:
    maker = Maker(tmp_path, 100 + seed)
    start = maker.add("InputLayer", units=3)
    maker.add("Dense", (start,), 3)
    sums = [maker.add("Add", (start, "dense_1"))]
    for _ in range(4):
        norm = maker.add("Activation", (sums[-1],))
        dense = maker.add("Dense", (norm,), 3)
        sums.append(maker.add("Add", (dense, sums[-1])))
    late, early = maker.choose.choice(sums[1:]), maker.choose.choice(sums[:2])
    maker.links.append(Link(late, early, 0, 2, 0, (None, 3)))
    with maker.model() as model:
        finder = EdgeFinder(model)
        for cut in cases(maker, model):
            compare(maker, model, finder, cut)


def test_ranges_of_units_that_arrive_twice_count_once(tmp_path) -> None:
    maker = Maker(tmp_path, 7)
    wide, few = maker.add("InputLayer", units=300), maker.add("InputLayer", units=3)
    one = maker.add("Concatenate", (wide, few))
    other = maker.add("Concatenate", (few, wide))
    maker.add("Dense", (maker.add("Add", (one, other)),), 4)
    with maker.model() as model:
        scope = Node("rest", "rest", "scope", "", 0, (4, 5, 6, 7), (2, 6), False)
        leaves = [
            Node(la.path, la.path, "layer", la.kind, 3 if i > 1 else 0, (), (i, i + 1), False)
            for i, la in enumerate(maker.layers)
        ]
        root = Node("", "", "scope", "", -1, (1, 2, 3), (0, 6), False)
        nodes = (root, *leaves[:2], scope, *leaves[2:])
        model.__dict__["hierarchy"] = Hierarchy(nodes, tuple(range(6)), model.graph)
        cut = make_cut(model.hierarchy, model.units_of, frozenset({wide}))
        assert sum(u is not None and u.count > 1 for u in cut.units) == 5
        compare(maker, model, EdgeFinder(model), cut)


@pytest.mark.parametrize("seed", range(200))
def test_a_budget_is_divided_without_waste(seed: int) -> None:
    choose = np.random.default_rng(seed)
    wants = choose.integers(0, 50, choose.integers(1, 9))
    weights = choose.choice([1.0, 3.0, 8.0], len(wants))
    budget = int(choose.integers(0, 200))
    given = allot(budget, wants, weights)
    assert (given >= 0).all()
    assert (given <= wants).all()
    assert given.sum() <= budget
    # Nothing is kept back while somebody lacks something, but for the rounding of shares.
    assert given.sum() >= min(budget, wants.sum()) - len(wants)
    lacking = given < wants
    if lacking.sum() > 1:  # those who lack have their weights' shares
        share = given[lacking] / weights[lacking]
        assert np.ptp(share) <= 1.0


def test_strands_are_many_or_none() -> None:
    ways = np.array([1, 2, 0, 4])
    room, quota = shares(10_000, (4, 5), [30], ways)
    assert room.tolist()[:2] == [4, 5]
    assert quota.tolist() == [30, STRANDS, 2 * STRANDS, 0, 4 * STRANDS]
    crowd = np.ones(3000, np.int64)
    room, quota = shares(6000, (3000, 2000), [40], crowd)
    assert room[0] + room[1] + quota.sum() <= 6000
    assert set(quota[1:].tolist()) == {0}
    assert room.tolist()[:2] == [3000, 2000]  # what strands would have had is not lost
    assert quota[0] == 40
    _, quota = shares(100, (10, 0), [], np.array([1, 1, 1]))
    assert all(q == 0 or q >= FEWEST for q in quota.tolist())


def test_too_many_lines_show_the_strongest_and_say_so(tmp_path) -> None:
    maker = Maker(tmp_path, 5)
    maker.grow(40)
    with maker.model() as model:
        every = frozenset(n.path for n in model.hierarchy.nodes if n.kind != "layer")
        cut = make_cut(model.hierarchy, model.units_of, every)
        finder = EdgeFinder(model)
        full, few = finder.crossing(cut, ANY), finder.crossing(cut, 12)
        assert len(few.edges) <= 12
        assert full.bundles.shown == full.bundles.total == few.bundles.total
        assert full.flows.shown == full.flows.total == few.flows.total
        assert few.bundles.shown < few.bundles.total
        kept = few.edges.take(few.edges.stats.count > 0)
        plain = full.edges.take((full.edges.stats.count > 0) & ~full.edges.strand)
        strongest = np.sort(plain.stats.rms)[::-1][: few.bundles.shown]
        np.testing.assert_allclose(np.sort(kept.stats.rms)[::-1], strongest)
        # What is not drawn is told all the same.
        assert (few.shown, few.total) == (0, sum(k.size for k in _reached(maker, model, cut)))


def _reached(maker: Maker, model: OpenModel, cut: Cut) -> list[np.ndarray]:
    """For each pair of rows, the weights that join them."""
    weighted = Brute(maker, model.hierarchy, cut).weighted()
    return [np.array([maker.kernel[t][i, o] for t, i, o in w]) for w in weighted.values()]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_seen_at_a_glance_is_what_a_closer_look_finds(tmp_path, seed: int) -> None:
    maker = Maker(tmp_path, 300 + seed)
    maker.grow(30)
    with maker.model() as model:
        sizes = link_sizes(model.graph, model.table)
        assert (sizes > 0).all()
        assert sizes.tolist() == [maker.width[link.source] for link in maker.links]
        clear = clear_layers(model.graph, sizes)
        kinds = [layer.kind for layer in maker.layers]
        assert clear.tolist() == [kind in ("Add", "Activation") for kind in kinds]
