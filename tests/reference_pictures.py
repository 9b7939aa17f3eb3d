"""The pictures that are kept under tests/pictures, how they are drawn and how they are compared.

Their networks are small, made here or bundled, with weights from a seed: a few seconds for all.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from layer_graphs import chain, decoder, parallel, write_weights

from explorer import formats
from explorer.bundled import scene_path
from explorer.films.picture import picture_of
from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Shape, Weight
from explorer.renderer import Renderer
from explorer.scene_file import resolve_source
from explorer.session.session import Session

FOLDER = Path(__file__).parent / "pictures"
SIZE = (640, 360)
DRIVER = "llvmpipe"  # Mesa's software renderer: another one shades and rounds in another way
CELL = 5  # pixels: pictures are compared by the means of squares of this size

Picture = NDArray[np.uint8]


class _Maker:
    """Collects layers fed by one another, with kernels in one file of random numbers."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "kernels.bin"
        values = np.random.default_rng(7).normal(0.0, 1.0, 1 << 18)
        self.path.write_bytes(values.astype("<f4").tobytes())
        self.layers: dict[str, Layer] = {}
        self.links: list[Link] = []

    def add(
        self,
        name: str,
        kind: str,
        shape: Shape,
        sources: Sequence[str] = (),
        kernels: dict[str, tuple[int, ...]] | None = None,
    ) -> str:
        shapes = [self.layers[s].output_shape or () for s in sources]
        weights = tuple(self._weight(name, role, size) for role, size in (kernels or {}).items())
        self.layers[name] = Layer(name, kind, {"name": name}, tuple(shapes), shape, weights)
        self.links += [
            Link(s, name, 0, i, 0, shapes[i]) for i, s in enumerate(sources)
        ]  # fmt: skip
        return name

    def _weight(self, layer: str, role: str, shape: tuple[int, ...]) -> Weight:
        size = math.prod(shape)
        offset = 4 * (sum(map(ord, layer + role)) * 97 % ((1 << 18) - size))
        where = ByteRange(str(self.path), offset, 4 * size)
        return Weight(f"{layer}/{role}", role, shape, "float32", where)

    def network(self, name: str) -> Network:
        stat = self.path.stat()
        stamp = FileStamp(str(self.path), stat.st_size, stat.st_mtime_ns)
        layers = tuple(self.layers.values())
        return Network(name, "made", layers, (), tuple(self.links), files=(stamp,))


def residual(folder: Path) -> Network:
    """Three stages of two residual blocks, the names as Keras' ResNet has them."""
    make = _Maker(folder)
    side, width = 32, 8

    def conv(name: str, source: str, kernel: int, out: int) -> str:
        before = (make.layers[source].output_shape or (0,))[-1] or 0
        size = {"kernel": (kernel, kernel, before, out), "bias": (out,)}
        return make.add(name, "Conv2D", (None, side, side, out), (source,), size)

    def same(name: str, kind: str, *sources: str) -> str:
        return make.add(name, kind, make.layers[sources[0]].output_shape or (), sources)

    x = make.add("input", "InputLayer", (None, side, side, 3))
    x = same("conv1_relu", "ReLU", conv("conv1_conv", x, 3, width))
    for stage in (2, 3, 4):
        side, width = side // 2, width * 2
        for block in (1, 2):
            name = f"conv{stage}_block{block}"
            y = same(f"{name}_1_relu", "ReLU", conv(f"{name}_1_conv", x, 3, width))
            y = same(f"{name}_2_bn", "BatchNormalization", conv(f"{name}_2_conv", y, 3, width))
            skip = conv(f"{name}_0_conv", x, 1, width) if block == 1 else x
            x = same(f"{name}_out", "ReLU", same(f"{name}_add", "Add", skip, y))
    x = make.add("avg_pool", "GlobalAveragePooling2D", (None, width), (x,))
    make.add("predictions", "Dense", (None, 10), (x,), {"kernel": (width, 10)})
    return make.network("residual")


def encoder(folder: Path) -> Network:
    """A Transformer encoder of three blocks, its embeddings and its head."""
    make = _Maker(folder)
    width, heads, shape = 32, 4, (None, 24, 32)
    tokens = make.add("tokens", "InputLayer", (None, 24))
    x = make.add("embedding", "Embedding", shape, (tokens,), {"embeddings": (500, width)})
    projection = (width, heads, width // heads)
    inside = {f"{part}/kernel": projection for part in ("query", "key", "value")}
    inside["attention_output/kernel"] = (heads, width // heads, width)
    for block in (1, 2, 3):
        name = f"block{block}"
        y = make.add(f"{name}_attention", "MultiHeadAttention", shape, (x, x), inside)
        y = make.add(f"{name}_attention_add", "Add", shape, (x, y))
        x = make.add(f"{name}_attention_norm", "LayerNormalization", shape, (y,))
        wide = (None, 24, 4 * width)
        up, down = {"kernel": (width, 4 * width)}, {"kernel": (4 * width, width)}
        y = make.add(f"{name}_ffn_up", "Dense", wide, (x,), up)
        y = make.add(f"{name}_ffn_down", "Dense", shape, (y,), down)
        y = make.add(f"{name}_ffn_add", "Add", shape, (x, y))
        x = make.add(f"{name}_ffn_norm", "LayerNormalization", shape, (y,))
    x = make.add("pool", "GlobalAveragePooling1D", (None, width), (x,))
    make.add("head", "Dense", (None, 6), (x,), {"kernel": (width, 6)})
    return make.network("encoder")


def _digits(folder: Path) -> Network:
    return formats.open_network(str(resolve_source(scene_path())[0]))


@dataclass(frozen=True)
class Reference:
    """A picture: a network, what is opened in it, and in which layout."""

    network: Callable[[Path], Network]
    opened: tuple[str, ...] = ()
    layout: str = ""
    theme: str = "dark"


def _with_weights(make: Callable[[Path], Network]) -> Callable[[Path], Network]:
    return lambda folder: make(write_weights(folder / "weights.bin", 64))


REFERENCES = {
    "digits_opened": Reference(_digits, ("hidden",)),
    "residual": Reference(residual),
    "encoder_opened": Reference(encoder, ("block1_attention",), theme="light"),
    "chain_with_skips": Reference(_with_weights(lambda path: chain(36, 12, path))),
    "masked_blocks": Reference(_with_weights(lambda path: decoder(21 * 12 + 4, "scoped", path))),
    "branches_radial": Reference(lambda folder: parallel(10), layout="radial"),
}


@contextmanager
def session_of(reference: Reference, folder: Path) -> Iterator[Session]:
    """The session that a reference is a picture of, with all weights read."""
    session = Session(reference.network(folder), aspect=SIZE[0] / SIZE[1])
    try:
        session.set_theme(reference.theme)
        if reference.layout:
            session.set_layout(reference.layout)
        for node in reference.opened:
            session.open(node)
        session.wait()
        yield session
    finally:
        session.close_session()


def driver(renderer: Renderer) -> str:
    """The name of what draws, as OpenGL gives it."""
    renderer.render_window.Render()  # nothing is known of a window that has never drawn
    told = str(renderer.render_window.ReportCapabilities())
    lines = [line for line in told.splitlines() if "renderer string" in line.lower()]
    return lines[0].partition(":")[2].strip() if lines else "unknown"


@dataclass(frozen=True)
class Difference:
    """How far two pictures are apart; colours from 0 to 255.

    Attributes
    ----------
    mean : float
        Mean distance of the squares' colours.
    strong : float
        Share of the squares whose colours are further apart than 20.
    local : float
        The largest mean distance in a field of 8 x 8 squares.
    """

    mean: float
    strong: float
    local: float

    @property
    def visible(self) -> bool:
        """Whether a person would see it.

        A shift by half a pixel, or no smoothing of rims, which is more than two versions of a
        driver differ by, gives up to 3.7, 0.3 % and 9.
        """
        return bool(self.mean > 4.5 or self.strong > 0.01 or self.local > 12.0)


def _squares(picture: Picture) -> NDArray[np.float64]:
    height, width = (n // CELL * CELL for n in picture.shape[:2])
    cut = picture[:height, :width].astype(float)
    return cut.reshape(height // CELL, CELL, width // CELL, CELL, 3).mean(axis=(1, 3))


def difference(one: Picture, other: Picture) -> Difference:
    """Compare two pictures of the same size, blind to what fills less than a few pixels."""
    apart = np.abs(_squares(one) - _squares(other)).max(axis=2)
    sums = np.pad(apart.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    fields = sums[8:, 8:] - sums[:-8, 8:] - sums[8:, :-8] + sums[:-8, :-8]
    return Difference(apart.mean(), (apart > 20).mean(), fields.max() / 64)


def difference_picture(one: Picture, other: Picture) -> Image.Image:
    """Where two pictures differ: the brighter, the more."""
    return Image.fromarray(np.clip(3 * np.abs(one.astype(int) - other), 0, 255).astype(np.uint8))


def read(name: str) -> Picture:
    """A kept picture."""
    return np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))


def renew() -> None:
    """Draw all kept pictures anew."""
    FOLDER.mkdir(exist_ok=True)
    with Renderer(SIZE) as renderer, tempfile.TemporaryDirectory() as scratch:
        if DRIVER not in driver(renderer):
            raise SystemExit(f"references are drawn by {DRIVER}, not by {driver(renderer)}")
        for name, reference in REFERENCES.items():
            with session_of(reference, Path(scratch)) as session:
                image = Image.fromarray(picture_of(session, renderer))
            path = FOLDER / f"{name}.png"
            # 256 colours take a quarter of the bytes; what that changes is below what is compared.
            image.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
                path, optimize=True
            )
            print(f"{path}  {path.stat().st_size / 1e3:.0f} KB")
