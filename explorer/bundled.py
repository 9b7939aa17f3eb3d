"""Where the scenes that come with the software lie, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

from explorer.errors import NeuronautError, UnknownNameError

DEMO = "digits"


def scenes_folder() -> Path:
    """The folder of the bundled scenes.

    A wheel carries them inside the package; a checkout has them at its top level, and that place
    wins nothing over an installed one, so that an installed package never reads a stranger's
    ``scenes`` folder in site-packages.

    Raises
    ------
    NeuronautError
        If neither place exists: the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent
    if (package / "_scenes").is_dir():
        return package / "_scenes"
    if (checkout / "pyproject.toml").is_file() and (checkout / "scenes").is_dir():
        return checkout / "scenes"
    raise NeuronautError("the bundled scenes are missing: install neuronaut again")


def scene_names() -> list[str]:
    """Names of the bundled scenes, sorted."""
    return sorted(p.stem for p in scenes_folder().glob("*.json"))


def scene_path(name: str = DEMO) -> Path:
    """The scene file of a bundled scene.

    Parameters
    ----------
    name : str
        One of `scene_names`.

    Raises
    ------
    UnknownNameError
        If there is no such scene; the nearest names are offered.
    """
    names = scene_names()
    if name not in names:
        raise UnknownNameError("bundled scene", name, names)
    return scenes_folder() / f"{name}.json"
