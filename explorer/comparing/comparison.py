"""Two files compared: what a view of them needs to know, frozen but for what has been measured."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from explorer.comparing.joined import Joined, Mark, join
from explorer.comparing.keeping import KeptChanges
from explorer.comparing.measuring import Changes
from explorer.comparing.pairing import LayerPair, pair_networks
from explorer.comparing.reading import BeforeReader, DifferenceReader
from explorer.errors import NeuronautError
from explorer.network import Layer, Network
from explorer.plain_text import clean
from explorer.pyramid.plan import PLAN
from explorer.weights.tidy import tidy
from explorer.weights.weight_reader import WeightReader

_LEAST = 0.001
"""Share of the smaller network's parameters that must be in both: less is chance."""


@dataclass(frozen=True)
class Comparison:
    """An older and a newer file of one architecture.

    Attributes
    ----------
    before, after : str
        Names of the files, for people.
    opened : str
        The files as they were opened, for people.
    measured : (str, str)
        Plan and role of statistics of the differences, by which they are found again: which file
        is the older one, and which weights of both are pairs.
    network : Network
        What is shown, see `explorer.comparing.joined.Joined`.
    pairs : dict of str to LayerPair
        By path in `network`.
    marks : dict of str to {"added", "removed", "differs"}
        By path in `network`.
    alone : dict of str to Layer
        Added and removed layers as their file has them, by path in `network`.
    reader : DifferenceReader
    older : BeforeReader
        Reads the same weights as they were.
    changes : Changes
    """

    before: str
    after: str
    opened: str
    measured: tuple[str, str]
    network: Network
    pairs: dict[str, LayerPair]
    marks: dict[str, Mark]
    alone: dict[str, Layer]
    reader: DifferenceReader
    older: BeforeReader
    changes: Changes

    @property
    def note(self) -> str:
        """The line among the network's notes that names both files."""
        return f"compared: {self.before} → {self.after}"

    def counts(self) -> dict[Mark, int]:
        """How many layers have each mark."""
        found: dict[Mark, int] = {"added": 0, "removed": 0, "differs": 0}
        for mark in self.marks.values():
            found[mark] += 1
        return found


def compare_networks(before: Network, after: Network) -> Comparison:
    """Pair two networks and open their files.

    Raises
    ------
    NeuronautError
        If next to nothing is the same in both; one line.
    ModelError
        If a file is no longer the one that was read.
    """
    before, after = tidy(before), tidy(after)
    pairing = pair_networks(before, after)
    names = file_names(before, after)
    least = min(before.parameters, after.parameters)
    if not pairing.weights or pairing.weights < _LEAST * least:
        raise NeuronautError(
            f"{names[0]} and {names[1]} cannot be compared: {pairing.weights or 'none'} of"
            f" {least} weights have a layer and a shape in common"
        )
    joined = join(before, after, pairing)
    readers = []
    try:
        readers += [WeightReader(before)]
        readers += [WeightReader(after)]
    except BaseException:
        for opened in readers:
            opened.close()
        raise
    reader = DifferenceReader(joined.weights, readers[0], readers[1])
    older = BeforeReader(joined.weights, readers[0], readers[1])
    files = {stamp.path: stamp for stamp in (*after.files, *before.files)}
    ordered = sum(p.by == "order" and bool(p.weights) for p in pairing.pairs)
    both = f"{names[0]} → {names[1]}"
    notes = [f"compared: {both}"]
    if ordered:
        notes.append(f"{ordered} layers have other names in the older file: paired by their order")
    network = replace(
        joined.network,
        name=clean(both),
        files=tuple(files.values()),
        notes=(*notes, *after.notes),
    )
    return Comparison(
        names[0],
        names[1],
        f"{before.opened} → {after.opened}",
        _measured(before, joined),
        network,
        {p.after.path: p for p in pairing.pairs},
        joined.marks,
        joined.alone,
        reader,
        older,
        Changes(pairing.pairs, joined.weights, readers[0], readers[1],
                KeptChanges(before, after, both)),
    )  # fmt: skip


def _measured(before: Network, joined: Joined) -> tuple[str, str]:
    pairs = [(name, p.before.name, p.after.name, p.dtype) for name, p in joined.weights.items()]
    older = [os.path.realpath(stamp.path) for stamp in before.files]
    return f"{PLAN} {_hash(pairs)}", f"differences from {_hash(older)}"


def _hash(told: object) -> str:
    text = repr(told).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=12).hexdigest()


def file_names(before: Network, after: Network) -> tuple[str, str]:
    """Names of the two files as short as they can be told apart."""
    paths = [Path(n.opened or n.name) for n in (before, after)]
    a, b = (p.name for p in paths)
    if a == b and paths[0] != paths[1]:
        a, b = (f"{p.parent.name}/{p.name}" for p in paths)
    if a == b and paths[0] != paths[1]:
        a, b = map(str, paths)
    return clean(a), clean(b)
