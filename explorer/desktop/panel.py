"""The panel at the right edge of the local window: what is known of the selected node."""

from __future__ import annotations

from explorer.panel.picture import panel_picture
from explorer.panel.reader import Details, PanelReader
from explorer.renderer import Renderer
from explorer.session.session import Session


class DesktopPanel:
    """Follows the selection of a session and keeps the renderer's panel up to date.

    Parameters
    ----------
    session : Session
    renderer : Renderer
    """

    def __init__(self, session: Session, renderer: Renderer) -> None:
        self._session, self._renderer = session, renderer
        self._reader = PanelReader(session.model)
        self._path: str | None = None
        self._shown: Details | None = None
        self._look: object = None
        self.wanted = True

    @property
    def details(self) -> Details | None:
        """What the panel tells; ``None`` while there is none."""
        return self._reader.details

    def update(self) -> bool:
        """Bring the panel up to date; whether the next picture will differ.

        Costs next to nothing when nothing has changed.
        """
        path = self._session.state.selected if self.wanted else None
        if path != self._path:
            self._path = path
            self._reader.show(path)
        details, shown = self._reader.details, self._shown
        look = (self._session.state.theme, self._renderer.size)
        if details is shown and (details is None or look == self._look):
            return False
        self._shown, self._look = details, look
        picture = panel_picture(details, look[1], look[0]) if details is not None else None
        self._renderer.set_panel(picture)
        return True

    def step(self, by: int) -> bool:
        """Go on to another weight of the selected layer; whether there is one."""
        return self._reader.step(by)

    def close(self) -> None:
        """End all reading."""
        self._reader.close()
