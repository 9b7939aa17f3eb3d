"""The command line's application, and the arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    name="neuronaut",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A 3D interactive explorer for large neural networks.",
)

Model = Annotated[str, typer.Argument(metavar="MODEL|SCENE", help="a model file or a saved scene")]
Port = Annotated[int, typer.Option(help="port of the page; 0 takes a free one", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="address to listen on")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="do not open a browser")]
Size = Annotated[str, typer.Option(help="width x height of the picture in pixels")]
LayoutName = Annotated[str | None, typer.Option("--layout", help="name of a layout")]
OverlayName = Annotated[str | None, typer.Option("--overlay", help="name of an overlay")]
Threshold = Annotated[
    float | None,
    typer.Option("--threshold", help="up to which |w| the overlay sparsity counts a weight"),
]
UnitsName = Annotated[
    str | None, typer.Option("--units", help="name of an overlay of units, or kind")
]
ThemeName = Annotated[str | None, typer.Option("--theme", help="dark or light")]
ScaleName = Annotated[
    str | None, typer.Option("--scale", help="of the colours: automatic, linear, log or rank")
]
ColorRange = Annotated[
    str | None,
    typer.Option("--range", metavar="LOW:HIGH", help="magnitudes at the ends of the colour scale"),
]
Open = Annotated[list[str] | None, typer.Option("--open", help="a node to open; repeatable")]
Depth = Annotated[
    int | None, typer.Option("--depth", help="open all groups to this depth; 0 closes all", min=0)
]
OpenAll = Annotated[
    list[str] | None, typer.Option("--open-all", help="a kind to open everywhere; repeatable")
]
Newer = Annotated[
    str | None,
    typer.Option("--compare", metavar="NEWER", help="show what changed from MODEL to this file"),
]
FocusOn = Annotated[str | None, typer.Option("--focus", help="the node that does not fade")]
