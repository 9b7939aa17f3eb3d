"""Put things that depend on each other in an order."""

from __future__ import annotations

import heapq


def topological(count: int, edges: set[tuple[int, int]]) -> list[int]:
    """Numbers 0 … `count` - 1 so that sources come before targets.

    As near to ascending as can be; where a cycle leaves none free, the lowest goes first.
    """
    if all(source < target for source, target in edges):
        return list(range(count))
    after: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for source, target in sorted(edges):
        after[source].append(target)
        waiting[target] += 1
    free = [i for i in range(count) if not waiting[i]]
    done = [False] * count
    result: list[int] = []
    lowest = 0
    while len(result) < count:
        if free:
            i = heapq.heappop(free)
        else:
            while done[lowest]:
                lowest += 1
            i = lowest
        if done[i]:
            continue
        done[i] = True
        result.append(i)
        for target in after[i]:
            waiting[target] -= 1
            if not waiting[target] and not done[target]:
                heapq.heappush(free, target)
    return result
