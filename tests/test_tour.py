"""Tour files: what is read, what is refused, and with which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.errors import NeuronautError
from explorer.films.tour import load_tour
from explorer.viewing.view_state import Camera

STEP = "[[step]]\nseconds = 1.0\n"
HEAD = 'network = "x.keras"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "tour.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_that_a_tour_can_say_is_read(tmp_path: Path) -> None:
    tour = load_tour(
        written(
            tmp_path,
            """
            network = "nets/x.keras"
            size = [640, 360]
            fps = 25
            overlay = "signed"
            units = "dead"
            layout = "layered"
            theme = "light"
            [[step]]
            seconds = 2
            threshold = 0.5
            open = ["a", "b/c"]
            close = ["d"]
            select = "a"
            look_at = "a"
            orbit = -30
            zoom = 1.5
            title = "Σw² × 3"
            [[step]]
            seconds = 0.5
            camera = {position = [0, 1, 10], focal_point = [0, 0, 0], view_angle = 45}
            """,
        )
    )
    assert tour.network == tmp_path / "nets/x.keras"
    assert (tour.size, tour.fps, tour.overlay, tour.layout, tour.theme) == (
        (640, 360), 25, "signed", "layered", "light",
    )  # fmt: skip
    first, second = tour.steps
    assert (tour.units, tour.threshold, first.units, first.threshold) == ("dead", None, None, 0.5)
    assert (first.open, first.close, first.select) == (("a", "b/c"), ("d",), "a")
    assert (first.look_at, first.orbit, first.zoom, first.title) == ("a", -30.0, 1.5, "Σw² × 3")
    assert second.camera == Camera((0.0, 1.0, 10.0), (0.0, 0.0, 0.0), view_angle=45.0)
    assert tour.seconds == 2.5
    assert tour.frames == 62


def test_roundings_of_single_steps_do_not_add_up(tmp_path: Path) -> None:
    tour = load_tour(written(tmp_path, HEAD + "fps = 10\n" + "[[step]]\nseconds = 0.14\n" * 50))
    ends = tour.last_frames()
    assert ends[-1] == tour.frames == 70
    assert all(0 <= b - a <= 2 for a, b in zip([0, *ends], ends, strict=False))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (HEAD, "at least one [[step]]"),
        (HEAD + "step = []", "at least one [[step]]"),
        (HEAD + "step = 3", "at least one [[step]]"),
        (HEAD + "sise = [10, 10]\n" + STEP, "did you mean size"),
        (HEAD + STEP + "lookat = 'a'", "did you mean look_at"),
        (HEAD + "[[step]]\nseconds = -1.0", "step 1: seconds must be a number from 0"),
        (HEAD + "[[step]]\nseconds = nan", "step 1: seconds must be a number"),
        (HEAD + "[[step]]\nseconds = inf", "step 1: seconds must be a number"),
        (HEAD + "[[step]]\nseconds = true", "step 1: seconds must be a number"),
        (HEAD + "[[step]]\nseconds = '1'", "step 1: seconds must be a number"),
        (HEAD + "[[step]]\ntitle = 'x'", "step 1: seconds is missing"),
        (HEAD + "[[step]]\nseconds = 0", "take no time"),
        (HEAD + "[[step]]\nseconds = 400.0\n" * 2, "too long"),
        (HEAD + STEP + STEP + "open = 'a'", "step 2: open must be a list"),
        (HEAD + STEP + "open = [1]", "open must be a list"),
        (HEAD + STEP + "open_all = 'a'", "open_all must be a list"),
        (HEAD + STEP + "depth = -1", "depth must be a whole number from 0"),
        (HEAD + STEP + "depth = true", "depth must be a whole number"),
        (HEAD + STEP + "depth = 99", "depth must be a whole number"),
        (HEAD + STEP + "focus = 3", "focus must be one line"),
        (HEAD + STEP + "theme = 'drak'", "did you mean dark"),
        (HEAD + STEP + "orbit = 1e9", "orbit must be a number"),
        (HEAD + STEP + "zoom = 0", "zoom must be a number"),
        (HEAD + STEP + "title = 'a\\u001bb'", "title must be"),
        (HEAD + STEP + 'title = "a\\u001bb"', "title must be one line"),
        (HEAD + STEP + "look_at = 'a'\ncamera = {}", "exclude each other"),
        (HEAD + STEP + "camera = {position = [0, 0, 0]}", "camera must have"),
        (HEAD + STEP + "camera = {position = [0, 0], focal_point = [0, 0, 1]}", "camera must have"),
        (
            HEAD + STEP + "camera = {position = [0, 9, 0], focal_point = [0, 0, 0]}",
            "camera looks nowhere",
        ),
        (HEAD + "size = [8193, 100]\n" + STEP, "size must be"),
        (HEAD + "size = [640.0, 360.0]\n" + STEP, "size must be"),
        (HEAD + "size = [0, 360]\n" + STEP, "size must be"),
        (HEAD + "size = 7\n" + STEP, "size must be"),
        (HEAD + "threshold = -1\n" + STEP, "threshold must be"),
        (HEAD + STEP + "units = 3", "units must be"),
        (HEAD + "fps = 0\n" + STEP, "fps must be"),
        (HEAD + "fps = 29.97\n" + STEP, "fps must be"),
        ("network = 3\n" + STEP, "network must be"),
        ("network = [[[", "not a tour"),
        ("a = " + "[" * 5000, "not a tour"),
        ("\x00", "not a tour"),
    ],
)
def test_a_wrong_tour_is_refused_in_one_line_that_names_file_and_reason(
    tmp_path: Path, text: str, says: str
) -> None:
    path = written(tmp_path, text.replace("title = 'a\\u001bb'", "title = 7"))
    with pytest.raises(NeuronautError) as caught:
        load_tour(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert says in line
    assert "\n" not in line
    assert len(line) < len(str(path)) + 250


def test_a_missing_tour_a_folder_and_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    for name, says in [
        ("none.toml", "no such file"),
        ("", "cannot be read"),
        ("bytes.toml", "UTF"),
    ]:
        with pytest.raises(NeuronautError, match=says):
            load_tour(tmp_path / name)
