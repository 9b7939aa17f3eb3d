"""What the panel beside the picture tells about a selected node: plain data, no HTML."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from explorer.crossing.query import strongest_edges
from explorer.drawing.appearance import node_family, unit_title
from explorer.drawing.color_scale import count
from explorer.network import Layer, Weight
from explorer.open_model import OpenModel
from explorer.panel.compared import layer_rows
from explorer.tree import lod
from explorer.tree.hierarchy import Node, shape_text
from explorer.tree.lod import UnitRange
from explorer.weights.edge_lists import UNITS, UnitNames

MOST_ROWS = 60
MOST_TEXT = 240
STRONGEST = 10


def layer_panel(model: OpenModel, path: str) -> dict[str, Any]:
    """What is known about a node without reading a weight.

    Parameters
    ----------
    model : OpenModel
    path : str
        Of a node of the hierarchy, or of a unit or a range of units.

    Returns
    -------
    dict
        ``path``, ``title``, ``kind`` ("scope", "series", "stage", "layer", "units" or "unit");
        ``facts`` and ``config``: rows of (name, text); ``weights``: for a layer, a dict per weight
        with ``name``, ``role``, ``shape``, ``dtype``, ``size``; ``children``: for a group, a dict
        per child with ``path``, ``title``, ``family``, ``parameters``.

    Raises
    ------
    UnknownNameError
        If there is no such node.
    """
    index, here = lod.locate(model.hierarchy, path)
    node = model.hierarchy.nodes[index]
    layer = model.hierarchy.layer(index)
    if here is not None and layer is not None:
        return _unit_panel(model, index, layer, here, path)
    weights = layer.weights if layer is not None else ()
    facts = _layer_facts(model, layer) if layer is not None else _group_facts(model, index)
    if layer is not None and model.comparison is not None:
        facts += layer_rows(model.comparison, layer)
    return {
        "path": path,
        "title": node.title,
        "kind": node.kind,
        "facts": facts,
        "config": config_rows(layer.config if layer is not None else _scope_config(model, node)),
        "weights": [_weight_row(w) for w in weights],
        "children": [] if layer is not None else _children(model, node),
    }


def incoming(model: OpenModel, path: str, top: int = STRONGEST) -> list[dict[str, Any]]:
    """The strongest connections into a unit or a range of units; reads what it needs.

    Parameters
    ----------
    model : OpenModel
    path : str
        Of units; for any other node the list is empty.
    top : int
        Most connections listed.

    Returns
    -------
    list of dict
        Strongest first: ``source`` (path of the layer), ``unit``, ``target_unit``, ``magnitude``
        (RMS of the weights of that pair), ``signed_mean`` and ``weights``, their number.

    Raises
    ------
    ModelError
        If the file was changed or cannot be read.
    """
    index, here = lod.locate(model.hierarchy, path)
    layer = model.hierarchy.layer(index)
    if here is None or layer is None:
        return []
    everywhere = {la.path for la in model.graph.layers}
    found = strongest_edges(
        model.graph,
        model.pyramid,
        everywhere,
        {layer.path},
        top,
        to_range=(here.start, here.stop),
    )
    return [
        {
            "source": row["from"],
            "unit": row["from_unit"],
            "target_unit": row["to_unit"],
            "magnitude": row["magnitude"],
            "signed_mean": row["signed_mean"],
            "weights": row["weights"],
        }
        for row in found.to_json()["edges"]
    ]


def config_rows(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A configuration as rows of (name, text), nested objects by the name of their class.

    Parameters
    ----------
    config : mapping
        Plain JSON values; those whose keys begin with ``_`` are not for people.
    """
    rows = []
    config = {k: v for k, v in config.items() if not str(k).startswith("_")}
    for key, value in list(config.items())[:MOST_ROWS]:
        rows.append((clean(str(key)), clean(_short(value))))
    if len(config) > MOST_ROWS:
        rows.append(("…", f"{count(len(config) - MOST_ROWS)} more"))
    return rows


def clean(text: str) -> str:
    """A text of the file fit to be shown: one line, no control or direction marks, not endless."""
    kept = "".join(" " if unicodedata.category(c)[0] == "C" else c for c in text[: MOST_TEXT + 1])
    return kept if len(text) <= MOST_TEXT else kept[:MOST_TEXT] + "…"


def _short(value: object, depth: int = 0) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        name = value.get("class_name")
        inside = value.get("config") if isinstance(name, str) else value
        items = list(inside.items())[:8] if isinstance(inside, Mapping) and depth < 3 else []
        parts = [f"{k}={_short(v, depth + 1)}" for k, v in items if v is not None]
        joined = ", ".join(parts)
        if isinstance(name, str):
            return f"{name}({joined})" if joined else name
        return f"{{{joined}}}"
    if isinstance(value, list | tuple):
        if depth >= 3:
            return "[…]"
        shown = [_short(v, depth + 1) for v in value[:16]]
        return f"[{', '.join([*shown, '…'] if len(value) > 16 else shown)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _layer_facts(model: OpenModel, layer: Layer) -> list[tuple[str, str]]:
    facts = [("kind", clean(layer.kind)), ("output", shape_text(layer.output_shape))]
    if layer.input_shapes:
        facts.append(("input", ", ".join(shape_text(s) for s in layer.input_shapes[:4])))
    units = model.units_of(layer)
    if units.count:
        facts.append(("units", count(units.count)))
    if units.blocks:
        facts.append(("gates", ", ".join(units.blocks)))
    if units.heads is not None:
        facts.append(("heads", f"{units.heads[0]} of {units.heads[1]} components"))
    facts.append(("parameters", count(layer.parameters)))
    return facts


def _group_facts(model: OpenModel, index: int) -> list[tuple[str, str]]:
    node, layers = model.hierarchy.nodes[index], model.hierarchy.layers_in(index)
    names = {"series": f"series of {model.hierarchy.copies[index]} alike", "stage": "stage"}
    kind = names.get(node.kind) or node.type or ("whole network" if index == 0 else "group")
    facts = [("kind", clean(kind))]
    shape = next((la.output_shape for la in reversed(layers) if la.output_shape), None)
    weights = {w.name: w for la in layers for w in la.weights}
    facts += [
        ("output", shape_text(shape)),
        ("layers", count(len(layers))),
        ("parameters", count(sum(w.size for w in weights.values()))),
    ]
    if node.inferred:
        facts.append(("grouping", "inferred, not recorded in the file"))
    if index == 0:
        facts += [("format", model.network.format), *(("note", n) for n in model.network.notes)]
    return facts


def _scope_config(model: OpenModel, node: Node) -> Mapping[str, Any]:
    # The configuration of a nested model repeats all its layers': only its plain values are shown.
    found = next((s.config for s in model.graph.scopes if s.path == node.path), {})
    return {k: v for k, v in found.items() if not isinstance(v, list | dict)}


def _children(model: OpenModel, node: Node) -> list[dict[str, Any]]:
    return [
        {
            "path": model.hierarchy.nodes[child].path,
            "title": model.hierarchy.nodes[child].title,
            "family": node_family(model.hierarchy, child),
            "parameters": sum(la.parameters for la in model.hierarchy.layers_in(child)),
        }
        for child in node.children[:MOST_ROWS]
    ]


def _unit_panel(
    model: OpenModel, index: int, layer: Layer, here: UnitRange, path: str
) -> dict[str, Any]:
    what = "unit" if here.count == 1 else "units"
    number = f"{here.start}" if here.count == 1 else f"{here.start} to {here.stop - 1}"
    facts = [
        ("layer", clean(layer.path)),
        ("kind", clean(layer.kind)),
        (what, f"{number} of {count(model.units_of(layer).count)}"),
        ("output of the layer", shape_text(layer.output_shape)),
    ]
    title = unit_title(model.hierarchy, index, here, model.units_of)
    named = layer.config.get(UNITS) if here.count == 1 else None
    config: Mapping[str, Any] = {}
    if isinstance(named, UnitNames):
        facts.insert(0, ("node", clean(named.names[here.start])))
        config = named.attributes[here.start]
    return {
        "path": path,
        "title": f"{layer.name} {title}",
        "kind": what,
        "facts": facts,
        "config": config_rows(config),
        "weights": [],
        "children": [],
    }


def _weight_row(weight: Weight) -> dict[str, Any]:
    return {
        "name": weight.name,
        "role": clean(weight.role),
        "shape": weight.shape,
        "dtype": weight.kind_of_element,
        "size": weight.size,
    }
