"""Pictures of every network there is to try, to be looked at one by one.

    python scripts/make_pictures.py FOLDER [--networks DIR] [--only NAME ...] [--theme light]
    python scripts/make_pictures.py --references

For each network the first picture and one opened three levels deep, the largest node each time;
three networks in every layout; and contact sheets. The networks are the bundled scene's, the files
in DIR (see ``make_networks.py``), and graphs of 10 000 and 100 000 operations made here.

``--references`` draws the pictures that ``tests/test_pictures.py`` compares with, anew.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from layer_graphs import chain, decoder, parallel, write_weights
from PIL import Image, ImageDraw

import layouts
from explorer import formats
from explorer.bundled import scene_path
from explorer.errors import NeuronautError
from explorer.films.picture import picture_of
from explorer.network import Network
from explorer.renderer import Renderer
from explorer.scene_file import resolve_source
from explorer.session.session import Session

SIZE = (1600, 900)
IN_EVERY_LAYOUT = ("resnet50", "inceptionv3", "decoder_10000_scoped")
LEVELS = 3
SHEET = (3, 4)  # columns and rows of a contact sheet

Source = Callable[[], Network]


def sources(folder: Path | None, weights: Path) -> dict[str, Source]:
    """Every network by name, to be made when its turn comes."""
    found: dict[str, Source] = {}
    found["digits"] = partial(formats.open_network, str(resolve_source(scene_path())[0]))
    for path in sorted(folder.glob("*.keras")) if folder else ():
        found[path.stem] = partial(formats.open_network, str(path))
    for count in (10_000, 100_000):
        for names in ("scoped", "flat", "none"):
            found[f"decoder_{count}_{names}"] = partial(decoder, count, names, weights)
        found[f"chain_{count}"] = partial(chain, count, 0, weights)
        found[f"skips_{count}"] = partial(chain, count, count, weights)
    found["branches_5000"] = partial(parallel, 5_000)
    return found


def largest(session: Session, inside: str | None) -> str | None:
    """The largest closed node that opens: most layers, then most weights; the first of equals."""
    cut, hierarchy = session.placed.cut, session.model.hierarchy
    best, found = (0, -1), None
    for row in np.flatnonzero(cut.leaf).tolist():
        path = cut.paths[row]
        if cut.units[row] is not None or (inside and cut.paths[cut.parent[row]] != inside):
            continue
        layers = hierarchy.layers_in(int(cut.node[row]))
        size = (len(layers), sum(la.parameters for la in layers))
        if size > best and session.can_open(path):
            best, found = size, path
    return found


def pictures(name: str, session: Session) -> Iterator[tuple[str, str]]:
    """Bring a session from picture to picture; yields the name and a caption of each."""
    yield name, "first picture"
    inside: str | None = None
    steps = []
    for _ in range(LEVELS):
        path = largest(session, inside)
        if path is None:
            break
        session.open(path)
        inside = path
        steps.append(path.rsplit("/", 1)[-1])
    yield f"{name}_opened", " > ".join(steps) or "nothing opens"
    if name in IN_EVERY_LAYOUT:
        session.reset()
        for layout in layouts.layouts():
            session.set_layout(layout)
            yield f"{name}_{layout}", layout


def draw(name: str, source: Source, renderer: Renderer, folder: Path, theme: str) -> list[Path]:
    """All pictures of one network."""
    start = time.perf_counter()
    session = Session(source())
    paths = []
    try:
        session.set_theme(theme)
        for title, caption in pictures(name, session):
            session.wait()
            image = picture_of(session, renderer)
            paths.append(folder / f"{title}.png")
            Image.fromarray(image).save(paths[-1])
            shown = int(session.placed.cut.leaf.sum())
            taken, start = time.perf_counter() - start, time.perf_counter()
            print(f"{title:32} {shown:4} nodes {taken:6.1f} s  {caption}", flush=True)
    finally:
        session.close_session()
    return paths


def contact_sheets(paths: list[Path], folder: Path) -> None:
    """Small pictures side by side, twelve to a sheet."""
    columns, rows = SHEET
    width, height = 640, 360
    for number in range(0, len(paths), columns * rows):
        sheet = Image.new("RGB", (columns * width, rows * (height + 18)), "black")
        pen = ImageDraw.Draw(sheet)
        for k, path in enumerate(paths[number : number + columns * rows]):
            x, y = k % columns * width, k // columns * (height + 18)
            small = Image.open(path).resize((width, height), Image.Resampling.LANCZOS)
            sheet.paste(small, (x, y + 18))
            pen.text((x + 6, y + 3), path.stem, fill="white")
        sheet.save(folder / f"sheet_{1 + number // (columns * rows)}.png")


def main() -> int:
    """Draw what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/pictures"))
    parser.add_argument("--networks", type=Path, help="folder of make_networks.py")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--theme", choices=["dark", "light"], default="dark")
    parser.add_argument("--references", action="store_true")
    options = parser.parse_args()
    if options.references:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        importlib.import_module("reference_pictures").renew()
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        known = sources(options.networks, write_weights(Path(scratch) / "weights.bin"))
        wanted = options.only or list(known)
        unknown = sorted(set(wanted) - set(known))
        if unknown:
            parser.error(f"no network called {unknown[0]}; there are {', '.join(known)}")
        made, failed = [], 0
        with Renderer(SIZE, off_screen=True, legend=True) as renderer:
            for name in wanted:
                try:
                    made += draw(name, known[name], renderer, options.folder, options.theme)
                except NeuronautError as error:
                    print(f"{name}: {error}", file=sys.stderr)
                    failed += 1
        contact_sheets(made, options.folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
