"""The Python face refuses what would do harm, and leaves a view as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from explorer.bundled import scenes_folder
from explorer.commands.opening import load
from explorer.errors import NeuronautError
from explorer.films import picture
from explorer.view import open_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(scenes_folder() / "digits.keras", tmp_path / "net.keras"))


def scene(model: Path, **view: object) -> Path:
    path = model.with_name("view.json")
    path.write_text(json.dumps({"version": 1, "network": model.name, "view": view}))
    return path


def test_a_scene_never_replaces_another_file_by_its_suffix(model: Path) -> None:
    other = Path(shutil.copy(model, model.with_name("other.keras")))
    with open_network(model) as view:
        for wrong in (other, model.with_name("scene"), model):
            with pytest.raises(NeuronautError, match=r"written as \.json"):
                view.save_scene(wrong)
        view.save_scene(model.with_name("mine.json"))
    assert other.read_bytes() == model.read_bytes()
    assert not model.with_name("scene").exists()


def test_a_picture_is_png_and_leaves_the_aspect(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(picture, "save_picture", lambda s, p, size: drawn.append(s.aspect))
    with open_network(model) as view:
        before, boxes = view.session.aspect, view.session.placed.boxes.centers
        with pytest.raises(NeuronautError, match=r"x\.jpg: a picture is written as \.png"):
            view.shot(model.with_name("x.jpg"))
        with pytest.raises(NeuronautError, match="640 x 0"):
            view.shot(model.with_name("x.png"), (640, 0))
        view.shot(model.with_name("x.png"), (300, 900))
        assert drawn == [300 / 900]
        assert view.session.aspect == before
        assert (view.session.placed.boxes.centers == boxes).all()


def test_a_scene_opens_alike_from_python_and_the_command_line(model: Path) -> None:
    path = scene(model, theme="light")
    with open_network(path) as view:
        assert view.state.theme == "light"
        assert load(str(path)) == (str(model), view.state)
    assert load(str(model)) == (str(model), None)


@pytest.mark.parametrize(
    ("view", "says"),
    [
        ({"layout": "nope"}, "no layout called 'nope'"),
        ({"overlay": "nope"}, "no overlay called 'nope'"),
        ({"theme": "nope"}, "theme must be"),
    ],
)
@pytest.mark.parametrize("face", [open_network, lambda path: load(str(path))])
def test_a_fault_of_a_scene_names_the_scene(model: Path, face, view, says: str) -> None:
    path = scene(model, **view)
    with pytest.raises(NeuronautError) as caught:
        face(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize("face", [open_network, lambda path: load(str(path))])
def test_a_scene_without_its_network_says_so(model: Path, face) -> None:
    path = scene(model)
    model.unlink()
    with pytest.raises(NeuronautError, match=r"view\.json: its network 'net\.keras' is not in"):
        face(path)
    path.unlink()
    with pytest.raises(NeuronautError, match=r"view\.json: no such file"):
        face(path)


@pytest.mark.parametrize("top", [0, -3, 2.5, True])
def test_no_connections_cannot_be_asked_for(top) -> None:
    with (
        open_network(scenes_folder() / "digits.keras") as view,
        pytest.raises(NeuronautError, match=r"^[^\n]*strongest connections[^\n]*$"),
    ):
        view.edges("hidden", "digit", top=top)


def test_reading_can_be_watched_stopped_and_taken_up_again(model: Path) -> None:
    with open_network(model) as view:
        assert view.pause_reading() is view
        assert view.reading.state == "paused"
        assert 0 <= view.reading.done <= view.reading.total
        assert view.resume_reading() is view
        assert view.reading.state != "paused"
