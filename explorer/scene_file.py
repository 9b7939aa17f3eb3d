"""Saved views: a network's file name and a `ViewState`, as a small JSON file beside the network.

A scene names its network by a plain file name in the same folder. It can therefore be moved along
with the network, and a scene from a stranger cannot make the explorer open another place.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.errors import ModelError, NeuronautError, UnknownNameError
from explorer.small_files import read_small, replacing, unblocked

if TYPE_CHECKING:
    from explorer.viewing.view_state import ViewState

VERSION = 1
SUFFIX = ".json"
# A saved view lists open nodes and a camera; even thousands of open nodes stay far below this.
_MOST_BYTES = 4 * 2**20
# Models have files in JSON too: indices of shards, TensorFlow.js, configurations. What tells them
# stands within their first or last bytes.
_ENDS = 1 << 20
_MODEL = re.compile(rb'"(?:weight_map|modelTopology|weightsManifest)"\s*:\s*[\[{]')
_CONFIGURATION = re.compile(rb'"(?:architectures|model_type|class_name|nodes)"\s*:')
_SCENE = re.compile(rb'"network"\s*:')


def is_scene(path: str | os.PathLike[str]) -> bool:
    """Whether this file name is one of a scene (its suffix is ``.json``)."""
    return Path(path).suffix.lower() == SUFFIX


def load_scene(path: str | os.PathLike[str]) -> tuple[Path, ViewState]:
    """Read a scene file.

    Returns
    -------
    network : Path
        The network's file, beside the scene file; it may still be missing.
    state : ViewState

    Raises
    ------
    ModelError
        If the file cannot be read, is no scene, or names a network outside its own folder.
    """
    from explorer.viewing.view_state import ViewState

    path = Path(path)
    data = _read(path)
    unknown = set(data) - {"version", "network", "view"}
    if unknown:
        raise ModelError(path, f"not a scene: unknown entry {_shown(sorted(unknown)[0])}")
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise ModelError(path, "not a scene: no version number")
    if version > VERSION:
        raise ModelError(path, f"scene version {version} is newer than this software reads")
    name, view = data.get("network"), data.get("view", {})
    if not isinstance(name, str) or not _is_plain(name):
        raise ModelError(path, "network must be the name of a file in the scene's own folder")
    if not isinstance(view, dict):
        raise ModelError(path, "view must be an object")
    try:
        return path.parent / name, ViewState.from_json(view)
    except NeuronautError as error:
        raise ModelError(path, str(error)) from None


def resolve_source(path: str | os.PathLike[str]) -> tuple[Path, ViewState | None]:
    """What a person names who may mean a model or a scene.

    Parameters
    ----------
    path : path
        A scene file, told by its suffix and by not being a model's; or a model file or folder.

    Returns
    -------
    model : Path
    state : ViewState or None
        ``None`` for a model file.

    Raises
    ------
    ModelError
        If a scene cannot be read, its network is not there, or its overlay or layout does not
        exist; the text names the scene file.
    """
    if not is_scene(path) or _of_model(path):
        return Path(path), None
    # Only here: whether it is a scene is asked before anything heavy is loaded.
    from explorer.overlays import get_overlay, get_unit_overlay
    from layouts import layouts

    network, state = load_scene(path)
    if not network.exists():
        raise ModelError(path, f"its network {_shown(network.name)} is not in the same folder")
    try:
        get_overlay(state.overlay)
        get_unit_overlay(state.units)
        if state.layout not in (known := layouts()):
            raise UnknownNameError("layout", state.layout, known)
    except NeuronautError as error:
        raise ModelError(path, str(error)) from None
    return network, state


def save_scene(
    path: str | os.PathLike[str], network_path: str | os.PathLike[str], state: ViewState
) -> None:
    """Write a scene file; what was there before stays whole until the new one is complete.

    Parameters
    ----------
    path : path
        Must lie in the network's folder and end in ``.json``, by which a scene is told.
    network_path : path
        The network's file.
    state : ViewState

    Raises
    ------
    ModelError
        If the suffix is another, the folders differ, the view could not be loaded again, or the
        file cannot be written.
    """
    from explorer.viewing.view_state import ViewState

    path, network_path = Path(path), Path(network_path)
    if not is_scene(path):
        raise ModelError(path, f"a scene is written as {SUFFIX}")
    if path.resolve().parent != network_path.resolve().parent:
        raise ModelError(path, f"a scene must lie beside its network, in {network_path.parent}")
    if path.resolve() == network_path.resolve():
        raise ModelError(path, "a scene cannot replace its network")
    data = {"version": VERSION, "network": network_path.name, "view": state.to_json()}
    if not _is_plain(network_path.name):
        raise ModelError(path, f"a scene cannot name a network called {_shown(network_path.name)}")
    try:
        ViewState.from_json(state.to_json())
    except NeuronautError as error:
        raise ModelError(path, str(error)) from None
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        with replacing(path) as file:
            file.write(text.encode("utf-8"))
    except OSError as error:
        raise ModelError(path, f"cannot be written: {error.strerror or error}") from None


def _of_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file in JSON is a model's, whatever else is wrong with it."""
    if os.path.isdir(path):
        return True
    try:
        with open(path, "rb", opener=unblocked) as file:
            ends = head = file.read(_ENDS)
            file.seek(max(os.fstat(file.fileno()).st_size - _ENDS, 0))
            ends += file.read(_ENDS)
    except (OSError, ValueError):  # told when it is read as a scene
        return False
    return bool(_MODEL.search(ends) or (_CONFIGURATION.search(head) and not _SCENE.search(head)))


def _read(path: Path) -> dict[str, Any]:
    raw = read_small(path, _MOST_BYTES, "scene")
    try:
        data = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise ModelError(path, "not a scene: no JSON") from None
    if not isinstance(data, dict):
        raise ModelError(path, "not a scene: no JSON object")
    return data


def _is_plain(name: str) -> bool:
    bad = not name or name in (".", "..") or len(name) > 255 or not name.isprintable()
    return not bad and not any(c in name for c in "/\\:")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "…")
