"""What stands under the figures of a panel, in page and window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from explorer.drawing.color_scale import count, percent

if TYPE_CHECKING:
    from explorer.panel.weight_summary import WeightSummary


def reading_text(summary: WeightSummary) -> str:
    """How much of what an estimate is about has been read."""
    share = max(summary.read, 0) / max(summary.size, 1)
    return f"estimate: {percent(share)} of {count(summary.size)} weights read"


def histogram_caption(summary: WeightSummary) -> str:
    """What even bars count."""
    about = "" if summary.exact else f"{reading_text(summary)}; "
    return (
        f"{about}{count(int(summary.counts.sum()))} values in {len(summary.counts)} bins, "
        f"at most {count(int(summary.counts.max()))}"
    )


def octaves_caption(smaller: int, summary: WeightSummary) -> str:
    """What bars of magnitudes count."""
    rest = smaller - summary.zeros
    zeros = f"; {count(summary.zeros)} are zero" if summary.zeros else ""
    below = f"; {count(rest)} are smaller" if rest > 0 else ""
    return f"|w| on a logarithmic axis, four bars per factor of two{zeros}{below}"
