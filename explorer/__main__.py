"""The command line: a contract, one function per command.

Heavy parts are imported by the command that needs them, so that ``info`` never waits for VTK.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from explorer.errors import NeuronautError

if TYPE_CHECKING:
    from explorer.formats import Reading
    from explorer.open_model import OpenModel
    from explorer.session.opening import Opening
    from explorer.session.session import Session
    from explorer.viewing.view_state import ViewState

app = typer.Typer(
    name="neuronaut",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A 3D interactive explorer for large neural networks.",
)
LARGEST_PICTURE = 16384

Model = Annotated[str, typer.Argument(metavar="MODEL|SCENE", help="a model file or a saved scene")]
Port = Annotated[int, typer.Option(help="port of the page; 0 takes a free one", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="address to listen on")]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="do not open a browser")]
Size = Annotated[str, typer.Option(help="width x height of the picture in pixels")]
LayoutName = Annotated[str | None, typer.Option("--layout", help="name of a layout")]
OverlayName = Annotated[str | None, typer.Option("--overlay", help="name of an overlay")]
ThemeName = Annotated[str | None, typer.Option("--theme", help="dark or light")]
Open = Annotated[list[str] | None, typer.Option("--open", help="a node to open; repeatable")]
Depth = Annotated[
    int | None, typer.Option("--depth", help="open all groups to this depth; 0 closes all", min=0)
]
OpenAll = Annotated[
    list[str] | None, typer.Option("--open-all", help="a kind to open everywhere; repeatable")
]
Newer = Annotated[
    str | None,
    typer.Option("--compare", metavar="NEWER", help="show what changed from MODEL to this file"),
]
FocusOn = Annotated[str | None, typer.Option("--focus", help="the node that does not fade")]


def main() -> None:
    """Run the command line; a wrong input ends in one line on stderr and exit code 2."""
    try:
        app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # a closed pipe (``| head``) is no error
        # Only what is printed may end so. The signal itself stays ignored, as Python has it: a
        # browser that goes away while the page is sent must not end the server.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except NeuronautError as error:
        _fail(str(error))
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("neuronaut: stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # click's usage errors
        if usage is not None:
            _fail(f"{usage()} (see neuronaut --help)" if usage() else "see neuronaut --help")
        if os.environ.get("NEURONAUT_TRACEBACK"):
            raise
        told = f"{type(error).__name__}: {error}"
        _fail(f"a fault of this software: {told} (NEURONAUT_TRACEBACK=1 shows where)", code=1)


def _fail(message: str, code: int = 2) -> NoReturn:
    print(f"neuronaut: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


# -- opening ---------------------------------------------------------------------------------------


def _load(name: str) -> tuple[str, ViewState | None]:
    """Model file and view of a model or scene argument."""
    from explorer.scene_file import resolve_source

    path, state = resolve_source(name)
    return (str(path), state) if state is not None else (name, None)


@contextmanager
def _reading(name: str) -> Iterator[tuple[Reading, ViewState | None]]:
    """The file of a model or scene argument, being read from now on, and the scene's view.

    To be entered before a command loads its heavy parts: another process reads meanwhile.
    """
    from explorer.formats import Reading

    path, state = _load(name)
    with Reading(path) as reading:
        yield reading, state


@contextmanager
def _opening(
    name: str, newer: str | None
) -> Iterator[tuple[Callable[[], OpenModel], ViewState | None]]:
    """What opens a model, or what changed from it to a newer one, once; and the scene's view."""
    with (
        _reading(name) as (reading, state),
        nullcontext() if newer is None else _reading(newer) as other,
    ):

        def opened() -> OpenModel:
            from explorer.open_model import OpenModel

            with reading:
                if other is None:
                    return OpenModel.open(reading)
                with other[0]:
                    return OpenModel.compare(reading, other[0])

        if other is not None and state is not None:
            state = replace(state, overlay="change")
        yield opened, state


def _session(
    name: str,
    aspect: float = 16 / 9,
    change: Callable[[Session], None] = lambda _: None,
    newer: str | None = None,
) -> Session:
    """A session of a model or a scene, changed before it is first shown."""
    with _opening(name, newer) as (opened, state):
        from explorer.session.session import Session

        session = Session(opened(), state, aspect)
    try:
        change(session)
    except NeuronautError:
        session.close_session()
        raise
    return session


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    width, height = (int(match[1]), int(match[2])) if match else (0, 0)
    if not (16 <= width <= LARGEST_PICTURE and 16 <= height <= LARGEST_PICTURE):
        raise NeuronautError(
            f"size {text[:40]!r} is not WIDTHxHEIGHT between 16x16 and"
            f" {LARGEST_PICTURE}x{LARGEST_PICTURE}"
        )
    return width, height


# -- looking ---------------------------------------------------------------------------------------


@app.command("open")
def open_(model: Model, size: Size = "1600x900", newer: Newer = None) -> None:
    """Show a network in a local window."""
    from explorer.desktop import desktop

    width, height = _size(size)
    session = _session(model, width / height, newer=newer)
    try:
        desktop.run(session, (width, height))
    finally:
        session.close_session()
        session.model.close()


@app.command()
def serve(
    model: Model,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    no_browser: NoBrowser = False,
    newer: Newer = None,
) -> None:
    """Show a network in the browser; prints one line with the URL, its key included."""
    with _opening(model, newer) as (opened, state):
        from explorer import web

        web.serve(opened, state, host=host, port=port, open_browser=not no_browser)


@app.command()
def demo(port: Port = 8080, host: Host = "127.0.0.1", no_browser: NoBrowser = False) -> None:
    """Show the bundled scene in the browser."""
    from explorer.bundled import scene_path

    serve(str(scene_path()), port, host, no_browser)


@app.command()
def shot(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file to write")],
    opened: Open = None,
    depth: Depth = None,
    open_all: OpenAll = None,
    focus: FocusOn = None,
    size: Size = "1600x900",
    layout: LayoutName = None,
    overlay: OverlayName = None,
    theme: ThemeName = None,
    newer: Newer = None,
) -> None:
    """Write a picture of a network."""

    def change(session: Session) -> None:
        if theme is not None:
            session.set_theme(theme)
        if layout is not None:
            session.set_layout(layout)
        if overlay is not None:
            session.set_overlay(overlay)
        if depth is not None:
            _tell_unless_all(session.open_to(depth))
        for kind in open_all or ():
            _tell_unless_all(session.open_all(kind))
        for node in opened or ():
            session.open(node)
        if focus is not None:
            session.set_focus(focus)

    _check_picture(output)
    width, height = _size(size)
    session = _session(model, width / height, change, newer)
    try:
        _save_and_close(session, output, (width, height))
    finally:
        session.model.close()


def _save_and_close(session: Session, output: Path, size: tuple[int, int]) -> None:
    from explorer.films.picture import save_picture

    try:
        with _progress("reading weights") as progress:
            session.wait(progress)
        save_picture(session, output, size)
    finally:
        session.close_session()


def _check_picture(output: Path) -> None:
    if output.suffix.lower() != ".png":
        raise NeuronautError(f"{output}: a picture is written as .png")
    if not output.parent.is_dir():
        raise NeuronautError(f"{output}: the folder {output.parent} does not exist")


def _tell_unless_all(opening: Opening) -> None:
    if opening.done < opening.wanted:
        print(f"neuronaut: {opening.message}", file=sys.stderr)


@app.command()
def film(
    tour: Annotated[Path, typer.Argument(metavar="TOUR.toml", help="the tour to film")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help=".mp4, .webm, .gif or a folder of pictures")
    ],
) -> None:
    """Film a scripted camera flight."""
    from explorer.films import film as filming

    with _progress("filming") as progress:
        filming.film(tour, output, progress)


class _progress:  # noqa: N801  (used like a function)
    """A progress bar on stderr; nothing where stderr is no terminal."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(title, total=None)

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar.start()
        return lambda done, total: self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _plain_json(found: object) -> str:
    return json.dumps(found, ensure_ascii=False, allow_nan=False)


# -- telling ---------------------------------------------------------------------------------------


@app.command()
def info(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """List layers, links and weights without reading a weight's bytes."""
    with _reading(model) as (reading, _):
        from explorer.report import network_json, network_text

        network = reading.network()
    print(_plain_json(network_json(network)) if as_json else network_text(network))


@app.command()
def edges(
    model: Model,
    from_node: Annotated[str, typer.Option("--from", help="node whose units send")],
    to_node: Annotated[str, typer.Option("--to", help="node whose units receive")],
    top: Annotated[int, typer.Option(help="how many connections", min=0, max=10_000_000)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
) -> None:
    """List the strongest connections between two nodes, exactly."""
    with _reading(model) as (reading, _):
        from explorer.open_model import OpenModel
        from explorer.report import edges_json, edges_text

        with OpenModel.open(reading) as opened:
            found = edges_json(opened, from_node, to_node, top)
    print(_plain_json(found) if as_json else edges_text(found))


@app.command()
def index(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL|SCENE]")] = None,
    list_: Annotated[bool, typer.Option("--list", help="tell what is stored")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="remove what is stored")] = False,
) -> None:
    """Measure all weights ahead of time, so that every magnitude is there when a model is opened.

    What was measured lies in the user's cache folder. --list and --clear are about all models, or
    about one, or about those in one folder.
    """
    from explorer import indexing

    if list_ and clear:
        raise NeuronautError("index takes --list or --clear, not both")
    path = None if model is None else _load(model)[0]
    if list_:
        print(indexing.stored_text(path))
    elif clear:
        print(indexing.cleared_text(path))
    elif path is None:
        raise NeuronautError("index needs a MODEL, --list or --clear (see neuronaut index --help)")
    elif not indexing.index(path):
        sys.exit(130)


@app.command()
def compare(
    older: Annotated[str, typer.Argument(metavar="OLDER", help="a model file")],
    newer: Annotated[str, typer.Argument(metavar="NEWER", help="one of the same architecture")],
    top: Annotated[int, typer.Option(help="how many layers", min=0, max=10_000_000)] = 20,
    by: Annotated[str, typer.Option("--by", help="change or relative")] = "change",
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PNG file to write as well")
    ] = None,
) -> None:
    """List the layers that changed most from one file to another of the same architecture."""
    from explorer.change_report import changes_json, changes_text, order_of
    from explorer.session.session import Session

    order_of(by)
    if output is not None:
        _check_picture(output)
    with _opening(older, newer) as (opening, _), opening() as opened:
        assert opened.comparison is not None
        with _progress("comparing weights") as progress:
            changes = opened.comparison.changes.measure_all(progress)
        found = changes_json(opened.comparison, changes, top, by)
        if output is not None:
            _save_and_close(Session(opened), output, (1600, 900))
    print(_plain_json(found) if as_json else changes_text(found))


if __name__ == "__main__":
    main()
