"""Networks that nobody would draw, on the whole way from a `Network` to a picture."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np
import pytest

import layouts
from explorer.drawing.draw_list import DrawList
from explorer.errors import ModelError
from explorer.network import Layer, Link, Network, Scope, Shape
from explorer.open_model import OpenModel
from explorer.renderer import Renderer
from explorer.session.session import Session

FLAT = (None, 8)
MOST_DRAWN = 2_000  # rows of a first picture: what is visible is bounded, whatever exists


def network(
    layers: Iterable[str | Layer],
    links: Iterable[tuple[str, str]] = (),
    scopes: Iterable[str] = (),
    shape: Shape | None = FLAT,
) -> Network:
    """Layers by name, `Dense` unless they are given whole."""
    made = [
        x
        if isinstance(x, Layer)
        else Layer(x, "Dense", {}, () if shape is None else (shape,), shape)
        for x in layers
    ]
    outer = tuple(Scope(path, "Functional") for path in scopes)
    return Network("odd", "test", tuple(made), outer, tuple(Link(a, b) for a, b in links))


def row(names: Iterable[str], **rest: object) -> Network:
    """Layers fed by one another, in order."""
    names = list(names)
    return network(names, itertools.pairwise(names), **rest)  # type: ignore[arg-type]


def cycle(count: int) -> Network:
    """A chain whose last layer feeds the first."""
    names = [f"dense_{i}" for i in range(count)]
    return network(names, zip(names, names[1:] + names[:1], strict=True))


def parallel(count: int) -> Network:
    """Branches from one input to one sum."""
    names = [f"branch_{i}" for i in range(count)]
    ends = [("input", n) for n in names] + [(n, "sum") for n in names]
    return network(["input", *names, "sum"], ends)


def nested(depth: int) -> Network:
    """A layer inside scopes inside scopes, and one beside it at every level."""
    scopes = ["s0"]
    while len(scopes) < depth:
        scopes.append(f"{scopes[-1]}/s{len(scopes)}")
    return row([f"{s}/dense" for s in scopes], scopes=scopes)


ODD_NAMES = {
    "spaces": ["  ", "a b", " a", "a ", "a  b c", "\u00a0", "\u2003x"],
    "slashes": ["/", "a", "a/", "/a", "a//b", "//", "a/b/", "./..", "../../etc", "", "unnamed"],
    "emoji": ["🦙", "👩‍👩‍👧‍👦/🔥", "🏳️‍🌈", "e\u0301", "\ud83d", "a\u200db"],
    "10 000 characters": ["x" * 10_000, "y " * 5_000, "z_" * 5_000, "w/" * 4_999 + "w"],
    "right to left": ["שלום", "مرحبا_1", "\u202eabc\u202c", "abc\u2067שלום\u2069", "\u200f"],
    "control characters": [
        "a\nb",
        "a\tb",
        "\x00",
        "\x1b[31mred",
        "\x7f",
        "\r\n",
        "a\u2028b",
        "\x9b",
    ],
    "brackets": ["a[0]", "a[0:3]", "a", "[", "]", "a[forget]", "[[0]]"],
    "markup": ["<b>x</b>", "&amp;", "$x^2$", "\\frac{1}{2}", "%s%n", "{0}", "a~2", "a~2~2"],
    "one letter": list("abcdefghijkl"),
    "numbers": [str(i) for i in range(30)],
}

NETWORKS: dict[str, Callable[[], Network]] = {
    "no layers": lambda: network([]),
    "scopes without layers": lambda: network([], (), ["a", "a/b", "c"]),
    "one layer": lambda: network(["dense"]),
    "one input": lambda: network([Layer("input", "InputLayer", {}, (), FLAT)]),
    "two layers": lambda: row(["a", "b"]),
    "ten layers, no links": lambda: network([f"dense_{i}" for i in range(10)]),
    "5 000 layers, no links": lambda: network([f"dense_{i}" for i in range(5_000)]),
    "two components": lambda: network(
        "abcdefgh", [*itertools.pairwise("abcd"), *itertools.pairwise("efgh")]
    ),
    "1 000 components": lambda: network(
        [f"{x}{i}" for i in range(1_000) for x in "ab"], [(f"a{i}", f"b{i}") for i in range(1_000)]
    ),
    "cycle of two": lambda: cycle(2),
    "cycle of 12": lambda: cycle(12),
    "cycle of 1 000": lambda: cycle(1_000),
    "self loop": lambda: network("abc", [("a", "b"), ("b", "b"), ("b", "c")]),
    "nothing but a self loop": lambda: network("a", [("a", "a")]),
    "all to all": lambda: network(
        [f"n{i}" for i in range(60)],
        [(f"n{i}", f"n{j}") for i in range(60) for j in range(60)],
    ),
    "the same link 1 000 times": lambda: network("ab", [("a", "b")] * 1_000),
    "5 000 branches": lambda: parallel(5_000),
    "200 deep": lambda: nested(200),
    "duplicate titles": lambda: row(
        [f"{s}/dense" for s in "abcdefghijklm"], scopes=list("abcdefghijklm")
    ),
    "the same words in other scopes": lambda: row(
        [f"a/x{i}/dense" for i in range(9)] + [f"b/x{i}/dense" for i in range(9)],
        scopes=["a", "b", *(f"{s}/x{i}" for s in "ab" for i in range(9))],
    ),
    "no shapes": lambda: row([f"dense_{i}" for i in range(12)], shape=None),
    "empty shapes": lambda: row([f"dense_{i}" for i in range(12)], shape=()),
    "unknown lengths": lambda: row([f"dense_{i}" for i in range(12)], shape=(None,) * 4),
    "zero lengths": lambda: row([f"dense_{i}" for i in range(12)], shape=(None, 0, 0)),
    "enormous lengths": lambda: row("abcdefghijkl", shape=(None, 2**40, 2**40, 2**31)),
    "twelve axes": lambda: row([f"dense_{i}" for i in range(12)], shape=(None, *[3] * 11)),
    "no kind": lambda: network([Layer(n, "") for n in "abc"], itertools.pairwise("abc")),
    "long kind": lambda: network([Layer(n, "K\n" * 5_000) for n in "abc"]),
    **{f"names: {k}": (lambda v=v: row(dict.fromkeys(v))) for k, v in ODD_NAMES.items()},
}  # fmt: skip
RENDERED = (
    "no layers", "one layer", "cycle of 12", "self loop", "5 000 branches", "enormous lengths",
    "names: emoji", "names: 10 000 characters", "names: right to left", "names: control characters",
)  # fmt: skip


def check(session: Session) -> DrawList:
    """What must hold for every picture; returns it."""
    drawn, placed = session.draw_list, session.placed
    for boxes in (drawn.solids, drawn.frames):
        assert np.isfinite(boxes.centers).all()
        assert np.isfinite(boxes.sizes).all()
        assert (boxes.sizes > 0).all()
    assert np.isfinite(drawn.edges.points).all()
    ends = np.concatenate((drawn.edges.source, drawn.edges.target))
    assert ((ends >= 0) & (ends < len(drawn.nodes))).all()
    assert len(placed.cut) == len(placed.boxes.centers) <= MOST_DRAWN
    for label in drawn.labels:
        assert np.isfinite(label.anchor).all()
        clean(label.text)
    for line in (drawn.legend.title, *drawn.legend.lines, *(k for k, _ in drawn.legend.kinds)):
        clean(line)
    return drawn


def clean(text: str) -> None:
    """Whether a text is one line that can be shown: short, nothing that controls anything."""
    assert len(text) <= 400
    assert "\n" not in text
    bad = [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")]
    assert not bad, bad


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layout_draws_it_and_it_opens(name):
    with OpenModel(NETWORKS[name]()) as model:
        session = Session(model)
        first = check(session)
        for path in list(session.placed.cut.paths)[1:6]:
            clean(session.describe(path))
        for layout in layouts.layouts():
            session.set_layout(layout)
            check(session)
        session.reset()
        assert tuple(session.draw_list.nodes) == tuple(first.nodes)
        opened = 0
        while opened < 4:  # the largest node each time
            cut = session.placed.cut
            closed = [r for r in np.flatnonzero(cut.leaf) if session.can_open(cut.paths[r])]
            if not closed:
                break
            span = model.hierarchy.spans[cut.node[closed]]
            session.click(cut.paths[closed[int(np.argmax(span[:, 1] - span[:, 0]))]])
            check(session)
            opened += 1
        for row_ in range(min(len(session.draw_list.edges.source), 5)):
            session.describe_edge(row_)
        session.camera_for()
        session.close_session()


@pytest.fixture(scope="module")
def renderer():
    with Renderer((480, 270), multi_samples=0) as made:
        yield made


@pytest.mark.parametrize("name", RENDERED)
def test_it_is_drawn(renderer, name):
    with OpenModel(NETWORKS[name]()) as model:
        session = Session(model)
        renderer.draw(session.draw_list)
        renderer.camera = session.camera_for(None, renderer.scene_aspect)
        picture = renderer.image()
        session.close_session()
    assert picture.shape == (270, 480, 3)
    seen = picture[: renderer.scene_size[1]].astype(int)
    # A solid stands out from the background, which changes from row to row only.
    stands_out = np.abs(seen - seen[:, :1]).max(axis=2) > 20
    assert stands_out.any() == bool(model.graph.layers)


@pytest.mark.parametrize(
    ("links", "told"),
    [
        ([("a", "b"), ("a", "zz")], "a link leads from 'a' to 'zz' (which is no layer)"),
        ([("q", "b")], "a link leads from 'q' (which is no layer) to 'b'"),
        ([("a", "")], "a link leads from 'a' to '' (which is no layer)"),
        ([("a", "x\n" * 9_000)], "'x x x"),
    ],
)
def test_a_link_to_a_layer_that_does_not_exist_is_one_clear_line(links, told):
    with pytest.raises(ModelError) as error:
        OpenModel(network("ab", links))
    assert told in str(error.value)
    clean(str(error.value))


def test_a_path_that_occurs_twice_is_one_clear_line():
    with pytest.raises(ModelError, match="two layers called 'a'") as error:
        OpenModel(network("aba"))
    clean(str(error.value))


def test_what_all_branches_show_is_bounded():
    for count in (50, 5_000):
        with OpenModel(parallel(count)) as model:
            session = Session(model)
            assert 3 <= len(session.placed.cut) <= 60
            session.close_session()


def test_names_are_made_clean_once_and_stay_apart():
    paths = ["", "a\nb", "a b", "/a", "a", "a//b", "a/unnamed", "\x00/x", "k" * 500, "k" * 501]
    with OpenModel(row(paths)) as model:
        made = [la.path for la in model.graph.layers]
        assert made == [
            "unnamed~2", "a b~2", "a b", "a~2", "a", "a/unnamed~2/b", "a/unnamed", "unnamed/x",
            "k" * 119 + "…", "k" * 119 + "…~2",
        ]  # fmt: skip
        links = [(k.source, k.target) for k in model.graph.links]
        assert links == list(itertools.pairwise(made))
        with OpenModel(model.graph) as again:
            assert again.graph == model.graph
