"""Keeps all of the network in a window that changes its size, until a person moves the camera."""

from __future__ import annotations

from explorer.renderer import Renderer
from explorer.viewing.orbit import alike
from explorer.viewing.view_state import Camera


class Fit:
    """Tells when a picture of everything is to be fitted into a window anew.

    Parameters
    ----------
    renderer : Renderer
    """

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._size = renderer.size
        #: Where the camera was put to show everything.
        self.camera: Camera | None = None

    def due(self) -> bool:
        """Whether the window has another size, and everything was in sight just before; once."""
        size = self._renderer.size
        if size == self._size:
            return False
        self._size = size
        return self.camera is not None and alike(self._renderer.camera, self.camera)
