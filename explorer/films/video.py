"""Pictures to a film file: MP4, WebM, GIF, or a folder of PNGs.

Every writer works under a temporary name beside the place where the film is wanted. `open_writer`
gives it its name only when all is written; an error or an interruption leaves what was there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageChops

from explorer.errors import ModelError, NeuronautError

Picture = NDArray[np.uint8]
"""Shape (height, width, 3), RGB, top row first."""

SUFFIXES = (".mp4", ".webm", ".gif")
_INSTALL = "writing {} needs PyAV; install it with: pip install neuronaut[film]"


class Writer(Protocol):
    """What takes the pictures of a film, one by one."""

    def add(self, picture: Picture) -> None:
        """Write the next picture."""

    def finish(self) -> None:
        """Write what is still held back and close the file."""

    def abandon(self) -> None:
        """Close the file, whatever is in it."""


class _VideoWriter:
    """H.264 or VP9 by PyAV, 4:2:0, BT.709."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int, suffix: str) -> None:
        import av

        codec, options = {
            ".mp4": ("libx264", {"crf": "18", "preset": "medium"}),
            ".webm": ("libvpx-vp9", {"crf": "28", "b": "0", "deadline": "good", "cpu-used": "4"}),
        }[suffix]
        kind = suffix[1:]
        flags = {"movflags": "+faststart"} if kind == "mp4" else {}
        self._container = av.open(str(path), "w", format=kind, options=flags)
        self._frame = av.VideoFrame.from_ndarray
        stream: Any = self._container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        # A fixed number of threads: how many cores there are must not change the film.
        stream.codec_context.thread_count = 2
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # 16..235
        self._stream = stream

    def add(self, picture: Picture) -> None:
        frame = self._frame(np.ascontiguousarray(picture), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def abandon(self) -> None:
        # Closing writes a trailer; whether that still succeeds is of no interest here.
        with contextlib.suppress(OSError, ValueError):
            self._container.close()


class _GifWriter:
    """GIF by Pillow, frame by frame: only what changed, with its own 256 colours.

    GIF counts time in 1/100 s; the roundings are spread so that the whole has the right length.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: int) -> None:
        self._file: BinaryIO = path.open("wb")
        self._fps = fps
        self._before: Image.Image | None = None
        self._count = 0
        width, height = size
        self._file.write(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little"))
        self._file.write(b"\x00\x00\x00")  # no common palette
        self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # repeats for ever

    def add(self, picture: Picture) -> None:
        image = Image.fromarray(picture)
        box = None if self._before is None else ImageChops.difference(image, self._before).getbbox()
        part = image if self._before is None else image.crop(box or (0, 0, 1, 1))
        start = round(self._count * 100 / self._fps)
        stop = round((self._count + 1) * 100 / self._fps)
        palette = part.quantize(256, method=Image.Quantize.MEDIANCUT)
        for block in GifImagePlugin.getdata(
            palette, (box or (0, 0))[:2], duration=10 * (stop - start), include_color_table=True
        ):
            self._file.write(block)
        self._before = image
        self._count += 1

    def finish(self) -> None:
        self._file.write(b";")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()


class _FolderWriter:
    """Numbered PNGs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir()

    def add(self, picture: Picture) -> None:
        Image.fromarray(picture).save(self._folder / frame_name(self._count), compress_level=4)
        self._count += 1

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def frame_name(index: int) -> str:
    """File name of the picture with this number, counted from 0."""
    return f"frame_{index:05d}.png"


def check_target(out: str | os.PathLike[str], size: tuple[int, int], fps: int) -> str:
    """Whether a film can be written there, before hours are spent on its pictures.

    Returns
    -------
    str
        ``".mp4"``, ``".webm"``, ``".gif"``, or ``""`` for a folder of PNGs.

    Raises
    ------
    NeuronautError
        If the suffix is unknown, the size or the frame rate does not suit it, PyAV is missing, or
        the place cannot be written to.
    """
    path = Path(out)
    suffix = "" if str(out).endswith(("/", os.sep)) or path.is_dir() else path.suffix.lower()
    if suffix not in ("", *SUFFIXES):
        raise ModelError(path, f"unknown film type {suffix[:20]!r}; use {', '.join(SUFFIXES)}")
    if suffix in (".mp4", ".webm"):
        if size[0] % 2 or size[1] % 2:
            raise ModelError(path, f"a film of {size[0]} × {size[1]} pixels: sides must be even")
        try:
            import av  # noqa: F401
        except ImportError:
            raise NeuronautError(_INSTALL.format(suffix)) from None
    if suffix == ".gif" and fps > 50:
        raise ModelError(path, f"a GIF shows at most 50 frames per second, not {fps}")
    if not path.parent.is_dir():
        raise ModelError(path, f"there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ModelError(path, f"the folder {path.parent} cannot be written to")
    if not suffix and path.exists() and not (path.is_dir() and _only_frames(path)):
        raise ModelError(path, "is there already and holds more than an earlier film's pictures")
    return suffix


def _only_frames(folder: Path) -> bool:
    return all(p.name.startswith("frame_") and p.suffix == ".png" for p in folder.iterdir())


@contextlib.contextmanager
def open_writer(out: str | os.PathLike[str], size: tuple[int, int], fps: int) -> Iterator[Writer]:
    """A writer for a film; the film is in its place after the ``with`` block has ended well.

    Parameters
    ----------
    out : path
        ``.mp4``, ``.webm`` or ``.gif``; a folder, or a name without suffix, gets PNGs.
    size : (int, int)
        Width and height, pixels.
    fps : int
        Frames per second.

    Raises
    ------
    NeuronautError
        As `check_target`, and if writing fails (a full disk); nothing half-written is left.
    """
    suffix = check_target(out, size, fps)
    path = Path(out)
    temporary = path.parent / f".{path.stem[:100]}-{secrets.token_hex(6)}.tmp{suffix}"
    writer: Writer | None = None
    try:
        writer = _writer(temporary, size, fps, suffix)
        yield writer
        writer.finish()
        _put(temporary, path)
    except NeuronautError:
        raise
    except OSError as error:  # PyAV's errors of the system are such, too
        raise ModelError(path, f"cannot be written: {error.strerror or error}") from None
    finally:
        if writer is not None:
            writer.abandon()
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _writer(path: Path, size: tuple[int, int], fps: int, suffix: str) -> Writer:
    if suffix in (".mp4", ".webm"):
        return _VideoWriter(path, size, fps, suffix)
    return _GifWriter(path, size, fps) if suffix == ".gif" else _FolderWriter(path)


def _put(temporary: Path, path: Path) -> None:
    """Give the complete film its name; an earlier folder of pictures goes only then."""
    if not temporary.is_dir() or not path.exists():
        os.replace(temporary, path)
        return
    old = temporary.with_suffix(".old")
    os.replace(path, old)
    os.replace(temporary, path)
    shutil.rmtree(old, ignore_errors=True)
