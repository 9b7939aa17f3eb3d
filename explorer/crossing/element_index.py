"""Where in the file the weights of an edge between two units lie: names and indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.network import Weight
from explorer.open_model import OpenModel
from explorer.weights.connections import Connection, Matrix

I8 = NDArray[np.int64]


def elements(
    model: OpenModel, source: tuple[str, int], target: tuple[str, int]
) -> list[tuple[Weight, I8]]:
    """The weights that join two units, through whatever weightless layers lie between.

    Parameters
    ----------
    model : OpenModel
    source, target : (str, int)
        Path of a layer and number of its unit, as drawn.

    Returns
    -------
    list of (Weight, int64 array)
        Positions in the flat weight, ascending; empty where nothing joins them.
    """
    layer, unit = target
    home, drawn = source
    units = model.wires.units(home)
    channel = drawn % units.channels if units.blocks else drawn
    found: list[tuple[Weight, I8]] = []
    for connection in model.wires.connections(layer):
        for entry in model.wires.trace(layer, connection, lambda p: p == home):
            if entry.source == home:
                inside = np.flatnonzero(entry.in_map.indices() == channel)
                found += joined_elements(connection, unit, inside)
    return found


def joined_elements(connection: Connection, out: int, inside: I8) -> list[tuple[Weight, I8]]:
    """Positions in the weights of a connection of what joins an out unit to some in units."""
    parts: dict[str, tuple[Weight, list[I8]]] = {}
    for matrix in connection.matrices:
        places = _places(matrix, out, inside)
        if len(places):
            parts.setdefault(matrix.weight.name, (matrix.weight, []))[1].append(places)
    return [(weight, np.sort(np.concatenate(p))) for weight, p in parts.values()]


def _places(matrix: Matrix, out: int, inside: I8) -> I8:
    """Positions in the flat weight of all taps between an out unit and some in units."""
    m = matrix
    if m.diagonal:
        rows = np.array([(out - m.out_start) // m.minor], np.int64)
        columns = np.array([(out - m.out_start) % m.minor], np.int64)
        if not 0 <= rows[0] < m.major or m.in_start + rows[0] not in inside:
            return np.empty(0, np.int64)
    else:
        count_out, count_in = (m.major, m.minor) if m.transposed else (m.minor, m.major)
        outs = _numbers(np.array([out]), m.out_start, m.out_step, count_out)
        ins = _numbers(inside, m.in_start, m.in_step, count_in)
        rows, columns = (outs, ins) if m.transposed else (ins, outs)
    taps = np.arange(m.taps) * m.tap_stride
    at = m.offset + taps[:, None, None] + rows[:, None] * m.major_stride + columns * m.minor_stride
    return np.asarray(at, np.int64).ravel()


def _numbers(units: I8, start: int, step: int, count: int) -> I8:
    number, rest = np.divmod(np.asarray(units, np.int64) - start, step)
    return np.asarray(number[(rest == 0) & (number >= 0) & (number < count)])


def index_text(weight: Weight, places: I8) -> str:
    """Positions in a weight as people write them: ``kernel[:, :, 3, 5]``.

    An axis that is taken whole is ``:``, a run is ``a:b``, anything else ``a…b``.
    """
    axes = []
    for axis, length in zip(np.unravel_index(places, weight.shape), weight.shape, strict=True):
        values = np.unique(axis)
        low, high = int(values[0]), int(values[-1])
        if len(values) == 1:
            axes.append(str(low))
        elif len(values) == length:
            axes.append(":")
        else:
            run = len(values) == high - low + 1
            axes.append(f"{low}:{high + 1}" if run else f"{low}…{high}")
    return f"{weight.role}[{', '.join(axes)}]"
