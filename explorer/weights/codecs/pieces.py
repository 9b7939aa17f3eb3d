"""Runs of elements cut at the ends of lines, so that each piece is a rectangle of lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a read that is a rectangle: some columns of lines at even distances.

    Attributes
    ----------
    at : int
        Where it begins in what is read, flat; it fills ``lines * columns`` elements there.
    line, lines, step : int
        First line, how many, and from one to the next.
    column, columns : int
        First column, and how many.
    """

    at: int
    line: int
    lines: int
    step: int
    column: int
    columns: int


def pieces(first: int, rows: int, stride: int, width: int, length: int) -> Iterator[Piece]:
    """Rectangles that together are `rows` runs of `width` elements, `stride` apart.

    Parameters
    ----------
    first, rows, stride, width : int
        As for `explorer.weights.weight_reader.WeightReader.read_rows`.
    length : int
        Elements per line.

    Yields
    ------
    Piece
        In the order of what is read, without a gap.
    """
    if stride == width:
        first, rows, stride, width = first, 1, 0, rows * width
    line, column = divmod(first, length)
    if column + width <= length and (rows == 1 or stride % length == 0):
        yield Piece(0, line, rows, stride // length if rows > 1 else 1, column, width)
        return
    for row in range(rows):
        yield from _run(row * width, first + row * stride, width, length)


def _run(at: int, first: int, width: int, length: int) -> Iterator[Piece]:
    """One run: the rest of a line, whole lines, the beginning of a line."""
    line, column = divmod(first, length)
    if column:
        head = min(width, length - column)
        yield Piece(at, line, 1, 1, column, head)
        at, line, width = at + head, line + 1, width - head
    if width >= length:
        lines = width // length
        yield Piece(at, line, lines, 1, 0, length)
        at, line, width = at + lines * length, line + lines, width - lines * length
    if width:
        yield Piece(at, line, 1, 1, 0, width)
