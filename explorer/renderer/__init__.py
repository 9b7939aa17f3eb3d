"""Drawing with VTK: the only package that knows it.

`Renderer` turns a `DrawList` and a camera into a picture, in a window or off screen, and a pixel
into the node or edge under it.
"""

from __future__ import annotations

from explorer.renderer.labels import PlacedLabel
from explorer.renderer.view import Pick, Renderer
from explorer.renderer.window import Handlers, Window

__all__ = ["Handlers", "Pick", "PlacedLabel", "Renderer", "Window"]
