"""The panel beside the picture in the local window as one RGBA picture, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explorer.drawing.color_scale import count
from explorer.panel.figure_reader import FigureLook
from explorer.panel.paper import PAD_PX, Paper
from explorer.panel.reader import Details
from explorer.panel.text import (
    cut,
    cut_front,
    family_color,
    incoming_text,
    length,
    telling_config,
    weight_facts,
    wrap,
)
from explorer.panel.weight_picture import Rect, draw_figure, draw_histograms, figure_room
from explorer.renderer.labels import text_scale
from explorer.renderer.text import Sprite

WIDTH_PX = 340  # in a picture 900 pixels high
_WIDEST = 0.45  # share of the picture's width that the panel may take
_BAR = {"dark": (91, 155, 255), "light": (47, 111, 219)}
_ACCENT = {"dark": (240, 163, 62), "light": (178, 106, 0)}
_NEXT = "w next"
_KEYS = ("i hide", _NEXT, "Esc end")
_AS, _EXPORT = "v images", "e export"


def panel_picture(details: Details, size: tuple[int, int], theme: str) -> Sprite:
    """Draw the panel without a figure of the weight; see `drawn_panel`."""
    return drawn_panel(details, size, theme)[0]


def panel_width(size: tuple[int, int]) -> int:
    """Width of the panel in a picture of this size, pixels."""
    return max(min(round(WIDTH_PX * text_scale(size[1])), round(size[0] * _WIDEST)), 1)


def room_for_figure(size: tuple[int, int]) -> tuple[float, float]:
    """Width and height that the figure of a weight may take, in a picture of this size."""
    scale = text_scale(size[1])
    inner = max(panel_width(size) - 2 * round(PAD_PX * scale), 1)
    return figure_room(inner, scale, size[1])


def drawn_panel(
    details: Details, size: tuple[int, int], theme: str, look: FigureLook | None = None
) -> tuple[Sprite, Rect | None]:
    """Draw the panel.

    Parameters
    ----------
    details : Details
    size : (int, int)
        Of the whole picture, pixels; the panel is as high as it.
    theme : str
        ``"dark"`` or ``"light"``.
    look : FigureLook, optional
        The weight's heat map or kernels.

    Returns
    -------
    picture : Sprite
        uint8, shape (height, about 340 at 900 pixels of height, 4).
    figure : (left, top, width, height) or None
        Where the cells of the figure are, pixels of `picture`.
    """
    page = Paper((panel_width(size), size[1]), text_scale(size[1]), theme)
    _head(page, details)
    figure = None
    if details.panel["weights"]:
        figure = _weight(page, details, look)
    elif details.panel["kind"] in ("unit", "units"):
        _incoming(page, details)
    elif details.statistics is not None and page.heading("All weights inside"):
        _numbers(page, details.statistics)
    _children(page, details.panel["children"], len(details.panel["config"]))
    _config(page, details)
    more = len(details.panel["weights"]) > 1
    keys = [key for key in _KEYS if more or key != _NEXT]
    if figure is not None and look is not None:
        keys = [*keys[:-1], *([_AS] if look.figure.images else []), _EXPORT, keys[-1]]
    return page.finish("  ·  ".join(keys)), figure


def _head(page: Paper, details: Details) -> None:
    panel, ink = details.panel, page.ink
    px = round(15.5 * page.scale)
    page.text(page.pad, cut(panel["title"], px, page.inner, True), ink.title, px, bold=True)
    page.y += round(page.step * 1.12)
    if panel["path"] != panel["title"]:
        # The end of a path tells more than its beginning.
        page.text(page.pad, cut_front(panel["path"], page.small_px, page.inner), ink.dim,
                  page.small_px)  # fmt: skip
        page.y += page.step
    page.y += round(5 * page.scale)
    page.table(panel["facts"], lines=2)


def _weight(page: Paper, details: Details, look: FigureLook | None) -> Rect | None:
    weights = details.panel["weights"]
    many = f"{details.weight + 1} of {len(weights)}" if len(weights) > 1 else ""
    if not page.heading("Weights", many):
        return None
    _tabs(page, [w["role"] for w in weights], details.weight)
    figure = draw_figure(page, look) if look is not None else None
    if details.statistics is None:
        _waiting(page, details)
    else:
        _numbers(page, details.statistics)
    return figure


def _numbers(page: Paper, statistics: Mapping[str, Any]) -> None:
    for first, second in weight_facts(statistics):
        if page.room < page.step:
            return
        page.pair(*first, end=0.49 if second else 1.0)
        if second:
            page.pair(*second, begin=0.5)
        page.y += page.step
    draw_histograms(page, statistics)


def _tabs(page: Paper, names: Sequence[str], chosen: int) -> None:
    """The weights of a layer in a row, the chosen one underlined."""
    if page.room < 1.35 * page.step:
        return
    gap, px = round(14 * page.scale), page.text_px
    names = [cut(name, px, page.inner * 0.6) for name in names]
    first = chosen
    used = length(names[chosen], px)
    while first > 0 and used + gap + length(names[first - 1], px) < page.inner * 0.75:
        first -= 1
        used += gap + length(names[first], px)
    x = float(page.pad)
    for i in range(first, len(names)):
        wide = length(names[i], px)
        left = page.pad + page.inner - x
        if wide > left:
            page.text(x, cut(names[i], px, left), page.ink.dim)
            break
        page.text(x, names[i], page.ink.title if i == chosen else page.ink.dim)
        if i == chosen:
            low = page.y + page.step
            page.draw.rectangle((x, low, x + wide, low + max(round(1.6 * page.scale), 1) - 1),
                                (*_ACCENT[page.theme], 255))  # fmt: skip
        x += wide + gap
    page.y += round(page.step * 1.35)


def _waiting(page: Paper, details: Details) -> None:
    """What stands in place of numbers that are not there."""
    text = details.error or ("reading …" if details.reading else "")
    for line in wrap(text, page.text_px, page.inner, 4):
        page.text(page.pad, line, _ACCENT[page.theme])
        page.y += page.step


def _incoming(page: Paper, details: Details) -> None:
    if not page.heading("Strongest incoming weights"):
        return
    if not details.incoming:
        _waiting(page, details)
        if not details.reading and not details.error:
            page.caption("none: no weights lead here")
        return
    highest = max(row["magnitude"] for row in details.incoming)
    step = round(page.step * 1.25)
    for row in details.incoming[: page.room // step]:
        name, value = incoming_text(row)
        page.right(value, page.ink.text)
        taken = length(value, page.text_px) + 10 * page.scale
        page.text(page.pad, cut_front(name, page.text_px, page.inner - taken), page.ink.text)
        share = row["magnitude"] / highest if highest > 0 else 0.0
        low = page.y + round(page.step * 0.95)
        end = page.pad + max(round(page.inner * share) - 1, 0)
        thick = max(round(2 * page.scale), 1) - 1
        page.draw.rectangle((page.pad, low, end, low + thick), (*_BAR[page.theme], 255))
        page.y += step


def _children(page: Paper, children: Sequence[Any], config_rows: int) -> None:
    if not children or not page.heading("Inside", count(len(children))):
        return
    kept = min(config_rows, 4)
    fits = max(page.room // page.step - kept - 2 * (kept > 0), 1)
    shown = children if len(children) <= fits else children[: max(fits - 1, 0)]
    chip = round(9 * page.scale)
    for child in shown:
        top = page.y + round(page.step * 0.26)
        color = family_color(page.theme, child["family"])
        page.draw.rounded_rectangle(
            (page.pad, top, page.pad + chip, top + chip), round(2 * page.scale), (*color, 255)
        )
        value = count(child["parameters"]) if child["parameters"] else ""
        taken = length(value, page.text_px) + chip + 18 * page.scale
        page.text(page.pad + chip + 8 * page.scale,
                  cut(child["title"], page.text_px, page.inner - taken), page.ink.text)  # fmt: skip
        page.right(value, page.ink.dim)
        page.y += page.step
    if len(shown) < len(children):
        page.text(page.pad, f"… {count(len(children) - len(shown))} more", page.ink.dim)
        page.y += page.step


def _config(page: Paper, details: Details) -> None:
    rows = telling_config(details.panel["config"])
    if not rows or not page.heading("Configuration"):
        return
    shown = page.table(rows, lines=1)
    if shown < len(rows):
        page.text(page.pad, f"… {count(len(rows) - shown)} more", page.ink.dim)
