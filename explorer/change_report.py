"""What the command line tells about two files of one architecture: a table, or JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from explorer.comparing.comparison import Comparison
from explorer.comparing.measuring import ChangeSums, LayerChange
from explorer.comparing.pairing import shape_text
from explorer.drawing.color_scale import count, number, percent
from explorer.errors import UnknownNameError

ORDERS: dict[str, Callable[[ChangeSums], float]] = {
    "change": lambda sums: sums.rms,
    "relative": lambda sums: sums.relative,
}
_MOST_LISTED = 12  # added, removed and other layers named in the table


def order_of(name: str) -> Callable[[ChangeSums], float]:
    """What layers are sorted by, the largest first.

    Raises
    ------
    UnknownNameError
        If there is no such order.
    """
    if name not in ORDERS:
        raise UnknownNameError("order", name, ORDERS)
    return ORDERS[name]


def changes_json(
    comparison: Comparison, changes: Sequence[LayerChange], top: int, by: str = "change"
) -> dict[str, Any]:
    """By how much each layer changed, as the command line's contract names it.

    Parameters
    ----------
    comparison : Comparison
    changes : sequence of LayerChange
        Of all its layers.
    top : int
        Most layers listed; those that changed most.
    by : {"change", "relative"}
        What "most" means.

    Returns
    -------
    dict
        Plain JSON values. A ratio that does not exist (nothing was there before, a side is all 0)
        is ``None``.

    Raises
    ------
    UnknownNameError
        If there is no such order.
    """
    order = order_of(by)
    ranked = sorted(
        (c for c in changes if c.sums.changed or c.sums.non_finite),
        key=lambda c: order(c.sums),
        reverse=True,
    )
    marks = comparison.marks
    whole = {w.after.name: w for p in comparison.pairs.values() for w in p.weights}
    return {
        "before": comparison.before,
        "after": comparison.after,
        "layers_compared": len(changes),
        "layers_changed": sum(c.sums.changed > 0 for c in changes),
        "weights_compared": sum(w.after.size for w in whole.values()),
        "added": [_alone(comparison, p) for p, mark in marks.items() if mark == "added"],
        "removed": [_alone(comparison, p) for p, mark in marks.items() if mark == "removed"],
        "differs": [
            {"path": p, "what": list(comparison.pairs[p].differs)}
            for p, mark in marks.items()
            if mark == "differs"
        ],
        "paired_by_order": [
            {"path": p, "before": pair.before.path}
            for p, pair in comparison.pairs.items()
            if pair.by == "order"
        ],
        "layers": [_row(change) for change in ranked[:top]],
    }


def _alone(comparison: Comparison, path: str) -> dict[str, Any]:
    layer = comparison.alone[path]
    return {"path": layer.path, "kind": layer.kind, "parameters": layer.parameters}


def _row(change: LayerChange) -> dict[str, Any]:
    largest = max(change.weights, key=lambda w: w.pair.after.size)
    return {
        "path": change.path,
        "kind": change.pair.after.kind,
        "shape": list(largest.pair.after.shape),
        **_numbers(change.sums),
        "weights": [
            {
                "role": w.role,
                "shape": list(w.pair.after.shape),
                "dtype_before": w.pair.before.kind_of_element,
                "dtype_after": w.pair.after.kind_of_element,
                **_numbers(w.sums),
            }
            for w in change.weights
        ],
    }


def _numbers(sums: ChangeSums) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "change": sums.rms,
        "relative": known(sums.relative),
        "largest": sums.largest,
        "rms_before": sums.rms_before,
        "rms_after": sums.rms_after,
        "cosine": known(sums.cosine),
        "weights_changed": sums.changed,
        "weights_total": sums.size,
        "non_finite": sums.non_finite,
    }


def changes_text(found: dict[str, Any]) -> str:
    """The same as a table, for a terminal."""
    lines = [
        f"{found['before']} → {found['after']} · {count(found['layers_changed'])} of"
        f" {count(found['layers_compared'])} layers with weights changed"
    ]
    if found["paired_by_order"]:
        pairs = found["paired_by_order"]
        lines.append(
            f"{count(len(pairs))} layers have other names before: paired by their order,"
            f" {pairs[0]['before']} = {pairs[0]['path']}"
        )
    for what in ("added", "removed"):
        lines += _listed(what, [f"{r['path']} ({r['kind']})" for r in found[what]])
    lines += _listed("differs", [f"{r['path']}: {'; '.join(r['what'])}" for r in found["differs"]])
    rows = found["layers"]
    if not rows:
        return "\n".join(lines)
    names = ("layer", "kind", "shape", "change", "relative", "largest", "changed", "cosine")
    table = [names, *(_cells(row) for row in rows)]
    widths = [max(len(row[k]) for row in table) for k in range(len(names))]
    lines.append("")
    for row in table:
        left = [text.ljust(w) for text, w in zip(row[:3], widths[:3], strict=True)]
        right = [text.rjust(w) for text, w in zip(row[3:], widths[3:], strict=True)]
        lines.append("  ".join([*left, *right]))
    lines += ["", "change: RMS of newer - older; relative: over the RMS of older; largest: |Δw|"]
    if bad := sum(row["non_finite"] for row in rows):
        lines.append(f"{count(bad)} weights are NaN or infinite in a file: left out of the sums")
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    relative, cosine = row["relative"], row["cosine"]
    return (
        row["path"],
        row["kind"],
        shape_text(tuple(row["shape"])),
        number(row["change"]),
        "∞" if relative is None else percent(relative) if relative < 1 else f"× {relative:.3g}",
        number(row["largest"]),
        percent(row["weights_changed"] / max(row["weights_total"], 1)),
        "-" if cosine is None else f"{cosine:.6f}",
    )


def _listed(what: str, texts: list[str]) -> list[str]:
    lines = [f"{what}: {text}" for text in texts[:_MOST_LISTED]]
    if len(texts) > _MOST_LISTED:
        lines.append(f"{what}: {count(len(texts) - _MOST_LISTED)} more")
    return lines
