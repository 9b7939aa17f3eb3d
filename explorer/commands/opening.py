"""From a command's arguments to an open model or a session; the reading begins at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from explorer.errors import NeuronautError

if TYPE_CHECKING:
    from explorer.formats import Reading
    from explorer.open_model import OpenModel
    from explorer.session.session import Session
    from explorer.viewing.view_state import ViewState


def load(name: str) -> tuple[str, ViewState | None]:
    """Model file and view of a model or scene argument."""
    from explorer.scene_file import resolve_source

    path, state = resolve_source(name)
    return (str(path), state) if state is not None else (name, None)


@contextmanager
def file_reading(name: str) -> Iterator[tuple[Reading, ViewState | None]]:
    """The file of a model or scene argument, being read from now on, and the scene's view.

    To be entered before a command loads its heavy parts: another process reads meanwhile.
    """
    from explorer.formats import Reading

    path, state = load(name)
    with Reading(path) as reading:
        yield reading, state


@contextmanager
def model_opening(
    name: str, newer: str | None
) -> Iterator[tuple[Callable[[], OpenModel], ViewState | None]]:
    """What opens a model, or what changed from it to a newer one, once; and the scene's view."""
    with (
        file_reading(name) as (reading, state),
        nullcontext() if newer is None else file_reading(newer) as other,
    ):

        def opened() -> OpenModel:
            from explorer.open_model import OpenModel

            with reading:
                if other is None:
                    return OpenModel.open(reading)
                with other[0]:
                    return OpenModel.compare(reading, other[0])

        if other is not None and state is not None:
            state = state.colored_by("change")
        yield opened, state


def open_session(
    name: str,
    aspect: float = 16 / 9,
    change: Callable[[Session], None] = lambda _: None,
    newer: str | None = None,
) -> Session:
    """A session of a model or a scene, changed before it is first shown."""
    with model_opening(name, newer) as (opened, state):
        from explorer.session.session import Session

        session = Session(opened(), state, aspect)
    try:
        change(session)
    except NeuronautError:
        session.close_session()
        raise
    return session
