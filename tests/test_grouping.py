"""Grouping keeps an acyclic graph acyclic, whatever is grouped."""

from __future__ import annotations

import functools
import operator

from hypothesis import given
from hypothesis import strategies as st

from explorer import grouping


@st.composite
def dags(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    n = draw(st.integers(2, 24))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])
    return n, sorted(draw(st.sets(pairs, max_size=50)))


def is_acyclic(edges: set[tuple[int, int]]) -> bool:
    """Kahn's algorithm, independent of the code under test."""
    vertices = {v for e in edges for v in e}
    waiting = {v: sum(1 for e in edges if e[1] == v) for v in vertices}
    ready = [v for v in vertices if waiting[v] == 0]
    seen = 0
    while ready:
        v = ready.pop()
        seen += 1
        for a, b in edges:
            if a == v:
                waiting[b] -= 1
                if waiting[b] == 0:
                    ready.append(b)
    return seen == len(vertices)


def quotient(n: int, links: list[tuple[int, int]], groups: list[list[int]]) -> set:
    owner = list(range(n))
    for k, members in enumerate(groups):
        for a in members:
            owner[a] = n + k
    return {(owner[a], owner[b]) for a, b in links if owner[a] != owner[b]}


@given(dags(), st.data())
def test_acyclic_keeps_only_what_leaves_no_cycle(graph, data):
    n, links = graph
    labels = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    groups = [[i for i in range(n) if labels[i] == k] for k in range(1, 5)]
    groups = [g for g in groups if len(g) > 1]
    kept = grouping.acyclic(groups, n, links)
    assert all(g in groups for g in kept)
    assert is_acyclic(quotient(n, links, kept))
    if is_acyclic(quotient(n, links, groups)):
        assert kept == groups


@given(dags())
def test_regions_and_segments_are_convex(graph):
    n, links = graph
    assert is_acyclic(quotient(n, links, grouping.regions(n, links)))
    assert is_acyclic(quotient(n, links, grouping.segments(n, most=5)))


def test_regions_finds_the_residual_block():
    # 0 -> 1 -> 2 -> 3 with a skip 0 -> 3, then 4
    links = [(0, 1), (1, 2), (2, 3), (0, 3), (3, 4)]
    assert grouping.regions(5, links) == [[1, 2, 3]]


def test_regions_ignores_a_second_source_and_sink():
    # An input that joins late keeps everything before it from being a bottleneck.
    assert grouping.regions(5, [(0, 1), (1, 2), (3, 2), (2, 4)]) == []


def test_prefix_groups_takes_counters_apart():
    names = [
        "conv2_block1_1_conv",
        "conv2_block1_1_bn",
        "conv2_block1_add",
        "conv2_block2_1_conv",
        "conv2_block2_add",
        None,
        "fc1",
    ]
    top = grouping.prefix_groups(names)
    assert [m if isinstance(m, int) else m.prefix for m in top] == ["conv2", 5, 6]
    inner = [m.prefix for m in top[0].members]
    assert inner == ["conv2_block1", "conv2_block2"]
    numbered = grouping.prefix_groups(["block_1_a", "block_1_b", "block_2_a", "block_2_b"])
    assert [m.prefix for m in numbered] == ["block_1", "block_2"]


def test_segments_are_even_and_never_too_many():
    for n in (41, 100, 1700, 100_000):
        pieces = grouping.segments(n)
        assert 2 <= len(pieces) <= 40
        assert functools.reduce(operator.iadd, pieces, []) == list(range(n))
        lengths = [len(p) for p in pieces]
        assert max(lengths) - min(lengths) <= 1


def test_series_needs_equal_signature_and_a_chain():
    links = [(0, 1), (1, 2), (2, 3), (3, 4)]
    keys = ["a", "b", "b", "b", "c"]
    assert grouping.series(5, links, keys.__getitem__, lambda _: 2) == [[1, 2, 3]]
    assert grouping.series(5, links[:2], keys.__getitem__, lambda _: 2) == [[1, 2]]
    assert grouping.series(5, links, keys.__getitem__, lambda _: 4) == []


def test_chains_stop_where_another_reads():
    heads = [True, False, False, True]
    followers = [False, True, True, False]
    assert grouping.chains(4, [(0, 1), (1, 2), (2, 3)], heads, followers) == [[0, 1, 2]]
    assert grouping.chains(4, [(0, 1), (1, 2), (2, 3), (1, 3)], heads, followers) == [[0, 1]]
