"""Pictures of six small networks look as they did: compared with those kept in tests/pictures.

To renew them after a wanted change: ``python scripts/make_pictures.py --references``, then look at
each of them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference_pictures as kept
from PIL import Image

from explorer.drawing.draw_list import DrawList
from explorer.renderer import Renderer
from explorer.session.session import Session


@pytest.fixture(scope="module")
def renderer():
    with Renderer(kept.SIZE) as made:
        found = kept.driver(made)
        if kept.DRIVER not in found:
            pytest.skip(f"the kept pictures were drawn by {kept.DRIVER}, this machine has {found}")
        yield made


@pytest.mark.parametrize("name", kept.REFERENCES)
def test_a_picture_looks_as_it_did(renderer, name, tmp_path):
    with kept.session_of(kept.REFERENCES[name], tmp_path) as session:
        picture = kept.picture_of(session, renderer)
    before = kept.read(name)
    assert before.shape == picture.shape
    found = kept.difference(before, picture)
    if found.visible:
        now, apart = tmp_path / f"{name}.png", tmp_path / f"{name}_difference.png"
        Image.fromarray(picture).save(now)
        kept.difference_picture(before, picture).save(apart)
        pytest.fail(f"{name} looks different: {found}\n  now: {now}\n  difference: {apart}")


def drawn(renderer: Renderer, session: Session, draw_list: DrawList) -> kept.Picture:
    """A picture of this draw list, seen as the session's own."""
    renderer.draw(draw_list)
    renderer.camera = session.camera_for(None, renderer.scene_aspect)
    return renderer.image()


def moved(scene: DrawList) -> DrawList:
    """One box half its height higher."""
    centers = scene.solids.centers.copy()
    centers[len(centers) // 2, 1] += 0.5 * scene.solids.sizes[len(centers) // 2, 1]
    return replace(scene, solids=replace(scene.solids, centers=centers))


def recoloured(scene: DrawList) -> DrawList:
    """One box in another colour."""
    colors = scene.solids.colors.copy()
    colors[len(colors) // 2, :3] = (57, 181, 95)
    return replace(scene, solids=replace(scene.solids, colors=colors))


def without_a_box(scene: DrawList) -> DrawList:
    keep = np.arange(len(scene.solids.node)) != len(scene.solids.node) // 2
    solids = scene.solids
    parts = {k: getattr(solids, k)[keep] for k in ("centers", "sizes", "colors", "node")}
    return replace(scene, solids=type(solids)(**parts))


def without_edges(scene: DrawList) -> DrawList:
    edges = scene.edges
    parts = {k: getattr(edges, k)[:0] for k in edges.__dataclass_fields__}
    return replace(scene, edges=type(edges)(**parts))


def without_labels(scene: DrawList) -> DrawList:
    return replace(scene, labels=())


@pytest.mark.parametrize(
    "change", [moved, recoloured, without_a_box, without_edges, without_labels]
)
def test_a_visible_change_is_seen(renderer, change, tmp_path: Path):
    with kept.session_of(kept.REFERENCES["residual"], tmp_path) as session:
        picture = drawn(renderer, session, change(session.draw_list))
        unchanged = drawn(renderer, session, session.draw_list)
    assert not kept.difference(unchanged, kept.read("residual")).visible
    assert kept.difference(unchanged, picture).visible


def test_what_another_driver_may_do_is_not_seen(renderer, tmp_path: Path):
    with kept.session_of(kept.REFERENCES["residual"], tmp_path) as session:
        usual = drawn(renderer, session, session.draw_list)
        samples = renderer.multi_samples
        renderer.multi_samples = 0
        rough = drawn(renderer, session, session.draw_list)
        renderer.multi_samples = samples
    assert (rough != usual).any()
    assert not kept.difference(usual, rough).visible
    shifted = ((usual.astype(int) + np.roll(usual, 1, axis=1)) // 2).astype(np.uint8)
    assert not kept.difference(usual, shifted).visible
    brighter = np.clip(usual.astype(int) + 1, 0, 255).astype(np.uint8)
    assert not kept.difference(usual, brighter).visible


def test_the_kept_pictures_are_small():
    files = sorted(kept.FOLDER.glob("*.png"))
    assert [f.stem for f in files] == sorted(kept.REFERENCES)
    assert max(f.stat().st_size for f in files) <= 60_000
