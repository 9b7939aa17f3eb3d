"""Draw lists as the messages that a page draws itself."""

from __future__ import annotations

import asyncio
import json
import math
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import renderer_scenes as scenes
from numpy.typing import NDArray

from explorer.drawing.animation import Blend
from explorer.drawing.draw_list import DrawList, Label
from explorer.errors import NeuronautError
from explorer.renderer import geometry
from explorer.viewing.view_state import Camera, interpolate
from explorer.web import drawn
from explorer.web.feed import Feed

CAMERA = Camera((1.0, 2.0, 30.0), (0.5, 0.0, -1.0), (0.0, 1.0, 0.0), 20.0)
TYPES = {"colors": np.uint8, "flags": np.uint8, "node": np.int32, "row": np.int32}


def read(message: bytes) -> tuple[dict[str, Any], bytes]:
    """The header and what follows it, by the description of the format alone."""
    assert message[:4] == b"NND1"
    (length,) = struct.unpack_from("<I", message, 4)
    assert length % 4 == 0
    return json.loads(message[8 : 8 + length]), message[8 + length :]


def array(group: dict[str, Any], name: str, body: bytes) -> NDArray[Any]:
    start, count = group[name]
    assert start % 4 == 0
    return np.frombuffer(body, TYPES.get(name, np.float32), count, start)


def check(sent: dict[str, Any], body: bytes, wanted: DrawList) -> None:
    for name in ("solids", "frames"):
        boxes = getattr(wanted, name)
        assert sent[name]["count"] == len(boxes.node)
        for part in ("centers", "sizes", "colors", "node"):
            np.testing.assert_array_equal(
                array(sent[name], part, body), getattr(boxes, part).ravel()
            )
    edges, rows = sent["edges"], array(sent["edges"], "row", body)
    assert sorted(rows.tolist()) == list(range(len(wanted.edges.widths)))
    assert (edges["count"], edges["steps"]) == wanted.edges.points.shape[:2]
    classes = np.log((1.0, 1.5, 2.2, 3.2, 4.5))
    nearest = np.abs(np.log(wanted.edges.widths)[:, None] - classes).argmin(axis=1)
    sent_widths = array(edges, "widths", body)
    np.testing.assert_allclose(sent_widths, np.exp(classes)[nearest][rows], rtol=1e-6)
    for part in ("points", "colors"):
        whole = getattr(wanted.edges, part)[rows]
        np.testing.assert_array_equal(array(edges, part, body), whole.ravel())
    assert (sent["selected"], sent["pending"]) == (wanted.selected, wanted.pending)


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_message_holds_the_arrays_and_the_texts(theme: str) -> None:
    wanted = scenes.vgg(theme, edge_count=300)
    dim = replace(wanted.labels[3], faded=True)
    wanted = replace(wanted, labels=(*wanted.labels[:3], dim, *wanted.labels[4:]))
    header, body = read(drawn.pack(7, wanted))
    assert (header["number"], header["cameras"], header["seconds"]) == (7, [], 0.0)
    (sent,) = header["lists"]
    check(sent, body, wanted)
    labels = sent["labels"]
    assert labels["texts"] == [la.text for la in wanted.labels]
    anchors = np.array([la.anchor for la in wanted.labels], np.float32).ravel()
    np.testing.assert_array_equal(array(labels, "anchors", body), anchors)
    flags = array(labels, "flags", body)
    assert [bool(f & 1) for f in flags] == [la.title for la in wanted.labels]
    assert [bool(f & 2) for f in flags] == [la.below for la in wanted.labels]
    assert [bool(f & 4) for f in flags] == [la.faded for la in wanted.labels]
    assert array(labels, "node", body).tolist() == [la.node for la in wanted.labels]
    look = header["look"]
    assert look["theme"] == theme
    np.testing.assert_allclose(look["light"], geometry.FACE_LIGHT, atol=1e-4)


def test_wide_edges_are_drawn_over_narrow_ones_and_else_in_their_order() -> None:
    wanted = scenes.vgg(edge_count=200)
    widths = np.tile(np.array([4.5, 1.0, 2.2, 1.0], np.float32), 50)
    wanted = replace(wanted, edges=replace(wanted.edges, widths=widths))
    header, body = read(drawn.pack(1, wanted))
    rows = array(header["lists"][0]["edges"], "row", body).tolist()
    assert rows == [i for w in (1.0, 2.2, 4.5) for i in range(200) if widths[i] == np.float32(w)]


def test_a_picture_of_nothing() -> None:
    header, body = read(drawn.pack(0, scenes.scene()))
    check(header["lists"][0], body, scenes.scene())
    assert header["lists"][0]["labels"]["texts"] == []


def test_a_move_between_its_keys_is_the_blend() -> None:
    a, b = scenes.vgg(edge_count=120), scenes.units(side=6, edge_count=90)
    blend = Blend(a, b)
    header, body = read(drawn.pack(2, b, drawn.Move(blend.at, None, 0.3)))
    *keys, last = header["lists"]
    check(last, body, b)
    assert [round(k["at"], 5) for k in keys] == [0.0, 0.5, 0.5, 1.0]
    for t in (0.1, 0.3, 0.49, 0.51, 0.8, 0.97):
        first, second = keys[:2] if t < 0.5 else keys[2:]
        share = (t - first["at"]) / (second["at"] - first["at"])
        wanted = blend.at(t)
        for name in ("solids", "frames"):
            for part in ("centers", "sizes", "colors"):
                low, high = (array(k[name], part, body).astype(float) for k in (first, second))
                found = low + (high - low) * share
                off = np.abs(found - getattr(getattr(wanted, name), part).ravel())
                assert off.max() < (1.01 if part == "colors" else 2e-4)
        rows = array(first["edges"], "row", body)
        np.testing.assert_array_equal(rows, array(second["edges"], "row", body))
        low, high = (array(k["edges"], "points", body) for k in (first, second))
        off = np.abs(low + (high - low) * share - wanted.edges.points[rows].ravel())
        assert off.max() < 2e-3


def test_a_flight_passes_the_cameras_between() -> None:
    end = replace(CAMERA, position=(5.0, 5.0, 12.0))
    header, _ = read(
        drawn.pack(3, scenes.vgg(), drawn.Move(None, lambda t: interpolate(CAMERA, end, t), 0.3))
    )
    rows = np.array(header["cameras"])
    assert len(header["lists"]) == 1
    at = np.linspace(0, 1, len(rows))
    for t in (0.0, 0.237, 0.61, 1.0):
        wanted = drawn.camera_row(interpolate(CAMERA, end, t))
        found = [np.interp(t, at, rows[:, i]) for i in range(10)]
        np.testing.assert_allclose(found, wanted, atol=0.01)


def test_a_camera_comes_back_as_it_went() -> None:
    assert drawn.camera_of(drawn.camera_row(CAMERA)) == CAMERA


@pytest.mark.parametrize(
    "row",
    [
        [], [0.0] * 9, [0.0] * 11, [0.0] * 10, ["x"] * 10, [None] * 10, [[1]] * 10,
        [math.nan, *range(9)], [math.inf, *range(9)], [1e300, *range(9)],
        [0, 0, 9, 0, 0, 0, 0, 0, 0, 18], [0, 0, 9, 0, 0, 0, 0, 1, 0, 170],
    ],
)  # fmt: skip
def test_what_is_no_camera_is_refused(row: list[Any]) -> None:
    with pytest.raises(NeuronautError):
        drawn.camera_of(row)


def test_labels_are_bounded() -> None:
    labels = [Label("x" * 5000, (float(i), 0.0, 0.0), float(i), 0) for i in range(700)]
    labels.append(Label("\ud800 <b>\u0007", (0.0, 0.0, 0.0), 1e6, 0))
    header, body = read(drawn.pack(1, replace(scenes.vgg(), labels=tuple(labels))))
    sent = header["lists"][0]["labels"]
    assert sent["count"] == len(sent["texts"]) == drawn.MOST_LABELS
    assert max(map(len, sent["texts"])) <= drawn.LONGEST_LABEL
    assert array(sent, "priorities", body).min() >= 201
    assert "\u0007" not in "".join(sent["texts"])


def test_what_is_too_large_is_refused_and_a_large_move_jumps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = scenes.vgg(), scenes.units()
    monkeypatch.setattr(drawn, "MOST_MOVE_BYTES", 1000)
    header, _ = read(drawn.pack(1, b, drawn.Move(Blend(a, b).at, None, 0.3)))
    assert len(header["lists"]) == 1
    monkeypatch.setattr(drawn, "MOST_BYTES", 1000)
    with pytest.raises(NeuronautError, match="too large"):
        drawn.pack(1, b)


def recolored(before: DrawList) -> DrawList:
    """The same in other colours and widths."""
    edges, turned = before.edges, np.roll(before.edges.widths, 1)
    return replace(
        before,
        edges=replace(edges, colors=255 - edges.colors, widths=turned),
        solids=replace(before.solids, colors=before.solids.colors // 2),
    )


def test_in_other_colours_the_rest_is_not_sent_again() -> None:
    base = scenes.vgg(edge_count=300)
    wanted = recolored(base)
    whole, message = drawn.pack(1, wanted), drawn.pack(2, wanted, base=base)
    assert len(message) < len(whole) / 5
    header, body = read(message)
    (sent,) = header["lists"]
    assert sent["recolors"]
    rows = array(sent["edges"], "row", body)
    np.testing.assert_array_equal(
        array(sent["edges"], "colors", body), wanted.edges.colors[rows].ravel()
    )
    np.testing.assert_array_equal(
        array(sent["solids"], "colors", body), wanted.solids.colors.ravel()
    )
    assert set(sent["edges"]) == {"colors", "widths", "row"}
    (whole_list,) = read(whole)[0]["lists"]
    for name in ("row", "widths"):
        np.testing.assert_array_equal(
            array(sent["edges"], name, body),
            array(whole_list["edges"], name, read(whole)[1]),
        )


def test_what_else_changes_is_sent_whole() -> None:
    base = scenes.vgg(edge_count=30)
    others = [
        replace(base, edges=replace(base.edges, points=base.edges.points + 1)),
        replace(base, labels=base.labels[1:]),
        replace(base, solids=replace(base.solids, sizes=base.solids.sizes * 2)),
    ]
    for other in others:
        header, body = read(drawn.pack(2, other, base=base))
        assert "recolors" not in header["lists"][0]
        check(header["lists"][0], body, other)
    assert read(drawn.pack(2, base, base=base))[0]["lists"] == []


def test_a_page_gets_what_it_lacks_of_what_it_has() -> None:
    async def fetched() -> list[dict[str, Any]]:
        numbers: list[int] = []
        feed = Feed(numbers.append)
        feed.on = True
        first, found = scenes.vgg(edge_count=30), []
        for shown, known in ((first, 0), (recolored(first), 1), (first, 1), (recolored(first), 9)):
            feed.show(shown)
            found.append(read(await feed.message(known))[0])
        return found

    one, two, three, four = asyncio.run(fetched())
    assert [m["number"] for m in (one, two, three, four)] == [1, 2, 3, 4]
    assert "recolors" not in one["lists"][0]
    assert two["lists"][0]["recolors"]
    assert three["lists"] == []  # it has not got the second: what it has is right again
    assert "recolors" not in four["lists"][0]  # who knows what that one has
