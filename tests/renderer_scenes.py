"""Synthetic draw lists for the tests of what draws them: a VGG-like strip and grids of units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from explorer.drawing.draw_list import BoxArrays, DrawList, EdgeArrays, Label, Legend
from explorer.viewing.view_state import Camera, frame

INFERNO = np.array(
    [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21],
     [250, 193, 39], [252, 255, 164]], np.uint8,
)  # fmt: skip
CONV, DENSE, POOL, INPUT = (79, 142, 247), (240, 163, 62), (47, 184, 166), (138, 160, 184)
FRAME = (150, 170, 205, 150)


def ramp_color(value: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    """RGBA along the ramp for values in 0..1."""
    at = np.linspace(0, 1, len(INFERNO))
    rgb = np.stack([np.interp(value, at, INFERNO[:, c]) for c in range(3)], 1)
    return np.column_stack([rgb, alpha * 255]).astype(np.uint8)


def boxes(rows: list[tuple]) -> BoxArrays:
    """Rows of (centre, size, rgba, node)."""
    return BoxArrays(
        np.array([r[0] for r in rows], np.float32).reshape(-1, 3),
        np.array([r[1] for r in rows], np.float32).reshape(-1, 3),
        np.array([r[2] for r in rows], np.uint8).reshape(-1, 4),
        np.array([r[3] for r in rows], np.int32),
    )


def curves(a: NDArray[np.float64], b: NDArray[np.float64], points: int = 16) -> NDArray[np.float32]:
    """Smooth curves that leave and arrive along x: shape (m, points, 3)."""
    t = np.linspace(0, 1, points)[None, :, None]
    reach = (b[:, 0] - a[:, 0]) * 0.45
    out, back = a.copy(), b.copy()
    out[:, 0] += reach
    back[:, 0] -= reach
    a, b, out, back = (p[:, None] for p in (a, b, out, back))
    curve = (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * out + 3 * (1 - t) * t**2 * back + t**3 * b
    return curve.astype(np.float32)


def edge_arrays(points: NDArray[np.float32], rng: np.random.Generator,
                source: NDArray[np.int32], target: NDArray[np.int32]) -> EdgeArrays:  # fmt: skip
    """Edges of random strength, weakest first, as an overlay would colour them."""
    count = len(points)
    strength = np.sort(rng.beta(1.3, 4.0, count))
    colors = ramp_color(0.15 + 0.85 * strength, 0.10 + 0.85 * strength**0.9)
    widths = (1.0 + 3.0 * strength**3).astype(np.float32)
    return EdgeArrays(
        points,
        colors,
        widths,
        source,
        target,
        strength,
        strength,
        np.full(count, 9, np.int64),
        np.zeros(count, bool),
        np.zeros((count, 3), np.int64),
    )


def legend(shown: int, total: int) -> Legend:
    """A legend such as an overlay gives."""
    ramp = ramp_color(np.linspace(0, 1, 64), np.ones(64))[:, :3]
    return Legend(
        "|weight|, RMS", ramp, ((0.0, "0"), (0.5, "0.021"), (1.0, "0.043")),
        (("Conv2D", CONV), ("MaxPooling2D", POOL), ("Dense", DENSE), ("Input", INPUT)),
        (f"{shown} of {total} connections, 38 % of Σw²", "box face: √(output size)"),
    )  # fmt: skip


def vgg(theme: str = "dark", edge_count: int = 1500, seed: int = 0) -> DrawList:
    """Twenty slabs, most of them in five frames."""
    rng = np.random.default_rng(seed)
    solids, frames, labels, nodes = [], [], [], []
    x = 0.0

    def add(path: str) -> int:
        nodes.append(path)
        return len(nodes) - 1

    def slab(path: str, side: float, thick: float, color: tuple[int, int, int]) -> None:
        nonlocal x
        node = add(path)
        solids.append(((x + thick / 2, 0, 0), (thick, side, side), (*color, 255), node))
        anchor = (x + thick / 2, -side / 2, side / 2)
        labels.append(Label(path.split("/")[-1], anchor, 1 + side / 10, node, below=True))
        x += thick + 0.9

    slab("input", 5.0, 0.15, INPUT)
    for block, (convs, side) in enumerate([(2, 5.0), (2, 4.0), (3, 3.2), (3, 2.4), (3, 1.7)], 1):
        start, node = x, add(f"block{block}")
        x += 0.5
        for i in range(convs):
            slab(f"block{block}/conv{block}_{i + 1}", side, 0.25 + 0.1 * block, CONV)
        slab(f"block{block}/pool{block}", side * 0.8, 0.3, POOL)
        end = x - 0.4
        frames.append(
            (((start + end) / 2, 0.2, 0), (end - start, side + 1.6, side + 1.0), FRAME, node)
        )
        labels.append(Label(f"block {block}", ((start + end) / 2, side / 2 + 1.0, side / 2 + 0.5),
                            20 - block, node, title=True))  # fmt: skip
        x += 0.6
    for name in ("fc1", "fc2", "predictions"):
        slab(name, 2.4, 0.5, DENSE)
    box = boxes(solids)
    rows = rng.integers(0, len(box.node) - 1, edge_count)
    spread = rng.uniform(-0.42, 0.42, (edge_count, 2, 2))
    a, b = box.centers[rows].astype(float), box.centers[rows + 1].astype(float)
    a[:, 0] += box.sizes[rows, 0] / 2
    b[:, 0] -= box.sizes[rows + 1, 0] / 2
    a[:, 1:] += spread[:, 0] * box.sizes[rows, 1:]
    b[:, 1:] += spread[:, 1] * box.sizes[rows + 1, 1:]
    edges = edge_arrays(curves(a, b), rng, box.node[rows], box.node[rows + 1])
    return DrawList(box, boxes(frames), edges, tuple(labels), legend(edge_count, 262144),
                    tuple(nodes), int(box.node[8]), theme)  # fmt: skip


def units(theme: str = "dark", side: int = 16, edge_count: int = 3000, seed: int = 0) -> DrawList:
    """Two grids of units facing each other."""
    rng = np.random.default_rng(seed)
    nodes, solids, frames, labels = [], [], [], []
    pitch = 8.0 / side
    for layer, (x, color) in enumerate([(0.0, CONV), (6.0, DENSE)]):
        nodes.append(f"layer{layer}")
        first = len(nodes)
        frames.append(((x, 0.3, 0), (1.2, 9.6, 9.0), FRAME, first - 1))
        labels.append(
            Label(f"layer {layer} · {side * side} units", (x, 5.1, 4.5), 10, first - 1, True)
        )
        for row in range(side):
            for col in range(side):
                nodes.append(f"layer{layer}/{row * side + col}")
                at = (x, 4 - pitch / 2 - row * pitch, -4 + pitch / 2 + col * pitch)
                shade = tuple(int(c * rng.uniform(0.45, 1.0)) for c in color)
                solids.append((at, (pitch * 0.7,) * 3, (*shade, 255), len(nodes) - 1))
        labels += [
            Label(f"unit {i}", solids[-side * side + i][0], 1, first + i)
            for i in (0, side * side - 1)
        ]
    box = boxes(solids)
    count = side * side
    s, t = rng.integers(0, count, edge_count), count + rng.integers(0, count, edge_count)
    a, b = box.centers[s].astype(float), box.centers[t].astype(float)
    a[:, 0] += pitch * 0.35
    b[:, 0] -= pitch * 0.35
    edges = edge_arrays(curves(a, b), rng, box.node[s], box.node[t])
    return DrawList(box, boxes(frames), edges, tuple(labels), legend(edge_count, count * count),
                    tuple(nodes), int(box.node[5]), theme)  # fmt: skip


EMPTY_LEGEND = Legend("", np.zeros((0, 3), np.uint8), (), (), ())


def no_edges() -> EdgeArrays:
    none = np.zeros(0)
    return EdgeArrays(
        np.zeros((0, 2, 3), np.float32), np.zeros((0, 4), np.uint8), none.astype(np.float32),
        none.astype(np.int32), none.astype(np.int32), none, none, none.astype(np.int64),
        none.astype(bool), np.zeros((0, 3), np.int64),
    )  # fmt: skip


def line(a, b, color=(255, 255, 255, 255), width=1.5) -> EdgeArrays:
    return EdgeArrays(
        np.array([[a, b]], np.float32), np.array([color], np.uint8), np.array([width], np.float32),
        np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1), np.ones(1), np.ones(1, np.int64),
        np.zeros(1, bool), np.zeros((1, 3), np.int64),
    )  # fmt: skip


def scene(solids=(), frames=(), edges=None, labels=(), **rest) -> DrawList:
    return DrawList(
        boxes(list(solids)), boxes(list(frames)), edges if edges is not None else no_edges(),
        tuple(labels), rest.pop("legend", EMPTY_LEGEND), tuple("abcdef"), **rest,
    )  # fmt: skip


def cube(center=(0, 0, 0), color=(200, 40, 90), node=0, side=1.0):
    return (center, (side,) * 3, (*color, 255), node)


def whole(draw_list: DrawList, size) -> Camera:
    both = (draw_list.solids, draw_list.frames)
    centers, sizes = (np.concatenate([getattr(b, k) for b in both]) for k in ("centers", "sizes"))
    return frame(centers, sizes, size[0] / size[1])
