"""Orders of flow, knots, and what makes layers alike, against brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from explorer.network import ByteRange, Layer, Network, Weight
from explorer.tree.likeness import alike, attribute_ids
from explorer.tree.order import knots, layer_order
from explorer.weights.connections import connections_of
from explorer.weights.wires import Wires

graphs = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30)
    )
)


def reach(n: int, links: set[tuple[int, int]]) -> np.ndarray:
    """Which vertices lead to which, over one link or more (Warshall)."""
    found = np.zeros((n, n), bool)
    for a, b in links:
        found[a, b] = True
    for k in range(n):
        found |= found[:, k : k + 1] & found[k : k + 1, :]
    return found


@given(graphs)
def test_knots_are_the_vertices_that_lead_to_each_other(graph):
    n, links = graph
    leads = reach(n, links)
    both = leads & leads.T
    wanted = {frozenset(np.flatnonzero(both[v]).tolist()) for v in range(n) if both[v].sum() > 1}
    assert {frozenset(k) for k in knots(range(n), links)} == wanted


@given(graphs)
def test_an_order_of_flow_breaks_only_loops(graph):
    n, links = graph
    ends = np.array(sorted(links), np.int64).reshape(-1, 2)
    order, forward = layer_order(n, ends)
    assert sorted(order.tolist()) == list(range(n))
    place = np.argsort(order)
    leads = reach(n, links)
    for (a, b), goes in zip(ends.tolist(), forward.tolist(), strict=True):
        if goes:
            assert place[a] < place[b]
        else:
            assert leads[b, a]  # it closes a loop
    if not any(leads[v, v] for v in range(n)):
        assert forward.all()


def dense(name: str, units: int, offset: int = 0, shape: tuple[int, int] = (4, 4)) -> Layer:
    where = ByteRange("/f", offset, 4 * shape[0] * shape[1])
    kernel = Weight(f"{name}/kernel", "kernel", shape, "float32", where)
    config = {"name": name, "units": units, "init": {"config": {"name": name}, "seed": [1, None]}}
    return Layer(name, "Dense", config, ((None, 4),), (None, shape[1]), (kernel,))


def test_layers_are_alike_whatever_their_names():
    one, two, three = attribute_ids([dense("a", 4), dense("b", 4, 64), dense("c", 5)]).tolist()
    assert one == two != three
    ids = attribute_ids([dense("a", 4), dense("b", 4, shape=(4, 5))]).tolist()
    assert ids[0] != ids[1]
    assert attribute_ids([]).tolist() == []


def test_connections_of_like_layers_have_their_own_weights():
    layers = tuple(dense(f"d{i}", 4 + i % 2, 64 * i, (4, 4 + i % 2)) for i in range(6))
    network = Network("n", "test", layers)
    wires = Wires(network)
    wires.connect(alike(network))
    for layer in layers:
        assert wires.connections(layer.path) == connections_of(layer) != ()
        (matrix,) = wires.connections(layer.path)[0].matrices
        assert matrix.weight is layer.weights[0]
