"""Colours of families of layers, frames, flow links and scales, on dark and on light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]

# Samples at even steps: inferno and viridis (van der Walt and Smith 2015) and ColorBrewer's BuPu,
# PuOr and YlGnBu (Brewer 2003), all even to the eye and safe for colour-blind ones.
_INFERNO = (
    "0000040b0724210c4a3d096557106e71196e8a226aa32c61bc3754d24644e45a31f1731df98e09fcac11f9cb35"
    "f2ea69fcffa4"
)
_BUPU = (
    "f7fcfdebf4f8e0ecf4cfdfedbfd3e6aec7e09ebcda95a8d08c95c68c80bb8c6ab18a55a788409c84278c800f7b"
    "6507624d004b"
)
_VIRIDIS = (
    "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30"
    "d8e219fde725"
)
_YLGNBU = "ffffd9edf8b1c7e9b47fcdbb41b6c41d91c0225ea8253494081d58"
_PUOR = (
    "7f3b08a04d07be630adb7d12ef9e3cfdbd6efed7a2fbe9cff6f6f7e3e4efcecde4b6b0d4988dbe7967a65d3790"
    "44176f2d004b"
)


def _ramp(text: str, low: float = 0.0, high: float = 1.0, steps: int = 256) -> NDArray[np.uint8]:
    anchors = np.frombuffer(bytes.fromhex(text), np.uint8).reshape(-1, 3).astype(float)
    at = np.linspace(low, high, steps) * (len(anchors) - 1)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    return np.asarray(np.rint(np.stack(channels, axis=1)), np.uint8)


@dataclass(frozen=True)
class Theme:
    """The colours of one theme.

    Attributes
    ----------
    families : dict of str to RGB
        Colour of each family of `explorer.kinds`.
    frame, flow, label : RGB
        Outline of open nodes, links without weights, text.
    sequential, diverging : uint8 array, shape (256, 3)
        Colour scales of edges from weak to strong, and from negative to positive.
    boxes : uint8 array, shape (256, 3)
        Colour scale of boxes from low to high, in hues that edges have not.
    """

    families: dict[str, RGB]
    frame: RGB
    flow: RGB
    label: RGB
    sequential: NDArray[np.uint8]
    diverging: NDArray[np.uint8]
    boxes: NDArray[np.uint8]


_FAMILIES: dict[str, RGB] = {
    "conv": (79, 142, 247),
    "dense": (240, 163, 62),
    "pool": (47, 184, 166),
    "norm": (122, 134, 154),
    "attention": (168, 121, 240),
    "embedding": (87, 182, 95),
    "recurrent": (239, 106, 160),
    "input": (138, 160, 184),
    "merge": (206, 212, 222),
    "activation": (100, 170, 190),
    "shape": (128, 112, 96),
    "other": (176, 168, 150),
}


def _shaded(ramp: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """A diverging ramp, its middle darker by a share, its ends as they were."""
    middle = 1.0 - np.abs(np.linspace(-1.0, 1.0, len(ramp)))[:, None]
    return np.rint(ramp * (1.0 - share * middle)).astype(np.uint8)


THEMES: dict[str, Theme] = {
    "dark": Theme(
        families=_FAMILIES,
        frame=(140, 158, 190),
        flow=(132, 142, 160),
        label=(222, 230, 242),
        # The black end of the map would vanish on the dark ground.
        sequential=_ramp(_INFERNO, 0.32, 0.98),
        diverging=np.ascontiguousarray(_ramp(_PUOR, 0.08, 0.92)),
        boxes=_ramp(_VIRIDIS, 0.16, 1.0),
    ),
    "light": Theme(
        families={**_FAMILIES, "merge": (58, 68, 88)},
        frame=(120, 132, 158),
        flow=(150, 158, 172),
        label=(28, 36, 52),
        # On white the strong end must be the dark one.
        sequential=_ramp(_BUPU, 0.42, 1.0),
        # Paper is white: what is near zero must not be.
        diverging=_shaded(_ramp(_PUOR), 0.2),
        boxes=_ramp(_YLGNBU, 0.18, 1.0),
    ),
}
