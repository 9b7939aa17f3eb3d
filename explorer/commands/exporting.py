"""The command that writes weights as numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from explorer.commands.app import Model, app
from explorer.commands.opening import file_reading
from explorer.errors import NeuronautError


@app.command()
def weights(
    model: Model,
    node: Annotated[str, typer.Option(help="a layer, or some of its units")],
    output: Annotated[Path, typer.Option("-o", "--output", help=".npy or .csv file to write")],
    weight: Annotated[
        str | None, typer.Option(help="its name or role, such as bias; else the first")
    ] = None,
    rows: Annotated[
        str | None, typer.Option(metavar="A:B", help="out units A to B - 1; all if not given")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="C:D", help="in units C to D - 1; all if not given")
    ] = None,
) -> None:
    """Write a layer's weights, every one exact, out units × in units.

    Kernels of a convolution have a third axis, the taps. Pairs of units that no weight joins are
    NaN. A file of the same name is replaced, in one step.
    """
    if output.suffix.lower() not in (".npy", ".csv"):
        raise NeuronautError(f"{output}: numbers are written as .npy or .csv")
    if not output.parent.is_dir():
        raise NeuronautError(f"{output}: the folder {output.parent} does not exist")
    part = _part(rows, "--rows"), _part(columns, "--columns")
    with file_reading(model) as (reading, _):
        from explorer.open_model import OpenModel
        from explorer.panel.export import save_table, weight_table

        with OpenModel.open(reading) as opened:
            table = weight_table(opened, node, weight, *part)
            save_table(table, output)
    print(f"{output}: {' × '.join(map(str, table.shape))} {table.dtype}")


def _part(text: str | None, option: str) -> slice:
    """Units written ``A:B``, either end left out for all."""
    match = re.fullmatch(r"(\d{0,12}):(\d{0,12})", text or ":")
    if match is None:
        raise NeuronautError(f"{option} {str(text)[:40]!r} is not A:B, two whole numbers")
    first, stop = (int(end) if end else None for end in match.groups())
    return slice(first, stop)
