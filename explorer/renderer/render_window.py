"""Opening a VTK render window, or saying in one line why this machine cannot."""

from __future__ import annotations

import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderWindow

from explorer.errors import NeuronautError
from explorer.renderer.system import egl_device, off_screen_window_class, require_window

MAX_SIDE = 16384


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size, in pixels; refuse a picture of an impossible one.

    Raises
    ------
    NeuronautError
    """
    width, height = size
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise NeuronautError(
            f"impossible size {width}x{height}: each side must be 1 to {MAX_SIDE} pixels"
        )
    return size


def make_window(off_screen: bool) -> vtkRenderWindow:
    """A render window, on the screen or off it.

    Raises
    ------
    NeuronautError
        If there is no display that answers, or a library is missing.
    """
    if not off_screen:
        require_window()
        shown = vtkRenderWindow()
        if shown.IsA("vtkEGLRenderWindow") or shown.IsA("vtkOSOpenGLRenderWindow"):
            # VTK's choice where it cannot reach the X server: nobody would see anything.
            raise NeuronautError("cannot open a window: the display does not answer")
        return shown
    name = off_screen_window_class()
    made = getattr(vtkmodules.vtkRenderingOpenGL2, name, None) if name else None
    window: vtkRenderWindow = made() if made is not None else vtkRenderWindow()
    if name == "vtkEGLRenderWindow" and isinstance(device := egl_device(), int):
        window.SetDeviceIndex(device)
    window.SetShowWindow(False)
    window.SetUseOffScreenBuffers(True)
    return window
