"""Commands that show a network: window, page, picture, film."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from explorer.commands.app import (
    ColorRange,
    Depth,
    FocusOn,
    Host,
    LayoutName,
    Model,
    Newer,
    NoBrowser,
    Open,
    OpenAll,
    OverlayName,
    Port,
    ScaleName,
    Size,
    ThemeName,
    Threshold,
    UnitsName,
    app,
)
from explorer.commands.opening import model_opening, open_session
from explorer.commands.output import (
    check_picture,
    color_range,
    picture_size,
    progress_bar,
    save_and_close,
)

if TYPE_CHECKING:
    from explorer.session.opening import Opening
    from explorer.session.session import Session


@app.command("open")
def open_(model: Model, size: Size = "1600x900", newer: Newer = None) -> None:
    """Show a network in a local window."""
    from explorer.desktop import desktop

    width, height = picture_size(size)
    session = open_session(model, width / height, newer=newer)
    try:
        desktop.run(session, (width, height))
    finally:
        session.close_session()
        session.model.close()


@app.command()
def serve(
    model: Model,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    no_browser: NoBrowser = False,
    newer: Newer = None,
) -> None:
    """Show a network in the browser; prints one line with the URL, its key included."""
    with model_opening(model, newer) as (opened, state):
        from explorer import web

        web.serve(opened, state, host=host, port=port, open_browser=not no_browser)


@app.command()
def demo(port: Port = 8080, host: Host = "127.0.0.1", no_browser: NoBrowser = False) -> None:
    """Show the bundled scene in the browser."""
    from explorer.bundled import scene_path

    serve(str(scene_path()), port, host, no_browser)


@app.command()
def shot(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write")],
    opened: Open = None,
    depth: Depth = None,
    open_all: OpenAll = None,
    focus: FocusOn = None,
    size: Size = "1600x900",
    layout: LayoutName = None,
    overlay: OverlayName = None,
    threshold: Threshold = None,
    units: UnitsName = None,
    theme: ThemeName = None,
    scale: ScaleName = None,
    ends: ColorRange = None,
    newer: Newer = None,
) -> None:
    """Write a picture of a network."""

    def change(session: Session) -> None:
        if theme is not None:
            session.set_theme(theme)
        if layout is not None:
            session.set_layout(layout)
        if overlay is not None:
            session.set_overlay(overlay)
        if scale is not None:
            session.set_scale(scale)
        if bounds is not None:
            session.set_range(bounds)
        if threshold is not None:
            session.set_threshold(threshold)
        if units is not None:
            session.set_units(units)
        if depth is not None:
            _tell_unless_all(session.open_to(depth))
        for kind in open_all or ():
            _tell_unless_all(session.open_all(kind))
        for node in opened or ():
            session.open(node)
        if focus is not None:
            session.set_focus(focus)

    check_picture(output)
    width, height = picture_size(size)
    bounds = None if ends is None else color_range(ends)
    session = open_session(model, width / height, change, newer)
    try:
        save_and_close(session, output, (width, height))
    finally:
        session.model.close()


def _tell_unless_all(opening: Opening) -> None:
    if opening.done < opening.wanted:
        print(f"neuronaut: {opening.message}", file=sys.stderr)


@app.command()
def film(
    tour: Annotated[Path, typer.Argument(metavar="TOUR.toml", help="the tour to film")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".mp4, .webm, .gif or a folder of pictures")
    ],
) -> None:
    """Film a scripted camera flight."""
    from explorer.films import film as filming

    with progress_bar("filming") as progress:
        filming.film(tour, output, progress)
