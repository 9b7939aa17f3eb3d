"""Which weights inside a closed node links lead to, against a search along every single link."""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from explorer.crossing.coverage import coverage
from explorer.network import Link, Network
from explorer.open_model import OpenModel
from explorer.session.session import Session

SCRIPT = Path(__file__).parents[1] / "scripts" / "layer_graphs.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("layer_graphs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there for the names they use
    spec.loader.exec_module(module)
    return module


layer_graphs = load()
GRAPHS: dict[str, Callable[[Path], Network]] = {
    "skips": lambda weights: layer_graphs.chain(150, 150, weights),
    "decoder": lambda weights: layer_graphs.decoder(400, "scoped", weights),
}


def reached(model: OpenModel, inside: set[str], links: list[Link]) -> list[int]:
    """Connections that links lead to through weightless layers inside, one link at a time."""
    numbers = {c.key: n for n, c in enumerate(model.table.connections)}
    kind = {layer.path: layer.kind for layer in model.graph.layers}
    after: dict[str, list[Link]] = {}
    for link in model.graph.links:
        after.setdefault(link.source, []).append(link)
    found, seen, todo = set(), set(links), list(links)
    while todo:
        link = todo.pop()
        own = model.wires.connections(link.target)
        found |= {numbers[c.key] for c in own if c.input == link.target_input}
        if not own and kind[link.target] != "Dot":  # which mixes all units
            onward = {k for k in after.get(link.target, []) if k.target in inside} - seen
            seen |= onward
            todo += onward
    return sorted(found)


@pytest.mark.parametrize("graph", GRAPHS)
def test_groups_of_links_reach_what_each_link_reaches(graph: str, tmp_path: Path) -> None:
    weights = layer_graphs.write_weights(tmp_path / "weights.bin")
    model = OpenModel(GRAPHS[graph](weights))
    hierarchy, choose = model.hierarchy, random.Random(graph)
    ends = hierarchy.place[model.graph.link_ends]
    several = 0
    for node in range(1, len(hierarchy.nodes)):
        first, stop = hierarchy.spans[node].tolist()
        within = (ends >= first) & (ends < stop)
        into = np.flatnonzero(within[:, 1] & ~within[:, 0]).astype(np.int32)
        count = choose.randint(1, 4)
        label = np.array([choose.randrange(count) for _ in into], np.int32)
        groups = [into[label == one] for one in range(count)]
        inside = {layer.path for layer in hierarchy.layers_in(node)}
        fed = coverage(model.passing, model.inflow, (first, stop), groups)
        for one, chosen in zip(fed, groups, strict=True):
            links = [model.graph.links[k] for k in chosen.tolist()]
            assert (one.whole, one.parts) == (reached(model, inside, links), {})
        several += sum(len(one.whole) > 0 for one in fed) > 1
    assert several > 3
    model.close()


def test_a_cut_looks_the_same_whatever_was_open_before(tmp_path: Path) -> None:
    weights = layer_graphs.write_weights(tmp_path / "weights.bin", kernels=8)
    with OpenModel(layer_graphs.chain(300, 300, weights)) as model:
        walking, choose = Session(model), random.Random(3)
        for _ in range(12):
            cut = walking.placed.cut
            paths = [p for p in cut.paths[1:] if walking.can_open(p) or p in walking.state.opened]
            walking.click(choose.choice(paths))
            fresh = Session(model, walking.state)
            walking.wait()
            fresh.wait()
            mine, other = walking.draw_list, fresh.draw_list
            assert list(mine.nodes) == list(other.nodes)
            assert repr(mine.legend) == repr(other.legend)  # arrays within have no ==
            for name, values in vars(mine.edges).items():
                np.testing.assert_array_equal(values, getattr(other.edges, name), name)
            fresh.close_session()
        walking.close_session()
