"""Films of the bundled network: what was asked for is what the file holds, run after run."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from explorer.bundled import scenes_folder
from explorer.errors import NeuronautError
from explorer.films.film import film
from explorer.films.tour import load_tour
from explorer.open_model import OpenModel
from explorer.renderer import Renderer
from explorer.session.session import Session

NETWORK = scenes_folder() / "digits.keras"
SIZE = (256, 144)
TOURS = Path(__file__).resolve().parent.parent / "scripts" / "tours"

FLIGHT = """
[[step]]
seconds = 0.4
title = "The whole"
orbit = 20
[[step]]
seconds = 0.6
open = ["conv_1"]
look_at = "conv_1"
[[step]]
seconds = 0.5
overlay = "signed"
select = "conv_1[3]"
close = ["conv_1"]
look_at = ""
"""


def written(folder: Path, steps: str = FLIGHT, head: str = "") -> Path:
    path = folder / "tour.toml"
    path.write_text(
        f"network = {str(NETWORK)!r}\nsize = {list(SIZE)}\nfps = 10\n{head}\n{steps}",
        encoding="utf-8",
    )
    return path


def pictures(folder: Path) -> list[NDArray[np.uint8]]:
    return [np.asarray(Image.open(p)) for p in sorted(folder.iterdir())]


def test_a_film_decodes_with_the_size_length_and_rate_asked_for(tmp_path: Path) -> None:
    import av

    seen: list[tuple[int, int]] = []
    out = tmp_path / "film.mp4"
    assert film(written(tmp_path), out, lambda done, total: seen.append((done, total))) == 15
    assert seen == [(i, 15) for i in range(1, 16)]
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.width, stream.codec_context.height) == SIZE
        assert stream.average_rate == 10
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert container.duration == pytest.approx(1.5e6, rel=0.01)
    assert len(frames) == 15
    # Something moves all the time.
    for before, after in itertools.pairwise(frames):
        assert np.abs(before.astype(int) - after).mean() > 0.05


def test_two_runs_give_the_same_frames(tmp_path: Path) -> None:
    tour = written(tmp_path)
    for name in ("one", "two"):
        film(tour, tmp_path / name)
    one, two = pictures(tmp_path / "one"), pictures(tmp_path / "two")
    assert len(one) == len(two) == 15
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_step_ends_where_it_should(tmp_path: Path) -> None:
    """The last picture of a step is what a session shows that did the same by hand."""
    steps = FLIGHT.replace('title = "The whole"\n', "").replace("orbit = 20", "")
    film(written(tmp_path, steps), tmp_path / "frames")
    shown = pictures(tmp_path / "frames")
    with OpenModel.open(str(NETWORK)) as model:
        session = Session(model, None, SIZE[0] / SIZE[1])
        with Renderer(SIZE, multi_samples=4) as renderer:

            def now(name: str | None) -> NDArray[np.uint8]:
                session.wait()
                renderer.draw(session.draw_list)
                renderer.camera = session.camera_for(name)
                return renderer.image()

            np.testing.assert_array_equal(shown[3], now(None))
            session.open("conv_1")
            np.testing.assert_array_equal(shown[9], now("conv_1"))
            session.close("conv_1")
            session.set_overlay("signed")
            session.select("conv_1[3]")
            np.testing.assert_array_equal(shown[14], now(None))
        session.close_session()


def test_steps_open_many_and_focus(tmp_path: Path) -> None:
    steps = (
        "[[step]]\nseconds = 0.2\ndepth = 0\nopen_all = ['Dense']\nfocus = 'hidden'\n"
        "[[step]]\nseconds = 0.2\nfocus = ''\n"
    )
    film(written(tmp_path, steps), tmp_path / "frames")
    shown = pictures(tmp_path / "frames")
    with OpenModel.open(str(NETWORK)) as model:
        session = Session(model, None, SIZE[0] / SIZE[1])
        session.open_to(0)
        session.open_all("Dense")
        with Renderer(SIZE, multi_samples=4, legend_grows=False) as renderer:
            for focus, picture in (("hidden", shown[len(shown) // 2 - 1]), (None, shown[-1])):
                session.set_focus(focus)
                session.wait()
                renderer.draw(session.draw_list)
                renderer.camera = session.camera_for(None, renderer.scene_aspect)
                np.testing.assert_array_equal(picture, renderer.image())
        session.close_session()
    with pytest.raises(NeuronautError, match=r"step 1: no kind of node called 'Danse'"):
        film(written(tmp_path, steps.replace("Dense", "Danse")), tmp_path / "other")
    with pytest.raises(NeuronautError, match=r"step 1: no node called 'hiden'"):
        film(written(tmp_path, steps.replace("hidden", "hiden")), tmp_path / "other")


def test_steps_choose_what_is_counted_and_what_colours_boxes(tmp_path: Path) -> None:
    step = "[[step]]\nseconds = 0.2\noverlay = 'sparsity'\nthreshold = 0.05\nunits = 'outgoing'\n"
    film(written(tmp_path, step), tmp_path / "frames")
    with OpenModel.open(str(NETWORK)) as model:
        session = Session(model, None, SIZE[0] / SIZE[1])
        session.set_overlay("sparsity")
        session.set_threshold(0.05)
        session.set_units("outgoing")
        session.wait()
        with Renderer(SIZE, multi_samples=4, legend_grows=False) as renderer:
            renderer.draw(session.draw_list)
            renderer.camera = session.camera_for(None, renderer.scene_aspect)
            np.testing.assert_array_equal(pictures(tmp_path / "frames")[-1], renderer.image())
        session.close_session()


def test_an_orbit_turns_and_a_full_turn_comes_back(tmp_path: Path) -> None:
    steps = "[[step]]\nseconds = 0.1\n[[step]]\nseconds = 0.8\norbit = 360\n"
    film(written(tmp_path, steps), tmp_path / "frames")
    shown = [p.astype(int) for p in pictures(tmp_path / "frames")]
    assert np.abs(shown[0] - shown[-1]).mean() < 0.5
    assert np.abs(shown[0] - shown[4]).mean() > 3


def test_a_title_is_written_and_only_in_its_step(tmp_path: Path) -> None:
    steps = '[[step]]\nseconds = 1.0\ntitle = "Hello"\n[[step]]\nseconds = 0.3\n'
    film(written(tmp_path, steps), tmp_path / "frames")
    bar = round(0.085 * SIZE[1])
    bright = [int(p[-bar:].max()) for p in pictures(tmp_path / "frames")]
    assert min(bright[3:7]) > 200
    assert max(bright[-4:]) < 30


def test_a_title_stands_in_a_bar_of_its_own(tmp_path: Path) -> None:
    film(written(tmp_path, '[[step]]\nseconds = 1.0\ntitle = "Hello"\n'), tmp_path / "frames")
    (first, *_, last) = pictures(tmp_path / "frames")
    assert first.shape == last.shape == (SIZE[1], SIZE[0], 3)
    bar = last[-round(0.085 * SIZE[1]) :].astype(int)
    ground = np.abs(bar - (0x0A, 0x0D, 0x13)).max(axis=2) <= 1
    assert ground.mean() == 1.0  # faded out
    middle = pictures(tmp_path / "frames")[5][-round(0.085 * SIZE[1]) :]
    assert 0.02 < (middle.max(axis=2) > 128).mean() < 0.5


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ('open = ["conv_9"]', "step 2: no node called 'conv_9'; did you mean conv_"),
        ('look_at = "hiden"', "did you mean hidden"),
        ('select = "conv_1[8]"', "step 2: no unit"),
        ('overlay = "magnitud"', "did you mean magnitude"),
        ('units = "ded"', "did you mean dead"),
        ('layout = "serpentin"', "did you mean serpentine"),
    ],
)
def test_unknown_names_are_told_before_anything_is_drawn(
    tmp_path: Path, step: str, says: str
) -> None:
    tour = written(tmp_path, f"[[step]]\nseconds = 1\n[[step]]\nseconds = 1\n{step}\n")
    seen: list[int] = []
    with pytest.raises(NeuronautError) as caught:
        film(tour, tmp_path / "film.gif", lambda done, _: seen.append(done))
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{tour}: ")
    assert seen == []
    assert [p.name for p in tmp_path.iterdir()] == ["tour.toml"]


def test_a_network_that_is_missing_is_named(tmp_path: Path) -> None:
    tour = tmp_path / "t.toml"
    tour.write_text('network = "none.keras"\n[[step]]\nseconds = 1\n')
    with pytest.raises(NeuronautError, match=r"none\.keras: "):
        film(tour, tmp_path / "film.gif")
    tour.write_text("[[step]]\nseconds = 1\n")
    with pytest.raises(NeuronautError, match="network is missing"):
        film(tour, tmp_path / "film.gif")


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.gif", "frames"])
def test_a_stop_half_way_leaves_nothing(tmp_path: Path, name: str) -> None:
    def stop(done: int, _: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        film(written(tmp_path), tmp_path / name, stop)
    assert [p.name for p in tmp_path.iterdir()] == ["tour.toml"]


def test_a_session_lends_its_model_and_view_and_keeps_both(tmp_path: Path) -> None:
    steps = '[[step]]\nseconds = 0.2\nopen = ["digit"]\n'
    with OpenModel.open(str(NETWORK)) as model:
        session = Session(model)
        session.open("hidden")
        before = session.state
        tour = tmp_path / "bare.toml"
        tour.write_text(f"size = {list(SIZE)}\nfps = 10\n{steps}")
        assert film(tour, tmp_path / "frames", session=session) == 2
        assert session.state == before
        session.wait()  # the model is still open
        session.close_session()


@pytest.mark.parametrize("path", sorted(TOURS.glob("*.toml")), ids=lambda p: p.stem)
def test_the_example_tours_are_sound(path: Path) -> None:
    assert 5 <= load_tour(path).seconds <= 60
