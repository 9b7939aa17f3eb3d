"""Commands that tell about a network: what is in it, its strongest connections, its changes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.app import Model, app
from explorer.commands.opening import file_reading, model_opening
from explorer.commands.output import (
    PATIENCE,
    check_picture,
    plain_json,
    save_and_close,
)
from explorer.errors import NeuronautError
from explorer.progress import bytes_bar, say


@app.command()
def info(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """List layers, links and weights without reading a weight's bytes."""
    with file_reading(model) as (reading, _):
        from explorer.report import network_json, network_text

        network = reading.network()
    print(plain_json(network_json(network)) if as_json else network_text(network))


@app.command()
def edges(
    model: Model,
    from_node: Annotated[str, typer.Option("--from", help="node whose units send")],
    to_node: Annotated[str, typer.Option("--to", help="node whose units receive")],
    top: Annotated[
        int | None,
        typer.Option(help="how many; 20 if not given", min=0, max=10_000_000),
    ] = None,
    share: Annotated[
        float | None, typer.Option(help="list the fewest that hold this share of Σw², 0 to 1")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """List the strongest connections between two nodes, exactly."""
    if top is not None and share is not None:
        raise NeuronautError("edges takes --top or --share, not both")
    with file_reading(model) as (reading, _):
        from explorer.open_model import OpenModel
        from explorer.report import edges_json, edges_text

        with OpenModel.open(reading) as opened, bytes_bar("measuring weights", PATIENCE) as told:
            top = 20 if top is None else top
            found = edges_json(opened, from_node, to_node, top, share, told)
            reason = opened.keeper.reason if opened.pyramid.built_since(0) else ""
    if reason:
        say(reason)
    print(plain_json(found) if as_json else edges_text(found))


@app.command()
def compare(
    older: Annotated[str, typer.Argument(metavar="OLDER", help="a model file")],
    newer: Annotated[str, typer.Argument(metavar="NEWER", help="one of the same architecture")],
    top: Annotated[int, typer.Option(help="how many layers", min=0, max=10_000_000)] = 20,
    by: Annotated[str, typer.Option("--by", help="change or relative")] = "change",
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PNG file to write as well")
    ] = None,
) -> None:
    """List the layers that changed most from one file to another of the same architecture."""
    from explorer.change_report import changes_json, changes_text, order_of
    from explorer.session.session import Session

    order_of(by)
    if output is not None:
        check_picture(output)
    with model_opening(older, newer) as (opening, _), opening() as opened:
        assert opened.comparison is not None
        with bytes_bar("comparing weights", PATIENCE) as told:
            changes = opened.comparison.changes.measure_all(told)
        if opened.comparison.changes.reason:
            say(opened.comparison.changes.reason)
        found = changes_json(opened.comparison, changes, top, by)
        if output is not None:
            save_and_close(Session(opened), output, (1600, 900))
    print(plain_json(found) if as_json else changes_text(found))
