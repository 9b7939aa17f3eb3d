"""The window's panel: figures against numpy, numbers against h5py, reading in threads."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from renderer_scenes import vgg, whole

from explorer.drawing.color_scale import count
from explorer.drawing.themes import THEMES
from explorer.errors import ModelError
from explorer.open_model import OpenModel
from explorer.panel import paper
from explorer.panel import picture as panel_picture
from explorer.panel import reader as panel_reader
from explorer.panel.figures import histogram, ramp_strip
from explorer.panel.reader import Details, PanelReader
from explorer.panel.text import cut, cut_front, telling_config, wrap
from explorer.panel.weight_summary import Stopped
from explorer.renderer import Renderer
from explorer.renderer.text import font

DIGITS = Path(__file__).resolve().parent.parent / "scenes" / "digits.keras"
SIZE = (1600, 900)


@pytest.fixture(scope="module")
def model() -> Iterator[OpenModel]:
    with OpenModel.open(str(DIGITS)) as opened:
        yield opened


@pytest.fixture
def reader(model) -> Iterator[PanelReader]:
    made = PanelReader(model)
    yield made
    made.close()


@pytest.fixture(scope="module")
def stored() -> dict[tuple[int, ...], np.ndarray]:
    """The file's weights by their shape, read by h5py."""
    found = {}
    with zipfile.ZipFile(DIGITS) as archive:
        data = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(data) as file:
        file.visititems(
            lambda _, item: found.update({item.shape: item[()]})
            if isinstance(item, h5py.Dataset) else None
        )  # fmt: skip
    return found


def settled(reader: PanelReader) -> Details:
    """The details when all is read."""
    for thread in reader._threads:
        thread.join(30)
    assert reader.details is not None
    assert not reader.details.reading
    return reader.details


@pytest.fixture
def words(monkeypatch) -> list[str]:
    """All texts that are drawn."""
    drawn: list[str] = []
    usual = paper.Paper.text

    def text(self, x, text, *rest, **more) -> None:
        drawn.append(text)
        usual(self, x, text, *rest, **more)

    monkeypatch.setattr(paper.Paper, "text", text)
    return drawn


# -- figures -----------------------------------------------------------------------------------


@given(
    counts=hnp.arrays(np.int64, st.integers(1, 64), elements=st.integers(0, 10**12)),
    width=st.integers(64, 400), height=st.integers(2, 120),
)  # fmt: skip
def test_bars_are_as_high_as_their_counts(counts, width, height) -> None:
    pixels = np.asarray(histogram(counts, (width, height), (1, 2, 3)))
    assert pixels.shape == (height, width, 4)
    tall = (pixels[..., 3] > 0).sum(axis=0)
    for bin_, value in enumerate(counts.tolist()):
        columns = [x for x in range(width) if x * len(counts) // width == bin_]
        assert columns
        exact = height * value / max(counts.max(), 1)
        for x in columns:
            assert abs(tall[x] - exact) <= (1 if value else 0)
            assert (tall[x] > 0) == (value > 0)
    # Bars stand on the ground: nothing empty below something full.
    assert (np.diff((pixels[..., 3] > 0).astype(int), axis=0) >= 0).all()


def test_the_colour_scale_goes_from_end_to_end() -> None:
    ramp = THEMES["dark"].sequential
    strip = np.asarray(ramp_strip(ramp, (300, 5)))
    assert strip.shape == (5, 300, 3)
    assert (strip[:, 0] == ramp[0]).all()
    assert (strip[:, -1] == ramp[-1]).all()


# -- text --------------------------------------------------------------------------------------


@given(st.text(max_size=80), st.integers(20, 300))
def test_cut_text_fits_and_keeps_its_beginning_or_end(text, width) -> None:
    face = font(12)
    for shown in (cut(text, 12, width), cut_front(text, 12, width), *wrap(text, 12, width, 2)):
        assert face.getlength(shown) <= width
    assert len(wrap(text, 12, width, 2)) <= 2
    if text.isprintable() and face.getlength(text) <= width:
        assert cut(text, 12, width) == cut_front(text, 12, width) == text


def test_cut_keeps_as_much_as_fits() -> None:
    text = "a_long_name_of_a_layer_in_a_deep_network"
    shown = cut(text, 12, 120)
    assert shown.endswith("…")
    assert text.startswith(shown[:-1])
    assert font(12).getlength(text[: len(shown)] + "…") > 120
    assert cut_front(text, 12, 120).startswith("…")
    assert text.endswith(cut_front(text, 12, 120)[1:])


def test_configuration_tells_the_most_first_and_nothing_unset() -> None:
    rows = [("name", "c"), ("kernel_initializer", "GlorotUniform"), ("odd", "7"),
            ("bias_regularizer", "none"), ("strides", "[2, 2]"), ("filters", "8")]  # fmt: skip
    assert telling_config(rows) == [
        ("filters", "8"), ("strides", "[2, 2]"), ("odd", "7"),
        ("kernel_initializer", "GlorotUniform"),
    ]  # fmt: skip


# -- the whole panel ---------------------------------------------------------------------------


def test_a_layers_numbers_are_the_files(reader, words, stored) -> None:
    reader.show("hidden")
    details = settled(reader)
    kernel = stored[(256, 32)].astype(np.float64)
    summary = details.statistics["summary"]
    np.testing.assert_array_equal(summary.counts, np.histogram(kernel, 64)[0])
    panel_picture.panel_picture(details, SIZE, "dark")
    for value in (kernel.min(), kernel.max(), kernel.mean(), kernel.std()):
        assert f"{value:.6g}" in words
    assert {"hidden", "Dense", "kernel", "bias", "256 × 32", "float32", "1 of 2"} <= set(words)
    assert count(256 * 32 + 32) in words  # parameters
    assert {"zeros", "not finite", "activation", "relu"} <= set(words)


def test_stepping_goes_round_the_weights(reader, words, stored) -> None:
    reader.show("hidden")
    assert reader.step(1)
    panel_picture.panel_picture(settled(reader), SIZE, "dark")
    bias = stored[(32,)].astype(np.float64)
    assert "2 of 2" in words
    assert f"{bias.std():.6g}" in words
    assert reader.step(1)
    assert settled(reader).weight == 0
    assert reader.step(-1)
    assert settled(reader).weight == 1


def test_a_unit_shows_its_strongest_incoming_weights(reader, words, stored) -> None:
    reader.show("digit[3]")
    details = settled(reader)
    panel_picture.panel_picture(details, SIZE, "light")
    column = stored[(32, 10)][:, 3].astype(np.float64)
    strongest = np.argsort(-np.abs(column))[:10]
    assert [row["unit"] for row in details.incoming] == strongest.tolist()
    shown = [w for w in words if w.startswith("hidden[")]
    assert shown == [f"hidden[{unit}]" for unit in strongest]
    assert {f"{column[unit]:.6g}" for unit in strongest} <= set(words)


def test_a_group_lists_what_is_inside(reader, words) -> None:
    reader.show("conv_2~stage")
    assert not reader.step(1)
    panel_picture.panel_picture(settled(reader), SIZE, "dark")
    assert {"Inside", "conv_2", "pool", "flatten"} <= set(words)


@pytest.mark.parametrize("size", [(1600, 900), (640, 360), (300, 200), (40, 30), (3840, 2160)])
@pytest.mark.parametrize("path", ["hidden", "digit[3]", "conv_2~stage", "pool"])
def test_the_picture_is_as_high_as_the_window_and_never_wider_than_half(reader, path, size) -> None:
    reader.show(path)
    details = settled(reader)
    pictures = [panel_picture.panel_picture(details, size, theme) for theme in ("dark", "light")]
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape[0] == size[1]
        assert picture.shape[1] <= size[0] / 2
    assert pictures[0].shape[1] == round(340 * size[1] / 900) or size[1] < 720
    assert not np.array_equal(*pictures)


def test_nothing_is_drawn_over_the_line_of_keys(reader) -> None:
    """Whatever the height, rows end above the foot."""
    for path in ("hidden", "digit[3]", "conv_2~stage"):
        reader.show(path)
        details = settled(reader)
        for height in range(200, 1000, 37):
            picture = panel_picture.panel_picture(details, (1600, height), "dark")
            scale = max(height / 900, 0.8)
            low = height - round(34 * scale)
            band = picture[low + round(2 * scale) : height - round(26 * scale), 10:]
            assert (band == band[0, 0]).all(), (path, height)


def test_pictures_change_with_the_selection_and_with_the_weight(reader) -> None:
    pictures = []
    for path, steps in (("hidden", 0), ("hidden", 1), ("digit", 0), ("hidden[1]", 0)):
        reader.show(path)
        for _ in range(steps):
            reader.step(1)
        picture = panel_picture.panel_picture(settled(reader), SIZE, "dark")
        assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 100
        pictures.append(picture.tobytes())
    assert len(set(pictures)) == 4


# -- reading -----------------------------------------------------------------------------------


def test_a_later_selection_ends_an_earlier_reading(reader, monkeypatch, words) -> None:
    entered, ended = threading.Event(), threading.Event()
    usual = panel_reader.weight_statistics

    def slow(model, path, name, stop, told):
        if path != "hidden":
            return usual(model, path, name, stop, told)
        entered.set()
        while not stop():
            threading.Event().wait(0.001)
        ended.set()
        raise Stopped

    monkeypatch.setattr(panel_reader, "weight_statistics", slow)
    reader.show("hidden")  # returns although the reading never ends by itself
    assert entered.wait(10)
    assert reader.details.reading
    panel_picture.panel_picture(reader.details, SIZE, "dark")
    assert "reading …" in words
    assert not ended.is_set()
    reader.show("digit")
    assert ended.wait(10)
    details = settled(reader)
    assert details.panel["path"] == "digit"
    assert details.statistics["shape"] == (32, 10)


def test_an_outdated_search_changes_nothing(reader, monkeypatch) -> None:
    go, usual = threading.Event(), panel_reader.incoming

    def slow(model, path):
        if path == "hidden[1]":
            assert go.wait(20)
        return usual(model, path)

    monkeypatch.setattr(panel_reader, "incoming", slow)
    reader.show("hidden[1]")
    reader.show("hidden[2]")
    assert reader.details.reading
    go.set()
    details = settled(reader)
    assert details.panel["path"] == "hidden[2]"
    assert {row["target_unit"] for row in details.incoming} == {2}


def test_a_reading_that_ends_too_late_changes_nothing(reader, monkeypatch) -> None:
    go, usual = threading.Event(), panel_reader.weight_statistics

    def slow(model, path, name, stop, told):
        if path == "hidden":
            assert go.wait(20)
        return usual(model, path, name)

    monkeypatch.setattr(panel_reader, "weight_statistics", slow)
    reader.show("hidden")
    late = reader._threads[0]
    reader.show("digit")
    reader._threads[-1].join(20)
    go.set()
    late.join(20)
    assert reader.details.panel["path"] == "digit"
    assert reader.details.statistics["shape"] == (32, 10)


@pytest.mark.parametrize("error", [ModelError("x.keras", "was changed"), ValueError("odd")])
def test_a_failure_is_told_in_the_panel(reader, monkeypatch, words, error) -> None:
    def fails(*_):
        raise error

    monkeypatch.setattr(panel_reader, "weight_statistics", fails)
    reader.show("hidden")
    details = settled(reader)
    assert str(error) in details.error
    panel_picture.panel_picture(details, SIZE, "dark")
    assert str(error).split()[-1] in " ".join(words)


# -- in the renderer ---------------------------------------------------------------------------


def test_the_panel_lies_at_the_right_edge_and_all_else_keeps_clear() -> None:
    panel = np.zeros((450, 170, 4), np.uint8)
    panel[...] = np.random.default_rng(3).integers(0, 256, panel.shape)
    panel[..., 3] = 255
    with Renderer((800, 450), multi_samples=0) as renderer:
        draw_list = vgg()
        renderer.draw(draw_list)
        renderer.camera = whole(draw_list, (800, 450))
        before = renderer.image()
        under = [p for p in renderer.placed_labels() if p.right > 630]
        assert under
        target = under[0]
        x, y = (target.left + target.right) / 2, (target.top + target.bottom) / 2
        renderer.set_panel(panel)
        image = renderer.image()
        assert renderer.free_width == 630
        np.testing.assert_array_equal(image[:, 630:], panel[..., :3])
        assert renderer.placed_labels()
        assert all(p.right <= 630 for p in renderer.placed_labels())
        hidden = [(renderer.pick(px, py).node, renderer.pick(px, py).edge)
                  for px in range(630, 800, 20) for py in range(0, 450, 20)]  # fmt: skip
        assert set(hidden) == {(None, None)}
        renderer.set_panel(None)
        np.testing.assert_array_equal(renderer.image(), before)
        assert renderer.free_width == 800
        assert renderer.pick(max(x, 632), y).node is not None
