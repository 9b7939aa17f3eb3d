"""From a session to what the page shows: plain JSON values, computed without the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from explorer.drawing.color_scale import count, number
from explorer.drawing.themes import THEMES
from explorer.errors import NeuronautError
from explorer.panel.captions import histogram_caption, octaves_caption, reading_text
from explorer.web.coloring import bar_state
from explorer.web.figures import css_gradient, histogram_path, rgb

if TYPE_CHECKING:
    from explorer.drawing.draw_list import BoxScale, Legend
    from explorer.panel.weight_summary import WeightSummary
    from explorer.session.reading_line import ReadingLine
    from explorer.session.session import Session

MOST_FOUND = 10
_SCALES = {
    "automatic": "linear, or by logarithm where magnitudes spread widely",
    "linear": "equal steps of colour are equal steps of the number",
    "log": "equal steps of colour are equal ratios",
    "rank": "equal steps of colour are equal shares of what is drawn",
}
MOST_DEPTHS, MOST_KINDS = 6, 12  # offered in the menu that opens many nodes


def first_state(session: Session) -> dict[str, Any]:
    """State entries that a page begins with."""
    import layouts
    from explorer.overlays import KIND, overlays, unit_overlays
    from explorer.panel.panel import layer_panel

    network, comparing = session.network, session.model.comparison is not None
    notes = "; ".join(network.notes)
    about = f"{network.format} · {count(len(network.layers))} layers · " + (
        f"{count(network.parameters)} parameters"
    )
    stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in network.name)[:60]
    return {
        "title": network.name or "network",
        "about": f"{about} · {notes}" if notes else about,
        "file_name": f"{stem or 'network'}.png",
        "overlays": [_choice(o.name, o.summary) for o in overlays(comparing).values()],
        "units_known": [
            _choice(KIND, "the kind of layer"),
            *(_choice(o.name, o.summary) for o in unit_overlays(comparing).values()),
        ],
        "layouts": [_choice(o.name, o.summary) for o in layouts.layouts().values()],
        "scales": [_choice(name, summary) for name, summary in _SCALES.items()],
        "openings": openings(session),
        "panel": panel_state(layer_panel(session.model, ""), session.state.theme),
        **drawn_state(session),
    }


def drawn_state(session: Session) -> dict[str, Any]:
    """State entries that follow from the draw list and the view state."""
    drawn, state = session.draw_list, session.state
    opened = len(drawn.frames.node)
    return {
        "crumbs": crumbs(session),
        "open_count": f"{opened} open" if opened else "",
        "legend": legend_state(drawn.legend),
        "pending": drawn.pending,
        "drawn": {"nodes": len(drawn.solids.node), "edges": len(drawn.edges.source)},
        "overlay": state.overlay,
        "units": state.units,
        "threshold": f"{state.threshold:.6g}",
        "layout": state.layout,
        "theme": state.theme,
        "scale": state.scale,
        "detail": state.detail,
        "focus": state.focus or "",
        "can_undo": session.can_undo,
        "can_redo": session.can_redo,
    }


def reading_state(line: ReadingLine) -> dict[str, Any]:
    """What the page tells of the weights being read; an empty text hides it."""
    return {"text": line.text, "paused": line.paused}


def openings(session: Session) -> list[dict[str, str]]:
    """What can be opened at once: down to each depth, and each of the commonest kinds."""
    from explorer.session.opening import known_kinds, levels

    hierarchy = session.model.hierarchy
    depths = range(1, min(levels(hierarchy), MOST_DEPTHS) + 1)
    return [
        {"value": "depth 0", "title": "Nothing: close all"},
        *({"value": f"depth {d}", "title": f"To depth {d}"} for d in depths),
        *(
            {"value": f"kind {kind}", "title": f"All {kind[:40]}"}
            for kind in known_kinds(hierarchy)[:MOST_KINDS]
        ),
    ]


def crumbs(session: Session) -> list[dict[str, str]]:
    """The open nodes around the selected one, outermost first, and itself when it is open."""
    selected = session.state.selected
    if not selected:
        return []
    drawn = session.draw_list
    titles = {drawn.nodes[la.node]: la.text for la in drawn.labels if la.title and la.node >= 0}
    frames = {drawn.nodes[int(n)] for n in drawn.frames.node}
    chain = [p for p in (*around(session, selected), selected) if p in frames]
    return [{"path": p, "title": titles.get(p) or p.rsplit("/", 1)[-1]} for p in chain]


def around(session: Session, path: str) -> list[str]:
    """Paths of the nodes that hold a node, outermost first; empty for what does not exist."""
    from explorer.tree import lod

    model = session.model
    try:
        return lod.opening(model.hierarchy, model.units_of, session.resolve(path))
    except (NeuronautError, KeyError):
        return []


def parent_shown(session: Session, path: str) -> str | None:
    """The nearest node around this one, or ``None`` for the whole network."""
    outer = around(session, path)
    return outer[-1] if outer else None


def legend_state(legend: Legend) -> dict[str, Any]:
    """The legend: a CSS gradient, ticks in percent, kinds with colours, statements."""
    return {
        "title": legend.title,
        "gradient": css_gradient(legend.ramp),
        "ticks": [{"at": round(100 * at, 2), "text": text} for at, text in legend.ticks],
        "boxes": _boxes_state(legend.boxes),
        "kinds": [{"name": name, "color": rgb(color)} for name, color in legend.kinds],
        "lines": list(legend.lines),
        "bar": bar_state(legend.bar),
    }


def _boxes_state(scale: BoxScale | None) -> dict[str, Any] | None:
    """The colour scale of the boxes; ``None`` where their colour is their kind."""
    if scale is None:
        return None
    ticks = [{"at": round(100 * at, 2), "text": text} for at, text in scale.ticks]
    return {"title": scale.title, "gradient": css_gradient(scale.ramp), "ticks": ticks}


def find(session: Session, text: str) -> list[dict[str, str]]:
    """Nodes whose name holds a text, for the search field."""
    from explorer.drawing.appearance import node_family

    hierarchy = session.model.hierarchy
    families = THEMES[session.state.theme].families
    found = []
    for path in session.find(text, MOST_FOUND):
        node = hierarchy.by_path[path]
        color = rgb(families[node_family(hierarchy, node)])
        found.append({"path": path, "title": hierarchy.nodes[node].title, "color": color})
    return found


def tip(text: str, at: tuple[float, float], size: tuple[int, int]) -> dict[str, Any]:
    """A tip beside the pointer, on the side where there is room."""
    left, above = at[0] > size[0] - 380, at[1] > size[1] - 120
    shift = f"translate({'calc(-100% - 14px)' if left else '14px'}, " + (
        f"{'calc(-100% - 10px)' if above else '16px'})"
    )
    lines = text.replace("\n", " · ").split(" · ")
    return {"show": True, "x": round(at[0]), "y": round(at[1]), "shift": shift, "lines": lines}


def panel_state(data: Mapping[str, Any], theme: str) -> dict[str, Any]:
    """`explorer.panel.panel.layer_panel` as the page shows it."""
    families = THEMES[theme].families
    children = [
        {
            "path": c["path"],
            "title": c["title"],
            "text": f"{count(c['parameters'])} parameters" if c["parameters"] else "",
            "color": rgb(families[c["family"]]),
        }
        for c in data["children"]
    ]
    return {
        "title": data["title"],
        "path": data["path"],
        "facts": [list(row) for row in data["facts"]],
        "config": [list(row) for row in data["config"]],
        "weights": [{"name": w["name"], "role": w["role"]} for w in data["weights"]],
        "children": children,
    }


def incoming_rows(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """`explorer.panel.panel.incoming` as rows of (from, value)."""
    return [
        [
            f"{e['source']}[{e['unit']}]",
            f"{e['signed_mean']:.6g}" if e["weights"] == 1 else f"RMS {e['magnitude']:.6g}",
        ]
        for e in rows
    ]


def edge_panel(text: str) -> dict[str, Any]:
    """The panel for a selected edge: its ends and its exact value."""
    ends, *values = text.split(" · ")
    source, _, target = ends.partition(" → ")
    facts = [["from", source], ["to", target], *(["stands for", v] for v in values)]
    return {
        "title": "Edge", "path": "", "facts": facts, "config": [], "weights": [], "children": [],
    }  # fmt: skip


def failed_state(error: str) -> dict[str, Any]:
    """What is shown in place of a weight's statistics when it cannot be read."""
    return {"error": error, "facts": [], "exact": True, "histograms": []}


def estimate_state(summary: WeightSummary) -> dict[str, Any]:
    """What is known of weights that are still being read."""
    return weight_state(
        {"shape": (), "dtype": "", "codes": False, "summary": summary, "compared": ()}
    )


def weight_state(data: Mapping[str, Any]) -> dict[str, Any]:
    """`explorer.panel.statistics.weight_statistics` as the page shows it."""
    summary: WeightSummary = data["summary"]
    facts = []
    if data["shape"]:
        facts.append(["shape", " × ".join(map(str, data["shape"]))])
    if data["dtype"]:
        facts.append(["type", data["dtype"] + (", packed codes" if data["codes"] else "")])
    facts.append(["numbers", count(summary.size)])
    if summary.finite:
        values = [("min", summary.low), ("max", summary.high), ("mean", summary.mean)]
        values += [("std", summary.std)] if summary.exact else []
        facts += [[k, f"{v:.6g}"] for k, v in values]
        facts.append(["zeros", count(summary.zeros)])
    if summary.finite < (summary.size if summary.exact else summary.read):
        facts.append(["not finite", count(summary.size - summary.finite)])
    facts += [list(row) for row in data["compared"]]
    return {
        "error": "",
        "facts": facts,
        "exact": summary.exact,
        "reading": "" if summary.exact else reading_text(summary),
        "histograms": [h for h in (_linear(summary), _octaves(summary)) if h is not None],
    }


def _linear(summary: WeightSummary) -> dict[str, Any] | None:
    counts = summary.counts
    if not len(counts):
        return None
    low, high = float(summary.edges[0]), float(summary.edges[-1])
    zero = 320 * -low / (high - low) if low < 0 < high else None
    return _bars(counts, "w", (number(low), number(high)), histogram_caption(summary), zero)


def _octaves(summary: WeightSummary) -> dict[str, Any] | None:
    counts, edges, smaller = summary.octaves()
    if len(counts) < 2:
        return None
    ends = number(float(edges[0])), number(float(edges[-1]))
    return _bars(counts, "|w|", ends, octaves_caption(smaller, summary))


def _bars(
    counts: Any, axis: str, ends: tuple[str, str], caption: str, zero: float | None = None
) -> dict[str, Any]:
    return {
        "axis": axis,
        "path": histogram_path(counts, 320, 90),
        "zero": zero,
        "low": ends[0],
        "high": ends[1],
        "caption": caption,
    }


def _choice(name: str, summary: str) -> dict[str, str]:
    return {"name": name, "title": name[:1].upper() + name[1:], "summary": summary}
