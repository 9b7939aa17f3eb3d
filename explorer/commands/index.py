"""The command that measures a model ahead of time."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from explorer.commands.app import app
from explorer.commands.opening import load
from explorer.errors import NeuronautError


@app.command()
def index(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL|SCENE]")] = None,
    list_: Annotated[bool, typer.Option("--list", help="tell what is stored")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="remove what is stored")] = False,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="measure on a running dask cluster that you trust; the address of its scheduler",
        ),
    ] = None,
) -> None:
    """Measure all weights ahead of time, so that every magnitude is there when a model is opened.

    What was measured lies in the user's cache folder. --list and --clear are about all models, or
    about one, or about those in one folder.
    """
    from explorer import indexing

    if list_ and clear:
        raise NeuronautError("index takes --list or --clear, not both")
    if dask is not None and (list_ or clear):
        raise NeuronautError("--dask measures a model; it goes with neither --list nor --clear")
    path = None if model is None else load(model)[0]
    if list_:
        print(indexing.stored_text(path))
    elif clear:
        print(indexing.cleared_text(path))
    elif path is None:
        raise NeuronautError("index needs a MODEL, --list or --clear (see neuronaut index --help)")
    elif not indexing.index(path, dask):
        sys.exit(130)
