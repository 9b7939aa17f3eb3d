"""A painter that has practised draws what a new one draws."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from explorer.errors import NeuronautError
from explorer.network import Layer, Link, Network
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.web.painter import Painter
from explorer.web.rehearsal import practised

SIZE = (320, 200)


def test_practice_leaves_no_trace_in_a_picture() -> None:
    layers = tuple(Layer(name, "Conv2D", output_shape=(None, 8, 8, 4)) for name in "xyz")
    links = (Link("x", "y"), Link("y", "z"), Link("x", "z"))

    async def both() -> None:
        with OpenModel(Network("n", "", layers, links=links)) as model:
            session = Session(model, None, 1.6)
            camera = session.camera_for(None, 1.6)
            pictures = []
            for painter in (Painter(), await practised(SIZE)):
                pictures.append(await painter.paint(session.draw_list, camera, SIZE))
                await painter.close()
            session.close_session()
        assert pictures[0].std() > 1
        np.testing.assert_array_equal(*pictures)

    asyncio.run(both())


def test_where_nothing_can_be_drawn_the_next_picture_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise NeuronautError("no graphics")

    monkeypatch.setattr(Painter, "paint", refuse)

    async def ask() -> None:
        painter = await practised(SIZE)
        with pytest.raises(NeuronautError, match="no graphics"):
            await painter.paint(None, None, SIZE)  # type: ignore[arg-type]

    asyncio.run(ask())
