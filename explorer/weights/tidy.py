"""A network as all that follows may take it: names that can be shown, links that join layers.

Formats hand out such networks; one that a program put together may be anything.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import chain, filterfalse
from operator import attrgetter

from explorer.errors import ModelError
from explorer.network import Network
from explorer.plain_text import LONGEST_NAME, clean, path_part

# A part of a path that needs no closer look: letters, digits and signs without brackets.
_SIMPLE = re.compile(rf"[!-.0-Z\\^-~]{{1,{LONGEST_NAME}}}").fullmatch


def tidy(network: Network) -> Network:
    """The same network with clean names.

    Parameters
    ----------
    network : Network

    Returns
    -------
    Network
        Every part of every path is one short printable line and does not read like a unit
        (``a[0]`` becomes ``a(0)``); where two paths would become one, the later gets ``~2``. A
        network of which all this holds already is returned as it is.

    Raises
    ------
    ModelError
        If two layers have the same path, or a link has an end that is no layer.
    """
    _check(network)
    return _with_clean_kinds(_renamed(network))


def _check(network: Network) -> None:
    layers = network.layer_by_path
    if len(layers) != len(network.layers):
        counts = Counter(la.path for la in network.layers)
        twice = counts.most_common(1)[0][0]
        raise ModelError(clean(network.name), f"there are two layers called {clean(twice)!r}")
    both = (map(attrgetter(end), network.links) for end in ("source", "target"))
    if all(map(layers.__contains__, chain.from_iterable(both))):
        return
    for link in network.links:
        if link.source not in layers or link.target not in layers:
            ends = [
                f"{clean(end)!r}" + ("" if end in layers else " (which is no layer)")
                for end in (link.source, link.target)
            ]
            raise ModelError(clean(network.name), f"a link leads from {ends[0]} to {ends[1]}")


def _renamed(network: Network) -> Network:
    paths = [s.path for s in network.scopes] + [la.path for la in network.layers]
    parts = set("/".join(paths).split("/"))
    odd = {part: path_part(part) for part in filterfalse(_SIMPLE, parts)}
    if all(part == made for part, made in odd.items()):
        return network
    plain = dict(zip(parts, parts, strict=True)) | odd
    known = _with_outer(paths, plain)
    outer = {path.rpartition("/")[0] for path in known} - {""}
    new: dict[str, str] = {}
    taken: set[str] = set()
    # What keeps its name comes first, so that it does; then outer before inner.
    kept = sorted(path for path, clean_all in known.items() if clean_all)
    for path in dict.fromkeys([*kept, *sorted(outer), *paths]):
        above, _, own = path.rpartition("/")
        base = candidate = f"{new[above]}/{plain[own]}" if above else plain[own]
        count = 1
        while candidate in taken:
            count += 1
            candidate = f"{base}~{count}"
        taken.add(candidate)
        new[path] = candidate
    return replace(
        network,
        layers=tuple(replace(la, path=new[la.path]) for la in network.layers),
        scopes=tuple(replace(s, path=new[s.path]) for s in network.scopes),
        links=tuple(replace(k, source=new[k.source], target=new[k.target]) for k in network.links),
    )


def _with_outer(paths: list[str], plain: dict[str, str]) -> dict[str, bool]:
    """These paths and all around them, outer before inner; whether all parts are clean."""
    known: dict[str, bool] = {}
    for path in paths:
        missing = [path]
        while (above := missing[-1].rpartition("/")[0]) and above not in known:
            missing.append(above)
        for inner in reversed(missing):
            above, slash, own = inner.rpartition("/")
            known[inner] = (known[above] if above else not slash) and plain[own] == own
    return known


def _with_clean_kinds(network: Network) -> Network:
    kinds = set(map(attrgetter("kind"), chain(network.layers, network.scopes)))
    plain = {kind: clean(kind) for kind in kinds}
    name = clean(network.name)
    if name == network.name and all(kind == made for kind, made in plain.items()):
        return network
    return replace(
        network,
        name=name,
        layers=tuple(replace(la, kind=plain[la.kind]) for la in network.layers),
        scopes=tuple(replace(s, kind=plain[s.kind]) for s in network.scopes),
    )
