"""Measures one connection, to be killed: ``runs_worker.py MODEL``. Prints each band it has read.

Run by test_runs.py, which sets the cache folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from store_helpers import PLAN, network
from test_pyramid import ArrayReader, clear_plans, weight

from explorer.network import Layer
from explorer.pyramid import gathering, grid, measuring
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.storage.journal import Journal
from explorer.weights.connections import Connection, connections_of

SHAPE = (1500, 200)
PERIOD = 100  # rows are those of flattened channels: measured twice, as two parts
IN_A_RUN = 3  # bands


def cut_small() -> None:
    """Have few rows in a band, and few bands in a run."""
    grid._BAND_BYTES = 1
    grid._COLUMN_BYTES = 1
    grid._LINE_SHARE = 1e9
    gathering.RUN_BYTES = IN_A_RUN * 64 * SHAPE[1] * 4
    gathering._COLUMN_BYTES = 0
    clear_plans()


def made() -> tuple[Connection, ArrayReader]:
    """A connection and a reader of its weights, some of which are not finite."""
    array = np.random.default_rng(8).normal(size=SHAPE).astype(np.float32)
    array[700, 20], array[1203, 7] = np.nan, np.inf
    (connection,) = connections_of(Layer("d", "Dense", weights=(weight("w", "kernel", array),)))
    return connection, ArrayReader({"w": array})


def main(model: Path) -> None:
    connection, reader = made()
    pyramid = Pyramid(reader, period=lambda _: PERIOD)
    read, bands = measuring.measured, {}
    for at, task in enumerate(pyramid.plan(connection).tasks):
        bands[task.part, task.band] = at

    def told(pieces, level0):
        found = read(pieces, level0)
        ((part, band),) = pieces
        number = pyramid.plan(connection).parts.index(part)
        os.write(1, b"%d\n" % bands[number, band])
        return found

    measuring.measured = told
    with Journal.open(network(model), PLAN) as journal:
        assert not journal.reason, journal.reason
        pyramid.attach(journal, journal.append, journal)
        assert pyramid.build(connection)


if __name__ == "__main__":
    cut_small()
    main(Path(sys.argv[1]))
