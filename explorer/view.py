"""The Python face: open a network, look at it in a window, a browser, a picture, a film."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from explorer.errors import NeuronautError
from explorer.live.objects import network_of
from explorer.open_model import OpenModel
from explorer.panel.asking import Numbers
from explorer.scene_file import resolve_source, save_scene
from explorer.session.session import Session
from explorer.viewing.view_state import Camera, ViewState, checked_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from explorer.network import Network
    from explorer.session.background import Progress


def open_network(
    source: str | os.PathLike[str] | Any, example: Sequence[Any] | None = None
) -> View:
    """Open a model file, a saved scene, or a live model.

    Parameters
    ----------
    source : path, keras.Model, torch.nn.Module, onnx.ModelProto or networkx.DiGraph
        A live model is saved to a temporary file, which is removed when the view is closed; a
        graph's edges are taken as they are now. A file is read statically: nothing in it is run or
        imported.
    example : sequence, optional
        Inputs of a ``torch.nn.Module``, which is called with them to record its graph.

    Returns
    -------
    View

    Raises
    ------
    ModelError
        If the file is missing, damaged or of an unknown format; a fault of a scene names the
        scene.
    NeuronautError
        If a live model is of no known kind, or its framework cannot save it.
    """
    if isinstance(source, str | os.PathLike):
        path, state = resolve_source(source)
        return View(OpenModel.open(str(path)), state)
    folder = tempfile.TemporaryDirectory(prefix="neuronaut-")
    try:
        network = network_of(source, Path(folder.name), example)
        return View(OpenModel(network, lasting=False), None, folder)
    except BaseException:
        folder.cleanup()
        raise


def compare(before: str | os.PathLike[str], after: str | os.PathLike[str]) -> View:
    """Open two files of one architecture: the view shows what changed from one to the other.

    Parameters
    ----------
    before, after : path
        The older and the newer file. Layers are paired by path, else by their order.

    Returns
    -------
    View
        Of the newer network and what was removed from it; its overlays are ``"change"``,
        ``"relative"``, ``"direction"`` and ``"furthest"``.

    Raises
    ------
    ModelError
        If a file is missing, damaged or of an unknown format.
    NeuronautError
        If the two have next to nothing in common.
    """
    paths = [str(resolve_source(path)[0]) for path in (before, after)]
    return View(OpenModel.compare(*paths))


class View(Numbers):
    """A network and how it is looked at; methods that change the view return it.

    Use `open_network` to make one. It closes its files at the end of a ``with`` block or by
    `close_files`.
    """

    def __init__(
        self,
        model: OpenModel,
        state: ViewState | None = None,
        folder: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.session = Session(model, state)
        self._folder = folder

    @property
    def network(self) -> Network:
        """What the file holds: layers, scopes, links, weights not yet read."""
        return self.session.network

    @property
    def state(self) -> ViewState:
        """What is open, selected, coloured and from where it is seen."""
        return self.session.state

    # -- changing ----------------------------------------------------------------------------

    def open(self, *nodes: str) -> View:
        """Open nodes, and whatever must be open for them to be visible."""
        for node in nodes:
            self.session.open(node)
        return self

    def close(self, *nodes: str) -> View:
        """Close nodes."""
        for node in nodes:
            self.session.close(node)
        return self

    def open_all(self, kind: str) -> View:
        """Open all nodes of a kind (``"Conv2D"``, ``"stage"``), largest first.

        No more than 1 500 nodes become visible; `explorer.session.session.Session.open_all`
        tells how many of how many were opened.
        """
        self.session.open_all(kind)
        return self

    def open_like(self, node: str) -> View:
        """Open all nodes like this one: its series, or all of its kind and type."""
        self.session.open_like(node)
        return self

    def open_to(self, depth: int) -> View:
        """Open all groups down to a depth, within 1 500 visible nodes, and close the rest."""
        self.session.open_to(depth)
        return self

    def close_all(self) -> View:
        """Close everything: only what stands at the top shows."""
        self.session.close_all()
        return self

    def focus(self, node: str | None) -> View:
        """Let all fade but a node and its neighbours; ``None`` ends it."""
        self.session.set_focus(node)
        return self

    def select(self, node: str | None) -> View:
        """Select a node, or nothing."""
        self.session.select(node)
        return self

    def undo(self) -> View:
        """Take back the last change of the view, if there was one."""
        self.session.undo()
        return self

    def redo(self) -> View:
        """Make the change again that was last taken back, if there was one."""
        self.session.redo()
        return self

    @property
    def reading(self) -> Progress:
        """How much of the weights has been read (bytes), and whether reading goes on."""
        return self.session.reading

    def pause_reading(self) -> View:
        """Stop reading weights in the background; what was read stays."""
        self.session.pause_reading()
        return self

    def resume_reading(self) -> View:
        """Go on reading weights after `pause_reading`."""
        self.session.resume_reading()
        return self

    def set(
        self,
        *,
        overlay: str | None = None,
        threshold: float | None = None,
        units: str | None = None,
        layout: str | None = None,
        theme: str | None = None,
        detail: str | None = None,
        scale: str | None = None,
        camera: Camera | None = None,
    ) -> View:
        """Change overlay, layout, theme, detail, scale or camera.

        Parameters
        ----------
        overlay, layout, theme : str, optional
        threshold : float, optional
            Up to which |w| the overlay ``"sparsity"`` counts a weight.
        units : str, optional
            What boxes are coloured by: ``"kind"`` of layer, or an overlay of units.
        detail : str, optional
            ``"automatic"``: in a window and in a page nodes open as the camera comes near, and
            close behind it; ``"manual"``: only by hand.
        scale : str, optional
            How numbers become colours: ``"linear"``, ``"log"``, ``"rank"``, or ``"automatic"``.
        camera : Camera, optional
        """
        if overlay is not None:
            self.session.set_overlay(overlay)
        if threshold is not None:
            self.session.set_threshold(threshold)
        if units is not None:
            self.session.set_units(units)
        if layout is not None:
            self.session.set_layout(layout)
        if theme is not None:
            self.session.set_theme(theme)
        if detail is not None:
            self.session.set_detail(detail)
        if scale is not None:
            self.session.set_scale(scale)
        if camera is not None:
            from dataclasses import replace

            self.session.update(replace(self.state, camera=camera))
        return self

    def set_range(self, low: float | None, high: float | None = None) -> View:
        """Lay the colour scale on magnitudes from low to high; ``None`` fits it to what is drawn.

        What lies beyond takes the colours of the ends, and the legend says so. Another overlay
        begins without a range.

        Raises
        ------
        NeuronautError
            If it is not two finite numbers, the first 0 or more, the second larger.
        """
        self.session.set_range(None if low is None and high is None else checked_range((low, high)))
        return self

    # -- asking ------------------------------------------------------------------------------

    def edges(
        self, source: str, target: str, top: int = 20, share: float | None = None
    ) -> dict[str, Any]:
        """The strongest connections between two nodes; see ``neuronaut edges --json``.

        Parameters
        ----------
        source, target : str
            Nodes, or ranges of units.
        top : int
            How many connections.
        share : float, optional
            From 0 to 1: the fewest connections that hold this share of Σw², instead of `top`.

        Raises
        ------
        UnknownNameError
            If a node does not exist.
        NeuronautError
            If `top` is not a whole number of 1 or more, `share` is no share, or it needs more
            than 100 000 connections.
        """
        from explorer.report import edges_json

        return edges_json(self.session.model, source, target, top, share)

    def changes(self, top: int = 20, by: str = "change") -> dict[str, Any]:
        """The layers that changed most; see ``neuronaut compare --json``.

        Raises
        ------
        NeuronautError
            If this is no view of two files; see `compare`.
        """
        from explorer.change_report import changes_json

        comparison = self.session.model.comparison
        if comparison is None:
            raise NeuronautError("one file alone has not changed: explorer.compare opens two")
        return changes_json(comparison, comparison.changes.measure_all(), top, by)

    # -- showing -----------------------------------------------------------------------------

    def shot(self, path: str | os.PathLike[str], size: tuple[int, int] = (1600, 900)) -> View:
        """Write a picture with all magnitudes exact; the view stays as it was.

        Parameters
        ----------
        path : path
            Ends in ``.png``.
        size : (int, int)
            Width and height, pixels.

        Raises
        ------
        NeuronautError
            If the suffix is another, the size impossible, or the picture cannot be written.
        """
        from explorer.films.picture import save_picture

        path = Path(path)
        if path.suffix.lower() != ".png":
            raise NeuronautError(f"{path}: a picture is written as .png")
        if min(size) < 1:
            raise NeuronautError(f"a picture of {size[0]} x {size[1]} pixels cannot be drawn")
        before = self.session.aspect
        try:
            self.session.aspect = size[0] / size[1]
            self.session.update(self.state)
            self.session.wait()
            save_picture(self.session, path, size)
        finally:
            self.session.aspect = before
            self.session.update(self.state)
        return self

    def show(self, size: tuple[int, int] = (1600, 900)) -> None:
        """Open a local window; returns when it is closed."""
        from explorer.desktop import desktop

        desktop.run(self.session, size)

    def serve(self, port: int = 0, host: str = "127.0.0.1", open_browser: bool = True) -> Any:
        """Serve this view in the browser from a thread.

        Returns
        -------
        handle
            ``handle.url`` holds the key; ``handle.stop()`` ends it. In a notebook it shows itself.
        """
        from explorer import web

        return web.serve_in_thread(
            self.session.model, self.state, host=host, port=port, open_browser=open_browser
        )

    def film(
        self,
        tour: str | os.PathLike[str],
        path: str | os.PathLike[str],
        progress: Callable[[int, int], None] | None = None,
    ) -> View:
        """Film a tour of this network."""
        from explorer.films import film as filming

        filming.film(Path(tour), Path(path), progress, session=self.session)
        return self

    def save_scene(self, path: str | os.PathLike[str]) -> View:
        """Write the view as a scene file (``.json``) beside the network's file."""
        if self.session.model.comparison is not None:
            raise NeuronautError("a scene is of one network: a comparison cannot be saved as one")
        if self._folder is not None:
            raise NeuronautError("a scene names the file of its network: a live one has none")
        save_scene(path, self.network.opened, self.state)
        return self

    # -- ending ------------------------------------------------------------------------------

    def close_files(self) -> None:
        """Close the network's files and remove what was made for this view."""
        self.session.close_session()
        self.session.model.close()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> View:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close_files()
