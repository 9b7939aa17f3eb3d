"""What the command line tells about a network: as JSON for programs, as text for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from explorer.crossing.query import fewest_edges, strongest_edges
from explorer.drawing.color_scale import count, percent
from explorer.errors import NeuronautError
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.tree import lod
from explorer.tree.hierarchy import shape_text


def network_json(network: Network) -> dict[str, Any]:
    """Layers, links and weights of a network as the command line's contract names them."""
    links = {(k.source, k.target): k.origin for k in network.links}
    return {
        "name": network.name,
        "format": network.format,
        "parameters": network.parameters,
        "layers": [
            {
                "path": layer.path,
                "kind": layer.kind,
                "output_shape": None if layer.output_shape is None else list(layer.output_shape),
                "parameters": layer.parameters,
                "weights": [
                    {"name": w.name, "shape": list(w.shape), "dtype": w.kind_of_element}
                    for w in layer.weights
                ],
            }
            for layer in network.layers
        ],
        "links": [{"from": a, "to": b, "origin": origin} for (a, b), origin in links.items()],
        "notes": list(network.notes),
    }


def network_text(network: Network) -> str:
    """A table of the layers, for a terminal."""
    rows = [("layer", "kind", "output", "parameters")]
    for layer in network.layers:
        shape = shape_text(layer.output_shape)
        rows.append((layer.path, layer.kind, shape, count(layer.parameters)))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [
        f"{network.name} · {network.format} · {count(network.parameters)} parameters ·"
        f" {count(len(network.layers))} layers · {count(len(network.links))} links"
        + ("" if network.links_known else " (links are not recorded)"),
        *network.notes,
        "",
    ]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row[:3], widths[:3], strict=True)]
        lines.append("  ".join([*cells, row[3].rjust(widths[3])]).rstrip())
    return "\n".join(lines)


def edges_json(
    model: OpenModel,
    source: str,
    target: str,
    top: int = 20,
    share: float | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The strongest connections between two nodes as the command line's contract names them.

    What is measured for it is kept for the next run, where that is worth it.

    Parameters
    ----------
    model : OpenModel
    source, target : str
        Nodes as a person names them; layers, scopes, or ranges of units.
    top : int
        How many connections to list, at least 1.
    share : float, optional
        List the fewest that hold this share of Σw² instead.
    told : callable (done, total)
        Bytes of the weights that have to be measured for it.

    Raises
    ------
    UnknownNameError
        If a node does not exist.
    NeuronautError
        If no connection is asked for, or if the share needs more than can be listed.
    """
    if share is None and not (_is_number(top, int | np.integer) and top >= 1):
        raise NeuronautError(
            f"{str(top)[:40]} strongest connections cannot be listed: give 1 or more"
        )
    if share is not None and not _is_number(share, int | float | np.number):
        raise NeuronautError(f"{str(share)[:40]} is no share of Σw²: give a number from 0 to 1")
    ends = [_layers(model, name) for name in (source, target)]
    model.keeper.begin()  # what is measured for it need not be measured for the next question
    (from_layers, from_units), (to_layers, to_units) = ends
    asked = (model.graph, model.pyramid, from_layers, to_layers)
    if share is None:
        found = strongest_edges(*asked, top, from_range=from_units, to_range=to_units, told=told)
    else:
        found = fewest_edges(
            *asked, float(share), from_range=from_units, to_range=to_units, told=told
        )
    return found.to_json()


def _is_number(value: object, kinds: Any) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _layers(model: OpenModel, name: str) -> tuple[set[str], tuple[int, int] | None]:
    path = lod.resolve(model.hierarchy, model.units_of, name, any_range=True)
    by_path = model.hierarchy.by_path
    split = None if path in by_path else lod.split_unit_path(path)
    layer_path, units = split if split else (path, None)
    layers = {layer.path for layer in model.hierarchy.layers_in(by_path[layer_path])}
    return layers, (units.start, units.stop) if units else None


def edges_text(found: dict[str, Any]) -> str:
    """The strongest connections as a table, for a terminal."""
    rows = found["edges"]
    if not found["total_connections"]:
        return "no weights lie between these nodes"
    lines = [
        f"{count(len(rows))} of {count(found['total_connections'])} connections"
        f" ({count(found['total_weights'])} weights),"
        f" {percent(found['shown_share_of_sum_sq'])} of Σw²"
    ]
    if rows:
        lines.append(f"{'from':>32}  {'to':<32} {'magnitude':>12} {'signed mean':>12} weights")
    for row in rows:
        ends = [f"{row[side]}[{row[side + '_unit']}]" for side in ("from", "to")]
        lines.append(
            f"{ends[0]:>32}  {ends[1]:<32} {row['magnitude']:12.6g} {row['signed_mean']:12.6g}"
            f" {row['weights']:>7}"
        )
    return "\n".join(lines)
