"""Orders in which links point forward, and the knots where there is none."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]


def kahn(
    keys: Mapping[int, float], links: Iterable[tuple[int, int]]
) -> tuple[list[int], list[int]]:
    """Topological order with ties broken by key (Kahn 1962, with a heap).

    Parameters
    ----------
    keys : mapping of int to float
        The vertices and what orders them where links do not.
    links : iterable of (int, int)
        Distinct pairs of vertices.

    Returns
    -------
    order : list of int
        All vertices that come before every cycle or are apart from all.
    rest : list of int
        Vertices on a cycle or behind one; empty for an acyclic graph.
    """
    after: dict[int, list[int]] = {}
    waiting = dict.fromkeys(keys, 0)
    for a, b in links:
        after.setdefault(a, []).append(b)
        waiting[b] += 1
    ready = [(keys[v], v) for v, count in waiting.items() if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        v = heapq.heappop(ready)[1]
        order.append(v)
        for b in after.get(v, ()):
            waiting[b] -= 1
            if waiting[b] == 0:
                heapq.heappush(ready, (keys[b], b))
    return order, [v for v, count in waiting.items() if count > 0]


def knots(vertices: Sequence[int], links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Strongly connected components of more than one vertex (Tarjan 1972, without recursion).

    Parameters
    ----------
    vertices : sequence of int
    links : iterable of (int, int)
        Links to other vertices are not counted.

    Returns
    -------
    list of list of int
    """
    after: dict[int, list[int]] = {v: [] for v in vertices}
    for a, b in links:
        if a in after and b in after:
            after[a].append(b)
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for start in after:
        if start in index:
            continue
        work = [start]
        turn = {start: 0}
        while work:
            v = work[-1]
            if turn[v] == 0:
                index[v] = low[v] = len(index)
                stack.append(v)
                on_stack.add(v)
            for at in range(turn[v], len(after[v])):
                w = after[v][at]
                if w not in index:
                    turn[v], turn[w] = at + 1, 0
                    work.append(w)
                    break
                if w in on_stack:
                    low[v] = min(low[v], index[w])
            else:
                work.pop()
                if work:
                    low[work[-1]] = min(low[work[-1]], low[v])
                if low[v] == index[v]:
                    component = _popped(stack, on_stack, v)
                    if len(component) > 1:
                        found.append(component)
    return found


def _popped(stack: list[int], on_stack: set[int], last: int) -> list[int]:
    component: list[int] = []
    while not component or component[-1] != last:
        component.append(stack.pop())
        on_stack.discard(component[-1])
    return component


def layer_order(count: int, ends: I8) -> tuple[I8, NDArray[np.bool_]]:
    """An order of layers in which every link that closes no loop points forward.

    Parameters
    ----------
    count : int
        Number of layers, in the order of the file: it decides wherever links do not.
    ends : int64 array, shape (E, 2)

    Returns
    -------
    order : int64 array, shape (count,)
        Indices of layers.
    forward : bool array, shape (E,)
        False for a link of a layer to itself and for the links that close a loop: those that point
        against the order of the file inside a strongly connected component.
    """
    forward = ends[:, 0] != ends[:, 1]
    if not np.any(ends[:, 0] > ends[:, 1]):
        return np.arange(count), forward
    keys = {v: float(v) for v in range(count)}
    pairs = list(map(tuple, ends[forward].tolist()))
    order, rest = kahn(keys, pairs)
    if rest:
        knot = np.full(count, -1)
        for k, members in enumerate(knots(rest, pairs)):
            knot[members] = k
        same = (knot[ends[:, 0]] == knot[ends[:, 1]]) & (knot[ends[:, 0]] >= 0)
        forward &= ~(same & (ends[:, 0] > ends[:, 1]))
        order, _ = kahn(keys, list(map(tuple, ends[forward].tolist())))
    return np.array(order, np.int64), forward
