"""What the browser loads: the templates, the files beside them, and the state they begin with.

Everything is served from this machine. The libraries' scripts are named in the page itself, so
that the browser fetches them while the server still opens the network; texts from the file are
state, shown by text interpolation only, never part of a template.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

STATIC = Path(__file__).with_name("static")
#: Entries that the page itself may change.
CLIENT_KEYS: dict[str, type] = {"panel_shown": bool, "help_shown": bool, "scale_shown": bool}

EMPTY_TIP = {"show": False, "x": 0, "y": 0, "shift": "", "lines": []}
INITIAL: dict[str, Any] = {
    "title": "",
    "about": "",
    "file_name": "neuronaut.png",
    "crumbs": [],
    "open_count": "",
    "legend": {
        "title": "",
        "gradient": "",
        "ticks": [],
        "boxes": None,
        "kinds": [],
        "lines": [],
        "bar": None,
    },
    "pending": True,
    "picture": 0,
    "still": False,
    "drawn": {"nodes": 0, "edges": 0},
    "drawn_by": "server",
    "scene": 0,
    "overlay": "",
    "overlays": [],
    "units": "kind",
    "units_known": [],
    "threshold": "",
    "layout": "",
    "layouts": [],
    "scale": "automatic",
    "scales": [],
    "scale_shown": False,
    "theme": "dark",
    "detail": "manual",
    "found": [],
    "busy": False,
    "message": "",
    "notice": "",
    "help_shown": False,
    "focus": "",
    "can_undo": False,
    "can_redo": False,
    "openings": [],
    "tip": EMPTY_TIP,
    "panel": None,
    "panel_shown": True,
    "hint": True,
    "weight": "",
    "stats": None,
    "counting": None,
    "matrix": {"id": 0},
    "matrix_picture": None,
    "matrix_told": [],
    "tab_name": "",
    "incoming": [],
    "reading": {"text": "", "paused": False},
}
_LOST = (
    '<div class="nn-wait" data-testid="lost"><div>This view is closed.</div>'
    "<div>Reload the page to open it again while Neuronaut runs.</div></div>"
)


def prepare(server: Any, initial: dict[str, Any]) -> None:
    """Give a fresh trame server the page and its first state.

    Parameters
    ----------
    server : trame_server.Server
        Not yet started.
    initial : dict
        Values for entries of `INITIAL`.
    """
    from trame_client import module as client
    from trame_rca import module as rca

    for library in (client, rca):
        server.enable_module(library)
    server.state.update(
        {
            **INITIAL,
            **initial,
            "trame__title": initial.get("title", "Neuronaut") + " · Neuronaut",
            "trame__template_main": template(),
            "trame__template_error": _LOST,
            # index.html names them already.
            "trame__scripts": [],
            "trame__module_scripts": [],
            "trame__styles": [],
        }
    )


@lru_cache(maxsize=1)
def template() -> str:
    """The page's Vue template."""
    page = (STATIC / "page.html").read_text(encoding="utf-8")
    panel = (STATIC / "panel.html").read_text(encoding="utf-8")
    keys = (STATIC / "help.html").read_text(encoding="utf-8")
    scale = (STATIC / "scale.html").read_text(encoding="utf-8")
    page = page.replace("<!--PANEL-->", panel).replace("<!--HELP-->", keys)
    return page.replace("<!--SCALE-->", scale)


@lru_cache(maxsize=1)
def _libraries() -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...], str]:
    """Scripts and styles in order, routes, and the folder of the client's own files."""
    from trame_client.module import vue3 as client
    from trame_rca import module as rca

    www = Path(client.www)
    own = sorted(p.name for p in (www / "assets").iterdir())
    scripts = ("vue.global.js", f"{rca.BASE_URL}/trame-rca.umd.js")
    styles = (
        f"{rca.BASE_URL}/style.css",
        *(f"assets/{n}" for n in own if n.endswith(".css")),
    )
    modules = tuple(f"assets/{n}" for n in own if n.endswith(".js"))
    routes = {**rca.serve, "assets": str(www / "assets"), "page": str(STATIC)}
    return (*scripts, *modules), styles, tuple(routes.items()), str(www)


def routes() -> dict[str, str]:
    """Folders served as they are: first part of the path to folder."""
    return dict(_libraries()[2])


def vue_file() -> Path:
    """The template library's file, served by its own name."""
    return Path(_libraries()[3]) / "vue.global.js"


def notice(text: str) -> str:
    """A page that says one thing; `text` is ours, not a visitor's."""
    return (STATIC / "notice.html").read_text(encoding="utf-8").replace("<!--TEXT-->", text)


@lru_cache(maxsize=1)
def index() -> str:
    """The page's HTML, with the scripts and styles of the libraries in their order."""
    scripts, styles, _, _ = _libraries()
    tags = [
        f'<script type="module" src="{s}"></script>'
        if s.startswith("assets/")
        else f'<script defer src="{s}"></script>'
        for s in scripts
    ]
    scripts_here = ("keys", "scale", "drawn", "matrix")
    tags += [f'<script defer src="page/{name}.js"></script>' for name in scripts_here]
    links = [f'<link rel="stylesheet" href="{s}" />' for s in styles]
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    return text.replace("<!--STYLES-->", "".join(links)).replace("<!--SCRIPTS-->", "".join(tags))
