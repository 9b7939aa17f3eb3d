"""A painter that has drawn once, before the network is there.

The first picture in a graphics context costs half a second more than any other: the context is
made, and the driver translates each of VTK's shaders. A small network drawn while the real one is
still being read takes that time out of the way to the first picture.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from explorer.drawing.draw_list import DrawList
from explorer.errors import NeuronautError
from explorer.network import Layer, Link, Network
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.view_state import Camera
from explorer.web.painter import Painter

_SHAPE = (None, 8)


async def practised(size: tuple[int, int]) -> Painter:
    """A painter whose next picture is quick.

    Where nothing can be drawn the painter is as good as new: its next picture tells why.

    Parameters
    ----------
    size : (int, int)
        Width and height of the pictures to come, in pixels.
    """
    painter = Painter()
    with suppress(NeuronautError):
        drawn, camera = await asyncio.to_thread(_scene, size[0] / size[1])
        await painter.paint(drawn, camera, size)
    return painter


def _scene(aspect: float) -> tuple[DrawList, Camera]:
    """Something of every sort that first pictures show: nodes, a link, texts."""
    layers = tuple(Layer(name, "Dense", {}, (_SHAPE,), _SHAPE) for name in ("a", "b"))
    with OpenModel(Network("", "", layers, links=(Link("a", "b"),))) as model:
        session = Session(model, None, aspect)
        try:
            return session.draw_list, session.camera_for(None, aspect)
        finally:
            session.close_session()
