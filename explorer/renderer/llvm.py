"""Letting Mesa's software driver and TensorFlow live in one process.

Both bring an LLVM of their own and load it with its symbols open to everybody, so that whichever
comes second calls into the first one's LLVM and the process ends with a segmentation fault (seen
with Mesa 22.3 and TensorFlow 2.21, in either order). A library opened with RTLD_DEEPBIND looks
for symbols in itself first, see dlopen(3); that is all it takes, on both sides.
"""

from __future__ import annotations

import ctypes
import functools
import glob
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_FRAMEWORK = "tensorflow"
_DRIVERS = ("dri/swrast_dri.so", "libgallium-*.so")  # before and since Mesa 24.2


@functools.cache
def keep_apart() -> None:
    """Call before the first look at a graphics driver; idle where there is no TensorFlow."""
    if not sys.platform.startswith("linux"):
        return
    loaded = _FRAMEWORK in sys.modules
    if not loaded and importlib.util.find_spec(_FRAMEWORK) is None:
        return
    for driver in _software_drivers():
        try:
            ctypes.CDLL(driver, mode=os.RTLD_LOCAL | os.RTLD_DEEPBIND | os.RTLD_NOW)
        except OSError:
            continue  # not for this machine; the graphics library tells what is missing
    if not loaded:
        sys.meta_path.insert(0, _DeepBinding())


def _software_drivers() -> list[str]:
    """Where Mesa keeps its software driver."""
    folders = [f"{p}/.." for p in os.environ.get("LIBGL_DRIVERS_PATH", "").split(":") if p]
    folders += ["/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib"]
    return [
        path for folder in folders for name in _DRIVERS for path in glob.glob(f"{folder}/{name}")
    ]


class _DeepBinding(MetaPathFinder):
    """Finds TensorFlow as everybody would, and has its libraries opened with RTLD_DEEPBIND."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _FRAMEWORK:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeepLoader(spec.loader)
        return spec


class _DeepLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        flags = sys.getdlopenflags()
        sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
        # Only the import itself needs this loader; tools that ask for files want the real one.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        try:
            self._loader.exec_module(module)
        finally:
            sys.setdlopenflags(flags)
