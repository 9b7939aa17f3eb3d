"""Pictures of a session, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from explorer.errors import NeuronautError
from explorer.renderer import Renderer
from explorer.session.session import Session
from explorer.small_files import replacing


def picture_of(session: Session, renderer: Renderer) -> NDArray[np.uint8]:
    """Draw a session, by its camera or else the whole of it.

    Returns
    -------
    uint8 array, shape (height, width, 3)
    """
    renderer.draw(session.draw_list)
    renderer.camera = session.state.camera or session.camera_for(None, renderer.scene_aspect)
    return renderer.image()


def save_picture(session: Session, path: Path, size: tuple[int, int]) -> None:
    """Draw a session off screen and write the picture.

    Parameters
    ----------
    session : Session
        Drawn as it is; call its ``wait`` first for exact colours.
    path : Path
        A ``.png`` file; replaced when it exists, in one step.
    size : (int, int)
        Width and height, pixels.

    Raises
    ------
    NeuronautError
        If the file cannot be written, or the machine cannot draw.
    """
    with Renderer(size, off_screen=True, legend=True) as renderer:
        picture = Image.fromarray(picture_of(session, renderer))
    try:
        with replacing(path) as file:
            picture.save(file, format="PNG")
    except OSError as error:
        raise NeuronautError(f"{path}: cannot be written: {error.strerror or error}") from None
