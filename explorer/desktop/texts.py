"""What the window says: its help, messages in lines, the names of pictures saved from it."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from explorer.errors import NeuronautError

HELP = (
    "Keys and mouse",
    "click a node\topen it",
    "click a frame's title\tclose it",
    "left drag, right drag\tturn, shift",
    "wheel\tzoom towards the pointer",
    "",
    "z, y (or ⇧z)\tundo, redo",
    "r, f\tsee all; fly to the selected node",
    "b\tstart over: the first picture",
    "u, ⌫\tclose the selected node, or what is around it",
    "a\topen all like the selected node",
    "1 … 9\topen everything to this depth",
    "0, c\tclose everything",
    "x\tfocus on the selected node, or end it",
    "d\tautomatic detail: what you come near to opens; or not",
    "",
    "i\tshow or hide the details of the selected node",
    "w, [ ]\tits next weight, the one before, the one after",
    "v\tits weights as a matrix, or kernels as images",
    "e, ⇧e\tsave what it shows as numbers: .npy, .csv",
    "Esc\tend the focus; then select nothing",
    "o, n\tnext overlay of lines, of boxes",
    ", .\tlower, higher threshold of the overlay sparsity",
    "l, t\tnext layout, dark or light",
    "k, m\tnext kind of colour scale; drag its ends on a histogram",
    "p\tpause reading the weights of a large model; go on",
    "s\tsave a picture",
    "h, ?  ·  q\tthis help  ·  quit",
)
_TIP_WIDTH = 64


def in_lines(text: str) -> tuple[str, ...]:
    """A description in lines that a tooltip can hold."""
    parts = [part for line in text.splitlines() for part in line.split(" · ")]
    return tuple(piece for part in parts for piece in textwrap.wrap(part, _TIP_WIDTH))


def following(names: list[str], now: str) -> str:
    """The name after this one, the first after the last."""
    return names[(names.index(now) + 1) % len(names)] if now in names else names[0]


def save_unique(picture: Image.Image, folder: Path | None = None) -> Path:
    """Write a picture as neuronaut.png, or neuronaut-1.png, -2 … where that is taken.

    Parameters
    ----------
    picture : PIL.Image.Image
    folder : Path, optional
        The working directory without it.

    Returns
    -------
    Path
        Of the new file. No file that exists is ever touched.

    Raises
    ------
    NeuronautError
        If the folder cannot be written to.
    """
    return write_unique(".png", lambda file: picture.save(file, format="PNG"), folder)


def write_unique(
    ending: str, write: Callable[[BinaryIO], None], folder: Path | None = None
) -> Path:
    """Write a file under a name as `save_unique` finds it; nothing is left of a failure.

    Parameters
    ----------
    ending : str
    write : callable (file)
        Puts the content into a binary file.
    folder : Path, optional

    Raises
    ------
    NeuronautError
        If the folder cannot be written to.
    """
    for number in itertools.count():
        path = (folder or Path()) / f"neuronaut{f'-{number}' if number else ''}{ending}"
        try:
            with path.open("xb") as file:
                try:
                    write(file)
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
            return path
        except FileExistsError:
            continue
        except OSError as error:
            reason = error.strerror or str(error)
            raise NeuronautError(f"{path}: cannot be written: {reason}") from None
    raise AssertionError("unreachable")
