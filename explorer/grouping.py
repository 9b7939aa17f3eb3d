"""Which neighbours belong together: pure graph functions over small integer graphs.

Atoms are numbered 0..n-1 in topological order as far as the graph has one; links are pairs of
atom numbers. A grouping is a list of lists of atoms. Every grouping returned here keeps the
quotient graph acyclic where the graph of atoms is, so that no cut of the tree that people see
shows a cycle that the network does not have.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Hashable, Sequence

Links = Sequence[tuple[int, int]]
MOST_CHILDREN = 40
MOST_WORDS = 30  # of a name; what follows counts as one word


def acyclic(groups: list[list[int]], n: int, links: Links) -> list[list[int]]:
    """Drop the groups that would make the quotient graph cyclic.

    Parameters
    ----------
    groups : list of list of int
        Disjoint groups of atoms.
    n : int
        Number of atoms.
    links : sequence of (int, int)
        Links against the order of the atoms (loops of a recurrent network) are not counted.

    Returns
    -------
    list of list of int
        The groups that may be contracted together.
    """
    kept = list(groups)
    while kept:
        owner = list(range(n))
        for k, members in enumerate(kept):
            for atom in members:
                owner[atom] = n + k
        edges = {(owner[a], owner[b]) for a, b in links if a < b and owner[a] != owner[b]}
        tangled = {c for cycle in _cycles(edges) for c in cycle}
        clean = [members for k, members in enumerate(kept) if n + k not in tangled]
        if len(clean) == len(kept):
            return kept
        kept = clean
    return kept


def _cycles(edges: set[tuple[int, int]]) -> list[list[int]]:
    """Strongly connected components of more than one vertex (Tarjan 1972, without recursion)."""
    after: dict[int, list[int]] = {}
    for a, b in edges:
        after.setdefault(a, []).append(b)
        after.setdefault(b, [])
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in after:
        if root in index:
            continue
        work = [(root, iter(after[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            v, successors = work[-1]
            for w in successors:
                if w not in index:
                    index[w] = low[w] = len(index)
                    stack.append(w)
                    on_stack.add(w)
                    work.append((w, iter(after[w])))
                    break
                if w in on_stack:
                    low[v] = min(low[v], index[w])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[v])
                if low[v] == index[v]:
                    component = []
                    while True:
                        w = stack.pop()
                        on_stack.discard(w)
                        component.append(w)
                        if w == v:
                            break
                    if len(component) > 1:
                        found.append(component)
    return found


class PrefixGroup:
    """A group of atoms whose names share leading words; ``members`` may hold further groups."""

    def __init__(self, prefix: str, members: list[int | PrefixGroup]) -> None:
        self.prefix = prefix
        self.members = members

    def atoms(self) -> list[int]:
        """All atoms inside, in order."""
        return sorted(
            a for m in self.members for a in (m.atoms() if isinstance(m, PrefixGroup) else [m])
        )


def prefix_groups(names: Sequence[str | None]) -> list[int | PrefixGroup]:
    """Group atoms by the leading words of their names (``conv2_block1_1_conv``).

    Parameters
    ----------
    names : sequence of str or None
        ``None`` for an atom whose name says nothing (a default such as ``dense_3``).

    Returns
    -------
    list of int or PrefixGroup
        Top-level members in order of their first atom.

    Notes
    -----
    A word whose followers are all plain counters is no group of its own (``block`` in
    ``block_1_…``, ``block_2_…``): its numbered children take its place.
    """
    trie = _TrieNode()
    for atom, name in enumerate(names):
        node = trie
        for word in _words(name) if name is not None else [f"\0{atom}"]:
            node = node.children.setdefault(word, _TrieNode())
        node.ends.append(atom)
    members = _collect(trie, "")
    return sorted(members, key=lambda m: m.atoms()[0] if isinstance(m, PrefixGroup) else m)


class _TrieNode:
    def __init__(self) -> None:
        self.children: dict[str, _TrieNode] = {}
        self.ends: list[int] = []


def _words(name: str) -> list[str]:
    # Each word keeps the separator before it, so that joining words gives the name back.
    words = re.findall(r"^[^_./-]+|[_./-]+[^_./-]*", name) or [name]
    if len(words) > MOST_WORDS:
        words[MOST_WORDS - 1 :] = ["".join(words[MOST_WORDS - 1 :])]
    return words


def _collect(node: _TrieNode, prefix: str) -> list[int | PrefixGroup]:
    found: list[int | PrefixGroup] = list(node.ends)
    for word, child in node.children.items():
        inner_prefix = prefix + word
        inner = _collect(child, inner_prefix)
        counters = not child.ends and all(w.strip("_./-").isdigit() for w in child.children)
        if len(inner) == 1 or (counters and len(child.children) > 1):
            found.extend(inner)
        else:
            found.append(PrefixGroup(inner_prefix, inner))
    return found


def regions(n: int, links: Links) -> list[list[int]]:
    """Parallel regions between two bottlenecks: what lies between a fork and its join.

    A bottleneck is an atom that every path passes: no link jumps over it. The atoms strictly
    between two consecutive bottlenecks, with the join that ends them, form a region (a residual
    or an inception block).

    Returns
    -------
    list of list of int
        Regions of at least three atoms. Empty when the whole graph would be one region.
    """
    reach = list(range(n))
    fed, feeds = [False] * n, [False] * n
    for a, b in links:
        if a < b:
            reach[a] = max(reach[a], b)
            fed[b] = feeds[a] = True
    bottleneck: list[bool] = []
    # What comes in from outside jumps over all before it, what goes out over all behind.
    furthest = max((i for i in range(n) if not fed[i]), default=0)
    for atom in range(n):
        if not feeds[atom]:
            reach[atom] = n
        # No earlier atom's link ends beyond this one: everything so far flows through it.
        bottleneck.append(furthest <= atom)
        furthest = max(furthest, reach[atom])
    found, inner = [], []
    for atom in range(n):
        if not bottleneck[atom]:
            inner.append(atom)
        elif inner:
            found.append([*inner, atom])
            inner = []
    return [r for r in found if 3 <= len(r) < n]


def chains(
    n: int, links: Links, heads: Sequence[bool], followers: Sequence[bool]
) -> list[list[int]]:
    """Stages: a head and the followers that hang on it one by one.

    Parameters
    ----------
    n : int
        Number of atoms.
    links : sequence of (int, int)
    heads, followers : sequence of bool
        Which atoms may start a stage and which may continue one.

    Returns
    -------
    list of list of int
        Stages of at least two atoms.
    """
    after: list[set[int]] = [set() for _ in range(n)]
    before: list[set[int]] = [set() for _ in range(n)]
    for a, b in links:
        after[a].add(b)
        before[b].add(a)
    found = []
    for atom in range(n):
        if not heads[atom]:
            continue
        stage = [atom]
        while len(after[stage[-1]]) == 1:
            (following,) = after[stage[-1]]
            if not followers[following] or len(before[following]) != 1:
                break
            stage.append(following)
        if len(stage) > 1:
            found.append(stage)
    return found


def series(
    n: int, links: Links, signature: Callable[[int], Hashable], least: Callable[[int], int]
) -> list[list[int]]:
    """Runs of siblings with one signature, each fed by the one before it.

    Parameters
    ----------
    n : int
        Number of atoms.
    links : sequence of (int, int)
    signature : callable int -> hashable
        Equal for atoms that are equal inside: kinds, attributes, shapes, wiring.
    least : callable int -> int
        The shortest run worth folding that starts with this atom.

    Returns
    -------
    list of list of int
    """
    linked = set(links)
    outside: list[set[int]] = [set() for _ in range(n)]
    for a, b in links:
        outside[b].add(a)
    found: list[list[int]] = []
    run: list[int] = []

    def close() -> None:
        if run and len(run) >= max(least(run[0]), 2):
            found.append(list(run))
        run.clear()

    for atom in range(n):
        if run:
            last = run[-1]
            same = signature(atom) == signature(last) and (last, atom) in linked
            # Beside its predecessor a member may only take what every member takes.
            if same and len(run) > 1:
                same = outside[atom] - {last} == outside[last] - {run[-2]}
            if not same:
                close()
        run.append(atom)
    close()
    return found


def segments(n: int, most: int = MOST_CHILDREN) -> list[list[int]]:
    """Cut a long row of atoms into contiguous pieces of nearly equal length.

    Returns
    -------
    list of list of int
        Between 2 and `most` pieces, or nothing when `n` does not exceed `most`. Contiguous pieces
        of a topological order are convex.
    """
    if n <= most:
        return []
    levels = 2
    while most**levels < n:
        levels += 1
    # The count per level that makes the tree even: n = count ** levels.
    count = max(2, min(most, round(n ** (1.0 / levels))))
    bounds = [round(i * n / count) for i in range(count + 1)]
    return [list(range(a, b)) for a, b in itertools.pairwise(bounds)]
