"""Which kind of VTK window this machine can open, found out before VTK tries.

VTK ends the process when the system's graphics libraries are missing; a look at them with ctypes
takes milliseconds and gives an error that a person can act on.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from explorer.errors import NeuronautError
from explorer.renderer.llvm import keep_apart

PACKAGES = "libegl1 libgl1-mesa-dri"
WINDOW_PACKAGES = "libgl1 libgl1-mesa-dri libx11-6 libxcursor1"


def off_screen_window_class() -> str | None:
    """Name of the VTK window class for pictures without a screen.

    Returns
    -------
    str or None
        EGL where it works, else OSMesa; ``None`` leaves the choice to VTK (macOS, Windows, or a
        machine with an X server only).

    Raises
    ------
    NeuronautError
        If this machine can draw by none of them; the text names the packages to install.
    """
    if not sys.platform.startswith("linux"):
        return None
    keep_apart()
    asked = os.environ.get("VTK_DEFAULT_OPENGL_WINDOW")
    if asked and asked != "vtkEGLRenderWindow":
        return asked
    if isinstance(found := egl_device(), int):
        return "vtkEGLRenderWindow"
    if _loads("libOSMesa.so.8") or _loads("libOSMesa.so.6"):
        return "vtkOSOpenGLRenderWindow"
    if os.environ.get("DISPLAY") and _window_fault() is None:
        return None
    raise NeuronautError(f"cannot draw: {found}; install it with: apt-get install {PACKAGES}")


def require_window() -> None:
    """Make sure that a window can be opened on this machine's screen.

    Raises
    ------
    NeuronautError
        If there is no display or a library is missing; one line says what to do.
    """
    if not sys.platform.startswith("linux"):
        return
    keep_apart()
    if not os.environ.get("DISPLAY"):
        raise NeuronautError(
            "cannot open a window: there is no display (DISPLAY is not set); "
            "use `neuronaut serve` and a browser instead"
        )
    reason = _window_fault()
    if reason is not None:
        raise NeuronautError(f"cannot open a window: {reason}")


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


@functools.cache
def egl_device() -> int | str:
    """Number of the first EGL device that can draw here, or the reason why none can.

    The first device may be a graphics card that this person has no right to use.
    """
    try:
        egl = ctypes.CDLL("libEGL.so.1")
    except OSError:
        return "the library libEGL.so.1 is missing"
    pointer = ctypes.c_void_p
    egl.eglGetProcAddress.restype = pointer
    egl.eglGetProcAddress.argtypes = [ctypes.c_char_p]
    query = egl.eglGetProcAddress(b"eglQueryDevicesEXT")
    display_of = egl.eglGetProcAddress(b"eglGetPlatformDisplayEXT")
    if not query or not display_of:
        return "EGL knows no devices"
    devices, count = (pointer * 16)(), ctypes.c_int(0)
    signature = ctypes.CFUNCTYPE(ctypes.c_uint, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
    signature(query)(16, ctypes.byref(devices), ctypes.byref(count))
    platform = ctypes.CFUNCTYPE(pointer, ctypes.c_uint, pointer, pointer)(display_of)
    egl.eglInitialize.argtypes = [pointer, pointer, pointer]
    egl_platform_device = 0x313F
    for index, device in enumerate(devices[: count.value]):
        display = platform(egl_platform_device, device, None)
        if display and egl.eglInitialize(display, None, None):
            return index  # left initialised: VTK opens the same display again in a moment
    return "EGL finds no driver"


def _window_fault() -> str | None:
    """Why no X window can be opened here, or ``None`` if one can."""
    for name in ("libX11.so.6", "libXcursor.so.1", "libGL.so.1"):
        if not _loads(name):
            return f"the library {name} is missing; install with: apt-get install {WINDOW_PACKAGES}"
    if not _display_answers():
        return f"the display {os.environ.get('DISPLAY')!r} does not answer"
    return None


@functools.cache
def _display_answers() -> bool:
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XOpenDisplay.argtypes = [ctypes.c_char_p]
    # Left open: a server without other clients would restart when its last one leaves, and refuse
    # the window that is about to be opened.
    return bool(x11.XOpenDisplay(None))
