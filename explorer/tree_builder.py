"""Making the tree that people see from a layer graph.

Sources of the tree, in order: nesting recorded in the file; prefixes of names; the structure of
the graph (regions between bottlenecks); contiguous segments where a scope would still be too wide.
"""

from __future__ import annotations

import heapq
import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from explorer import grouping
from explorer.grouping import PrefixGroup
from explorer.hierarchy import Hierarchy, Node, NodeKind
from explorer.kinds import family
from explorer.network import Network

_STRUCTURE_FROM = 8  # below this many children a scope is readable without further grouping


@dataclass(eq=False)
class _Group:
    """A scope while the tree is being built; members in order of flow."""

    path: str
    title: str
    kind: NodeKind
    type: str
    inferred: bool
    members: list[int | _Group] = field(default_factory=list)
    prefix: str = ""  # leading words that the names of all members share
    composite: bool = False  # one layer to the file: not split further

    def leaves(self) -> list[int]:
        """All layer indices inside, in order of flow."""
        found: list[int] = []
        stack: list[int | _Group] = [self]
        while stack:
            member = stack.pop()
            if isinstance(member, int):
                found.append(member)
            else:
                stack.extend(reversed(member.members))
        return found


def build_hierarchy(network: Network, weighted: Collection[str]) -> Hierarchy:
    """Make the tree that people see.

    Parameters
    ----------
    network : Network
        With composite layers already expanded into scopes.
    weighted : collection of str
        Paths of the layers whose weights join units; each leads a stage.

    Returns
    -------
    Hierarchy
    """
    return _Builder(network, weighted).build()


class _Builder:
    def __init__(self, network: Network, weighted: Collection[str]) -> None:
        self.network = network
        self.layers = network.layers
        self.weighted = weighted
        position = {layer.path: i for i, layer in enumerate(network.layers)}
        self.links = sorted({(position[k.source], position[k.target]) for k in network.links})
        self.after: list[list[int]] = [[] for _ in self.layers]
        for a, b in self.links:
            self.after[a].append(b)
        self.used = {scope.path for scope in network.scopes} | set(position) | {""}
        self.signatures: dict[str, int] = {}

    def build(self) -> Hierarchy:
        root = self._recorded_tree()
        self._refine(root)
        return self._flatten(root)

    def _recorded_tree(self) -> _Group:
        root = _Group("", self.network.name, "scope", "", False)
        groups = {"": root}
        layers = {layer.path for layer in self.layers}
        for scope in self.network.scopes:
            title = scope.path.rsplit("/", 1)[-1]
            # A layer keeps its path; a scope of the same path takes another.
            path = self._unique(scope.path) if scope.path in layers else scope.path
            groups[scope.path] = _Group(
                path, title, "scope", scope.kind, False, composite=scope.composite
            )
        children: dict[str, list[int | _Group]] = {path: [] for path in groups}
        for i, layer in enumerate(self.layers):
            children[_nearest(layer.path, groups)].append(i)
        for path, group in sorted(groups.items(), key=lambda item: -item[0].count("/")):
            group.members = children[path]
        for path, group in sorted(groups.items(), key=lambda item: -item[0].count("/")):
            if path:
                children[_nearest(path, groups)].append(group)
        _prune(root)
        return root

    # -- refinement ------------------------------------------------------------------------------

    def _refine(self, root: _Group) -> None:
        """Split every scope until it is readable; outer scopes first."""
        work = [root]
        while work:
            group = work.pop()
            self._order(group)
            if group.kind == "scope" and not group.composite:
                for step in (
                    self._by_prefix,
                    self._by_stage,
                    self._by_region,
                    self._by_series,
                    self._by_segment,
                ):
                    step(group)
            work.extend(m for m in group.members if isinstance(m, _Group))
        _collapse(root)

    def _order(self, group: _Group) -> None:
        """Put members in topological order of their quotient, ties by the file's order."""
        group.members.sort(key=_first)
        n = len(group.members)
        links = self._links_between(group.members)
        waiting = [0] * n
        after: list[list[int]] = [[] for _ in range(n)]
        for a, b in links:
            after[a].append(b)
            waiting[b] += 1
        ready = [i for i in range(n) if waiting[i] == 0]
        heapq.heapify(ready)
        order: list[int] = []
        while ready:
            atom = heapq.heappop(ready)
            order.append(atom)
            for b in after[atom]:
                waiting[b] -= 1
                if waiting[b] == 0:
                    heapq.heappush(ready, b)
        if len(order) == n:  # a cyclic scope keeps the file's order
            group.members = [group.members[i] for i in order]

    def _links_between(self, members: Sequence[int | _Group]) -> list[tuple[int, int]]:
        owner: dict[int, int] = {}
        for k, member in enumerate(members):
            for leaf in [member] if isinstance(member, int) else member.leaves():
                owner[leaf] = k
        found = set()
        for leaf, k in owner.items():
            for b in self.after[leaf]:
                if (other := owner.get(b, k)) != k:
                    found.add((k, other))
        return sorted(found)

    def _contract(self, group: _Group, found: list[tuple[list[int], _Group]]) -> None:
        """Replace the given atoms of a group by groups, where that keeps it acyclic."""
        if not found:
            return
        links = self._links_between(group.members)
        kept = grouping.acyclic([atoms for atoms, _ in found], len(group.members), links)
        chosen = {tuple(atoms) for atoms in kept}
        inside: dict[int, _Group] = {}
        for atoms, new in found:
            if tuple(atoms) in chosen:
                new.path = self._unique(new.path)
                new.members = [group.members[a] for a in atoms]
                inside.update(dict.fromkeys(atoms, new))
        members: list[int | _Group] = []
        placed: set[int] = set()
        for i, member in enumerate(group.members):
            owner = inside.get(i)
            if owner is None:
                members.append(member)
            elif id(owner) not in placed:
                placed.add(id(owner))
                members.append(owner)
        group.members = members
        self._order(group)

    def _unique(self, path: str) -> str:
        candidate, count = path, 1
        while candidate in self.used:
            count += 1
            candidate = f"{path}~{count}"
        self.used.add(candidate)
        return candidate

    def _by_prefix(self, group: _Group) -> None:
        if group.inferred or len(group.members) < 4:
            return
        names = [self._telling_name(m) for m in group.members]
        base = f"{group.path}/" if group.path else ""
        top = [m for m in grouping.prefix_groups(names) if isinstance(m, PrefixGroup)]
        if len(top) == 1 and len(top[0].atoms()) == len(group.members):
            top = [m for m in top[0].members if isinstance(m, PrefixGroup)]
        self._nest(group, top, list(group.members), base)

    def _nest(
        self, group: _Group, found: list[PrefixGroup], originals: list[int | _Group], base: str
    ) -> None:
        """Contract prefix groups, outer before inner; their atoms count in `originals`."""
        place = {
            id(m) if isinstance(m, _Group) else ("leaf", m): i for i, m in enumerate(group.members)
        }

        def here(atom: int) -> int:
            member = originals[atom]
            return place[id(member) if isinstance(member, _Group) else ("leaf", member)]

        made = [
            (
                sorted(here(a) for a in p.atoms()),
                _Group(
                    base + p.prefix,
                    _short(p.prefix, group.prefix),
                    "scope",
                    "",
                    True,
                    prefix=p.prefix,
                ),
            )
            for p in found
        ]
        self._contract(group, made)
        for prefix, (_atoms, new) in zip(found, made, strict=True):
            inner = [m for m in prefix.members if isinstance(m, PrefixGroup)]
            if new.members and inner:
                self._nest(new, inner, originals, base)

    def _telling_name(self, member: int | _Group) -> str | None:
        """The name to split into words; ``None`` for a default name like ``dense_3``."""
        if isinstance(member, _Group):
            return member.title
        layer = self.layers[member]
        default = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", layer.kind).lower()
        plain = re.sub(r"[^a-z]", "", default)
        stem = re.sub(r"(_\d+)?$", "", layer.name)
        return None if re.sub(r"[^a-z]", "", stem.lower()) == plain else layer.name

    def _by_stage(self, group: _Group) -> None:
        heads, followers = [], []
        for member in group.members:
            layer = self.layers[member] if isinstance(member, int) else None
            leads = layer is not None and layer.path in self.weighted
            heads.append(leads)
            followers.append(
                layer is not None
                and not leads
                and family(layer.kind) not in ("merge", "input", "attention")
            )
        links = self._links_between(group.members)
        # A layer that also feeds something outside the scope cannot hide its successor's input.
        made = []
        for atoms in grouping.chains(len(group.members), links, heads, followers):
            atoms = self._private(group, atoms)
            if len(atoms) < 2 or (len(atoms) == len(group.members) and group.kind == "stage"):
                continue
            lead = self.layers[group.members[atoms[0]]]  # type: ignore[index]
            title = _short(lead.name, group.prefix)
            made.append(
                (
                    atoms,
                    _Group(
                        lead.path + "~stage", title, "stage", lead.kind, True, prefix=group.prefix
                    ),
                )
            )
        self._contract(group, made)

    def _private(self, group: _Group, atoms: list[int]) -> list[int]:
        """Cut a chain after the first atom that more than its successor reads."""
        kept = atoms[:1]
        for a, b in itertools.pairwise(atoms):
            source, target = group.members[a], group.members[b]
            if any(t != target for t in self.after[source]):  # type: ignore[index]
                break
            kept.append(b)
        return kept

    def _by_region(self, group: _Group) -> None:
        n = len(group.members)
        if n < _STRUCTURE_FROM or group.kind != "scope":
            return
        links = self._links_between(group.members)
        made = []
        for region in grouping.regions(n, links):
            atoms = [a for a in region if not self._is_input(group.members[a])]
            # A region that is nearly everything says nothing.
            if len(atoms) < 3 or (len(atoms) > 0.6 * n and n <= grouping.MOST_CHILDREN):
                continue
            join = group.members[atoms[-1]]
            name = self.layers[join].name if isinstance(join, int) else join.title
            path = self.layers[join].path if isinstance(join, int) else join.path
            telling = self._telling_name(join) is not None
            title = _short(name, group.prefix) if telling else f"{name} block"
            made.append((atoms, _Group(path + "~block", title, "scope", "", True)))
        self._contract(group, made)

    def _is_input(self, member: int | _Group) -> bool:
        return isinstance(member, int) and family(self.layers[member].kind) == "input"

    def _by_series(self, group: _Group) -> None:
        members = group.members
        links = self._links_between(members)
        keys = [self._signature(m) for m in members]

        def least(atom: int) -> int:
            member = members[atom]
            # Folding single layers or stages hides more than it saves unless there are many.
            return 2 if isinstance(member, _Group) and member.kind == "scope" else 4

        made = []
        for atoms in grouping.series(len(members), links, keys.__getitem__, least):
            if len(atoms) == len(members) and group.kind == "series":
                continue
            first, last = members[atoms[0]], members[atoms[-1]]
            path = self.layers[first].path if isinstance(first, int) else first.path
            title = _span(self._title(first), self._title(last))
            made.append(
                (atoms, _Group(path + "~series", title, "series", "", True, prefix=group.prefix))
            )
        self._contract(group, made)

    def _title(self, member: int | _Group) -> str:
        return self.layers[member].name if isinstance(member, int) else member.title

    def _signature(self, member: int | _Group) -> int:
        """A number that is equal for members equal in kinds, attributes, shapes and wiring."""
        leaves = [member] if isinstance(member, int) else member.leaves()
        place = {leaf: i for i, leaf in enumerate(leaves)}
        rows = []
        for leaf in leaves:
            layer = self.layers[leaf]
            inner = sorted(place[b] for b in self.after[leaf] if b in place)
            weights = [(w.role, w.shape, w.dtype) for w in layer.weights]
            rows.append(
                (
                    layer.kind,
                    _nameless_text(layer.config),
                    layer.input_shapes,
                    layer.output_shape,
                    weights,
                    inner,
                    [self.layers[b].kind for b in self.after[leaf] if b in place],
                )
            )
        text = json.dumps(rows, sort_keys=True, default=str)
        return self.signatures.setdefault(text, len(self.signatures))

    def _by_segment(self, group: _Group) -> None:
        pieces = grouping.segments(len(group.members))
        base = group.path or self.network.name
        made = []
        for k, atoms in enumerate(pieces):
            first, last = group.members[atoms[0]], group.members[atoms[-1]]
            title = _span(self._title(first), self._title(last))
            made.append(
                (
                    atoms,
                    _Group(f"{base}~part{k + 1}", title, "scope", "", True, prefix=group.prefix),
                )
            )
        self._contract(group, made)

    # -- result ----------------------------------------------------------------------------------

    def _flatten(self, root: _Group) -> Hierarchy:
        nodes: list[Node] = []
        order: list[int] = []
        children: list[list[int]] = []
        spans: list[list[int]] = []
        rows: list[tuple[int | _Group, int]] = []

        def visit(member: int | _Group, parent: int) -> int:
            index = len(rows)
            rows.append((member, parent))
            children.append([])
            spans.append([len(order), len(order)])
            if parent >= 0:
                children[parent].append(index)
            return index

        stack: list[tuple[int | _Group, int] | int] = [(root, -1)]
        while stack:
            item = stack.pop()
            if isinstance(item, int):  # all inside this node has been visited
                spans[item][1] = len(order)
                continue
            member, parent = item
            index = visit(member, parent)
            if isinstance(member, int):
                order.append(member)
                spans[index][1] = len(order)
            else:
                stack.append(index)
                stack.extend((m, index) for m in reversed(member.members))
        for i, (member, parent) in enumerate(rows):
            span = (spans[i][0], spans[i][1])
            if isinstance(member, int):
                layer = self.layers[member]
                above = rows[parent][0]
                prefix = above.prefix if isinstance(above, _Group) else ""
                nodes.append(
                    Node(
                        layer.path,
                        _short(layer.name, prefix),
                        "layer",
                        layer.kind,
                        parent,
                        (),
                        span,
                        False,
                    )
                )
            else:
                nodes.append(
                    Node(
                        member.path,
                        member.title,
                        member.kind,
                        member.type,
                        parent,
                        tuple(children[i]),
                        span,
                        member.inferred,
                    )
                )
        return Hierarchy(tuple(nodes), tuple(order), self.network)


def _first(member: int | _Group) -> int:
    return member if isinstance(member, int) else min(member.leaves())


def _nearest(path: str, groups: dict[str, _Group]) -> str:
    while "/" in path:
        path = path.rsplit("/", 1)[0]
        if path in groups:
            return path
    return ""


def _prune(root: _Group) -> None:
    """Drop scopes that hold no layer."""
    for group in reversed(_scopes_in(root)):  # inner before outer
        group.members = [m for m in group.members if isinstance(m, int) or m.members]


def _scopes_in(root: _Group) -> list[_Group]:
    """A scope and all inside it, outer before inner."""
    found = [root]
    for group in found:
        found.extend(m for m in group.members if isinstance(m, _Group))
    return found


def _collapse(root: _Group) -> None:
    """Replace an inferred scope that has a single child by that child, which takes its title."""
    work = [root]
    while work:
        group = work.pop()
        for i, member in enumerate(group.members):
            while isinstance(member, _Group) and member.inferred and len(member.members) == 1:
                only = member.members[0]
                if isinstance(only, _Group) and only.inferred and member.kind == "scope":
                    # A bare counter says too little by itself: "1" becomes "1_conv".
                    bare = member.title.isdigit()
                    only.title = f"{member.title}_{only.title}" if bare else member.title
                member = only
            group.members[i] = member
            if isinstance(member, _Group):
                work.append(member)


_END = object()  # of a mapping or a list


def _nameless_text(config: object) -> str:
    """The configuration without the names in it, for comparing siblings, however deep it is."""
    text: list[str] = []
    work: list[tuple[str, object]] = [("", config)]  # what to write, and what to look at next
    while work:
        written, value = work.pop()
        text.append(written)
        if isinstance(value, Mapping):
            text.append("{")
            work.append(("}", _END))
            keys = sorted((k for k in value if k not in ("name", "shared_object_id")), key=str)
            work.extend((f"{k!r}:", value[k]) for k in reversed(keys))
        elif isinstance(value, list | tuple):
            text.append("[")
            work.append(("]", _END))
            work.extend((",", v) for v in reversed(value))
        elif value is not _END:
            text.append(repr(value))
    return "".join(text)


def _short(name: str, prefix: str) -> str:
    """A name without the leading words that all its neighbours share."""
    rest = name[len(prefix) :] if prefix and name.startswith(prefix) else name
    return rest.strip("_./-") or name.strip("_./-") or name


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} … {last}"
