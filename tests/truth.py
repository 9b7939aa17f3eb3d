"""What the suite of truth compares: matrices as `edges` tells them, and as real layers answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from explorer.open_model import OpenModel
from explorer.report import edges_json

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Matrix:
    """Mean and root mean square of the weights of each pair of units, and how many they are."""

    mean: Array
    rms: Array
    weights: Array

    @property
    def columns(self) -> int:
        """In units."""
        return self.mean.shape[1]

    def at(self, columns: slice) -> Matrix:
        """The part of some of the in units."""
        return Matrix(self.mean[:, columns], self.rms[:, columns], self.weights[:, columns])


def plain(kernel: object) -> Matrix:
    """Of one weight for each pair, shape (out, in)."""
    values = np.asarray(kernel, np.float64)
    return Matrix(values, np.abs(values), (values != 0).astype(float))


def stacked(taps: Array) -> Matrix:
    """Of several weights for each pair, shape (taps, out, in); zeros where a pair has none."""
    joined = np.abs(taps).sum(0) > 0
    count = len(taps) * joined
    return Matrix(taps.mean(0), np.sqrt(np.square(taps).mean(0)), count.astype(float))


def convolved(answer: Callable[[Array], Array], channels: int, size: Sequence[int]) -> Matrix:
    """Of a real convolution, by its answers to one-hots.

    Parameters
    ----------
    answer : callable
        Images (n, height, width, channels) to (n, height, width, out) by the real layer.
    channels : int
    size : (height, width) of its window.
    """
    high, wide = (2 * n - 1 for n in size)
    images = np.zeros((channels, high, wide, channels), np.float32)
    images[np.arange(channels), high // 2, wide // 2, np.arange(channels)] = 1
    still = answer(np.zeros_like(images[:1]))
    moved = np.asarray(answer(images) - still, np.float64)
    # In the middle every tap is seen once; all else that answers is padding.
    every = moved.reshape(channels, -1, moved.shape[-1]).transpose(1, 2, 0)
    total, squares = every.sum(0), np.square(every).sum(0)
    taps = int(np.prod(size))
    joined = (squares > 0) * float(taps)
    return Matrix(total / taps, np.sqrt(squares / taps), joined)


def multiplied(answer: Callable[[Array], Array], width: int) -> Matrix:
    """Of a real linear layer, by its answers to one-hots (n, width)."""
    still = answer(np.zeros((1, width), np.float32))
    moved = np.asarray(answer(np.eye(width, dtype=np.float32)) - still, np.float64)
    return plain(moved.reshape(width, -1).T)


def grouped(matrix: Matrix, groups: int) -> Matrix:
    """Of each out unit the in units of its own group alone, counted from 0."""

    def own(whole: Array) -> Array:
        rows = np.split(whole, groups)
        return np.concatenate([np.split(part, groups, 1)[g] for g, part in enumerate(rows)])

    return Matrix(own(matrix.mean), own(matrix.rms), own(matrix.weights))


def told(model: OpenModel, source: str, target: str, shape: tuple[int, int]) -> Matrix:
    """What `edges` lists from one node to another; the first of a range of units counts as 0."""
    found = edges_json(model, source, target, 100_000)
    mean, rms, weights = np.zeros((3, *shape))
    ends = [[e[f"{side}_unit"] for e in found["edges"]] for side in ("to", "from")]
    row, column = (min(units) if units and "[" in name else 0
                   for units, name in zip(ends, (target, source), strict=True))  # fmt: skip
    for edge in found["edges"]:
        at = edge["to_unit"] - row, edge["from_unit"] - column
        mean[at], rms[at], weights[at] = edge["signed_mean"], edge["magnitude"], edge["weights"]
    assert found["total_connections"] == np.count_nonzero(weights)
    assert found["total_weights"] == weights.sum()
    return Matrix(mean, rms, weights)


def held(model: OpenModel, path: str, name: str = "") -> Matrix:
    """What a layer's connection holds, gate cells one by one, whatever it is linked to."""
    (connection,) = (c for c in model.wires.connections(path)
                     if name in ("", c.name) and (name or c.input >= 0))  # fmt: skip
    size = connection.out_units, connection.in_units
    labels = (np.arange(n, dtype=np.int32) for n in size)
    sums = model.pyramid.stats(connection, *labels, *size)
    count = np.maximum(sums.count, 1)
    return Matrix(sums.sum / count, np.sqrt(sums.sum_sq / count), sums.count.astype(float))


def close(found: Matrix, expected: Matrix, what: object, step: float = 0.0) -> None:
    """Whether the same units are joined by as many weights of the same numbers."""
    assert found.mean.shape == expected.mean.shape, what
    rtol = 2e-5 if not step else 0.0
    for got, want in ((found.rms, expected.rms), (found.mean, expected.mean)):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=max(step, 2e-6), err_msg=str(what))
    if not step:
        np.testing.assert_array_equal(found.weights, expected.weights, err_msg=str(what))


def gates_of(model: OpenModel, path: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Matrices of what comes in and of the state, by the names that the gates are given."""
    blocks = model.units_of(model.graph.layer_by_path[path]).blocks
    assert len(blocks) in (3, 4), path
    kernel, again = (
        dict(zip(blocks, np.split(held(model, path, name).mean, len(blocks)), strict=True))
        for name in ("kernel", "recurrent_kernel")
    )
    return kernel, again


def same_as_onnx(model: OpenModel) -> None:
    """Whether every tensor of an ONNX file reads back as its package has it, and none is lost."""
    made = onnx.load(model.network.opened)
    arrays = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    read = set()
    for weight in {w.name: w for la in model.network.layers for w in la.weights}.values():
        name, bracket, part = weight.name.partition("[")
        if name not in arrays:
            continue  # of a Constant node
        array = arrays[name][int(part[:-1])] if bracket else arrays[name]
        np.testing.assert_array_equal(model.reader.read(weight).ravel(), array.ravel(), name)
        read.add(name)
    large = {n for n, a in arrays.items() if a.dtype.kind == "f" and a.size > 1}
    assert large <= read


def contracted(links: Iterable[tuple[str, str]], label: Callable[[str], str]
               ) -> set[tuple[str, str]]:  # fmt: skip
    """Links between the things that nodes are parts of; nodes of none are walked through."""
    after: dict[str, set[str]] = {}
    for source, target in links:
        after.setdefault(source, set()).add(target)
    found = set()
    for start in after:
        waiting, seen = list(after[start]), set[str]()
        while label(start) and waiting:
            node = waiting.pop()
            if label(node):
                found.add((label(start), label(node)))
            elif node not in seen:
                seen.add(node)
                waiting += after.get(node, ())
    return {(a, b) for a, b in found if a != b}


# -- what layers compute with these matrices -------------------------------------------------------


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm(inputs: Array, kernel: dict[str, Array], again: dict[str, Array]) -> Array:
    """States of an LSTM without biases, (time, in) to (time, units), by matrices (out, in)."""
    h = c = np.zeros(len(again["cell"]))
    states = []
    for x in inputs:
        gate = {name: kernel[name] @ x + again[name] @ h for name in kernel}
        kept = _sigmoid(gate["forget gate"]) * c
        c = kept + _sigmoid(gate["input gate"]) * np.tanh(gate["cell"])
        h = _sigmoid(gate["output gate"]) * np.tanh(c)
        states.append(h)
    return np.stack(states)


def gru(
    inputs: Array, kernel: dict[str, Array], again: dict[str, Array], reset_before: bool = False
) -> Array:
    """States of a GRU without biases, whose reset gate acts behind the product or before it."""
    h = np.zeros(len(again["candidate"]))
    states = []
    for x in inputs:
        update = _sigmoid(kernel["update gate"] @ x + again["update gate"] @ h)
        reset = _sigmoid(kernel["reset gate"] @ x + again["reset gate"] @ h)
        past = (
            again["candidate"] @ (reset * h) if reset_before else reset * (again["candidate"] @ h)
        )
        h = update * h + (1 - update) * np.tanh(kernel["candidate"] @ x + past)
        states.append(h)
    return np.stack(states)


GATES = {
    lstm: ("input gate", "forget gate", "cell", "output gate"),
    gru: ("update gate", "reset gate", "candidate"),
}


def attend(x: Array, parts: dict[str, Array], heads: int) -> Array:
    """Attention of a sequence (time, in) to itself without biases, by matrices (out, in).

    Units of query, key and value are heads × components; fewer heads of keys serve several.
    """
    q, k, v = (
        (x @ parts[n].T).reshape(len(x), -1, parts["query"].shape[0] // heads if n != "value"
                                 else -1)
        if n != "value" else x @ parts[n].T
        for n in ("query", "key", "value")
    )  # fmt: skip
    v = v.reshape(len(x), k.shape[1], -1)
    k, v = (np.repeat(t, heads // t.shape[1], axis=1) for t in (k, v))
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    mixed: Array = np.einsum("hts,shd->thd", share, v).reshape(len(x), -1)
    return mixed @ parts["output"].T
