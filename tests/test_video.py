"""Film files, read back with PyAV and Pillow."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from explorer.errors import NeuronautError
from explorer.films.video import check_target, frame_name, open_writer

SIZE = (96, 64)


def picture(number: int) -> NDArray[np.uint8]:
    """A red bar that moves over a blue ground with a green corner."""
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[..., 2] = 180
    image[:32, :32] = (20, 200, 40)
    image[40:60, 8 * number % 80 : 8 * number % 80 + 16] = (230, 30, 30)
    return image


def write(path: Path, count: int, fps: int) -> None:
    with open_writer(path, SIZE, fps) as writer:
        for i in range(count):
            writer.add(picture(i))


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".webm", "vp9")])
def test_a_video_has_the_size_the_length_the_rate_and_the_colours(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    import av

    path = tmp_path / f"film{suffix}"
    write(path, 25, 25)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name in (codec, f"libvpx-{codec}")
        assert (stream.codec_context.width, stream.codec_context.height) == SIZE
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 25
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert container.duration is not None
        assert abs(container.duration / 1e6 - 1.0) < 0.02
    assert len(frames) == 25
    for i in (0, 7, 24):
        off = np.abs(frames[i].astype(int) - picture(i))
        assert off.mean() < 6
        assert off[8:24, 8:24].mean() < 8
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("fps", [10, 24, 30])
def test_a_gif_has_all_frames_and_the_right_length(tmp_path: Path, fps: int) -> None:
    path = tmp_path / "film.gif"
    write(path, 24, fps)
    with Image.open(path) as gif:
        frames = [(f.convert("RGB"), f.info["duration"]) for f in ImageSequence.Iterator(gif)]
        assert gif.size == SIZE
        assert gif.info["loop"] == 0
    assert len(frames) == 24
    assert sum(d for _, d in frames) == pytest.approx(24_000 / fps, abs=10)
    for i in (0, 5, 23):
        np.testing.assert_allclose(np.asarray(frames[i][0]), picture(i), atol=3)


def test_a_gif_of_a_still_picture_keeps_its_length(tmp_path: Path) -> None:
    path = tmp_path / "still.gif"
    with open_writer(path, SIZE, 10) as writer:
        for _ in range(5):
            writer.add(picture(0))
    with Image.open(path) as gif:
        frames = [(f.convert("RGB"), f.info["duration"]) for f in ImageSequence.Iterator(gif)]
    assert [d for _, d in frames] == [100] * 5
    np.testing.assert_allclose(np.asarray(frames[4][0]), picture(0), atol=3)


def test_a_folder_holds_the_very_pictures(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    write(path, 12, 30)
    assert sorted(p.name for p in path.iterdir()) == [frame_name(i) for i in range(12)]
    for i in range(12):
        np.testing.assert_array_equal(np.asarray(Image.open(path / frame_name(i))), picture(i))
    write(path, 3, 30)  # again, shorter: nothing of the earlier film stays
    assert sorted(p.name for p in path.iterdir()) == [frame_name(i) for i in range(3)]
    assert [p.name for p in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize("name", ["f.mp4", "f.webm", "f.gif", "frames"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_a_stop_leaves_nothing_new_and_keeps_what_was_there(
    tmp_path: Path, name: str, stop: type[BaseException]
) -> None:
    path = tmp_path / name
    write(path, 2, 10)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(stop), open_writer(path, SIZE, 10) as writer:  # noqa: PT012
        writer.add(picture(5))
        raise stop
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_stop_before_the_first_picture_leaves_nothing(tmp_path: Path) -> None:
    for name in ("f.mp4", "f.webm", "f.gif", "frames"):
        with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / name, SIZE, 10):
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "size", "fps", "says"),
    [
        ("f.avi", SIZE, 30, "use .mp4, .webm, .gif"),
        ("f.mp4", (95, 64), 30, "must be even"),
        ("f.gif", SIZE, 60, "at most 50"),
        ("none/f.mp4", SIZE, 30, "there is no folder"),
        ("full", SIZE, 30, "holds more than"),
    ],
)
def test_a_target_of_no_use_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, size: tuple[int, int], fps: int, says: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    with pytest.raises(NeuronautError, match=says), open_writer(tmp_path / name, size, fps):
        pass
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["full", "thesis.txt"]


def test_without_pyav_the_command_that_mends_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NeuronautError, match=r"pip install neuronaut\[film\]"):
        check_target(tmp_path / "f.mp4", SIZE, 30)
    assert check_target(tmp_path / "f.gif", SIZE, 30) == ".gif"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["f.mp4", "f.gif"])
def test_a_full_disk_is_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from explorer.films import video

    real = video._writer
    full = lambda path, *rest: real(Path("/dev/full"), *rest)  # noqa: E731
    monkeypatch.setattr(video, "_writer", full)
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    with (  # noqa: PT012
        pytest.raises(NeuronautError, match="cannot be written: No space left"),
        open_writer(tmp_path / name, SIZE, 30) as writer,
    ):
        for i in range(200):
            writer.add(np.roll(noise, i * 7, axis=0))
    assert list(tmp_path.iterdir()) == []
