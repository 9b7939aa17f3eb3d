"""The rules inside the layouts: ranks, rails, parts, lanes, cuts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layouts._flow import spread
from layouts._ranks import components, find_rail, rank_nodes
from layouts._strip import best_count, even_cuts


def pairs(*links: tuple[int, int]) -> np.ndarray:
    return np.array(sorted(set(links)), np.int64).reshape(-1, 2)


graphs = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.just(n), st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=60)
    )
)


@settings(max_examples=200, deadline=None)
@given(graph=graphs)
def test_every_link_gains_a_rank_and_no_rank_is_higher_than_it_must_be(
    graph: tuple[int, list[tuple[int, int]]],
) -> None:
    count, links = graph
    forward = pairs(*((a, b) for a, b in links if a < b))
    rank = rank_nodes(count, forward).tolist()
    fed = {b for _, b in forward.tolist()}
    for a, b in forward.tolist():
        assert rank[a] < rank[b]
    for node in range(count):
        before = [rank[a] for a, b in forward.tolist() if b == node and a in fed]
        after = [rank[b] for a, b in forward.tolist() if a == node]
        if node in fed:
            assert rank[node] == max(before, default=0) + 1
        elif after:
            assert rank[node] == min(after) - 1
        else:
            assert rank[node] == 0


@settings(max_examples=200, deadline=None)
@given(graph=graphs)
def test_parts_are_what_hangs_together(graph: tuple[int, list[tuple[int, int]]]) -> None:
    count, links = graph
    reach = np.eye(count, dtype=bool)
    for a, b in links:
        reach[a, b] = reach[b, a] = True
    for _ in range(count):
        reach = reach @ reach
    part = components(count, pairs(*links))
    assert np.array_equal(part[:, None] == part[None, :], reach)
    first = [part.tolist().index(p) for p in range(int(part.max()) + 1)]
    assert first == sorted(first)


def test_a_mask_and_what_feeds_only_it_go_to_the_rail() -> None:
    chain = [(i, i + 1) for i in range(2, 29)]
    mask = [(0, 1)] + [(1, i) for i in range(5, 29)]
    assert np.flatnonzero(find_rail(30, pairs(*chain, *mask))).tolist() == [0, 1]


def test_a_collector_of_many_nodes_goes_to_the_rail_but_not_the_end_of_the_flow() -> None:
    chain = [(i, i + 1) for i in range(19)]
    collector = [(i, 20) for i in range(0, 19, 2)]
    assert np.flatnonzero(find_rail(21, pairs(*chain, *collector))).tolist() == [20]
    ending = [(i, 20) for i in range(1, 20, 2)]  # 19 feeds nothing else: 20 is the flow's end
    assert not find_rail(21, pairs(*chain, *ending)).any()


@pytest.mark.parametrize("count", [14, 15])
def test_small_scopes_have_no_rail(count: int) -> None:
    chain = [(i, i + 1) for i in range(1, count - 1)]
    mask = [(0, i) for i in range(2, count)]
    assert find_rail(count, pairs(*chain, *mask)).any() == (count >= 15)


def test_dense_connections_along_the_flow_stay_in_it() -> None:
    every = [(i, j) for i in range(20) for j in range(i + 1, 20)]
    assert not find_rail(20, pairs(*every)).any()


heights = st.lists(st.integers(-20, 20), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(wish=heights, data=st.data())
def test_spread_keeps_order_and_distance_at_the_least_cost(
    wish: list[int], data: st.DataObject
) -> None:
    k = len(wish)
    gap = data.draw(st.lists(st.integers(0, 5), min_size=k - 1, max_size=k - 1))
    places = np.array(spread(wish, gap))
    step = places[:-1] - places[1:]
    assert (step >= np.array(gap) - 1e-9).all()
    # of least cost: each run of members that touch one another could not be split or moved
    touching = np.append(np.flatnonzero(step > np.array(gap) + 1e-9) + 1, k)
    for start, end in pairwise([0, *touching.tolist()]):
        move = np.cumsum((np.array(wish) - places)[start:end])
        assert abs(move[-1]) < 1e-6
        assert (move < 1e-6).all()


@settings(max_examples=200, deadline=None)
@given(widths=st.lists(st.integers(1, 9), min_size=1, max_size=60), rows=st.integers(1, 20))
def test_even_cuts_balance_rows_to_within_one_piece(widths: list[int], rows: int) -> None:
    end = np.cumsum(widths).astype(float)
    cuts = even_cuts(end[:-1], float(end[-1]), rows)
    assert cuts[0] == 0
    assert (np.diff(cuts) > 0).all()
    assert cuts[-1] < len(widths)
    lengths = [sum(widths[a:b]) for a, b in pairwise([*cuts.tolist(), len(widths)])]
    assert max(lengths) <= end[-1] / rows + max(widths)


@pytest.mark.parametrize("target", [0.5, 3.0, 7.9, 99.0])
def test_best_count_finds_what_trying_all_finds(target: float) -> None:
    def ratio(count: int) -> float:
        return target / count

    tried = min(range(1, 51), key=lambda count: abs(np.log(ratio(count))))
    assert best_count(ratio, 50) == tried
