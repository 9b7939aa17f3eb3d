"""The command line is a contract: what it prints, and how it says no."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from explorer.bundled import scenes_folder

DIGITS = str(scenes_folder() / "digits.keras")
SCENE = str(scenes_folder() / "digits.json")


def neuronaut(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "explorer", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        check=False,
    )


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2 and one line on stderr that holds these words."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert all(word in lines[0] for word in words), lines[0]
    assert done.stdout == ""


def test_info_json_keeps_its_shape():
    info = json.loads(neuronaut("info", DIGITS, "--json").stdout)
    model = keras.saving.load_model(DIGITS)
    assert info["name"] == "digits"
    assert info["format"] == "keras"
    assert info["parameters"] == model.count_params()
    rows = {row["path"]: row for row in info["layers"]}
    for layer in model.layers:
        row = rows[layer.name]
        assert row["kind"] == type(layer).__name__
        assert row["output_shape"] == list(layer.output.shape)
        assert row["parameters"] == layer.count_params()
        assert [tuple(w["shape"]) for w in row["weights"]] == [w.shape for w in layer.weights]
        assert {w["dtype"] for w in row["weights"]} <= {"float32"}
    pairs = [(k["from"], k["to"]) for k in info["links"]]
    names = [row["path"] for row in info["layers"]]
    assert pairs == list(itertools.pairwise(names))
    assert {k["origin"] for k in info["links"]} == {"recorded"}


def test_info_for_people_names_every_layer():
    text = neuronaut("info", DIGITS).stdout
    assert "hidden" in text
    assert "Dense" in text


@pytest.mark.parametrize("source", ["flatten", "pool", "conv_2"])
def test_edges_json_equals_keras(source):
    done = neuronaut("edges", DIGITS, "--from", source, "--to", "hidden", "--top", "7", "--json")
    found = json.loads(done.stdout)
    kernel = keras.saving.load_model(DIGITS).get_layer("hidden").get_weights()[0].astype(float)
    parts = kernel[None] if source == "flatten" else kernel.reshape(-1, 16, 32)
    magnitude = np.sqrt((parts**2).mean(axis=0))
    order = np.argsort(-magnitude, axis=None)[:7]
    assert found["total_connections"] == magnitude.size
    assert found["total_weights"] == kernel.size
    for row, (i, j) in zip(
        found["edges"], zip(*np.unravel_index(order, magnitude.shape), strict=True), strict=True
    ):
        assert (row["from_unit"], row["to_unit"]) == (i, j)
        assert row["magnitude"] == pytest.approx(magnitude[i, j], rel=1e-9)
        assert row["signed_mean"] == pytest.approx(parts[:, i, j].mean(), rel=1e-6)
        assert row["weights"] == len(parts)
    shown = sum(r["magnitude"] ** 2 * r["weights"] for r in found["edges"])
    share = shown / (kernel**2).sum()
    assert found["shown_share_of_sum_sq"] == pytest.approx(share, rel=1e-6)


def test_edges_that_hold_half():
    done = neuronaut("edges", DIGITS, "--from", "flatten", "--to", "hidden", "--share", "0.5",
                     "--json")  # fmt: skip
    found = json.loads(done.stdout)
    kernel = keras.saving.load_model(DIGITS).get_layer("hidden").get_weights()[0].astype(float)
    held = np.cumsum(np.sort(kernel.ravel() ** 2)[::-1])
    assert len(found["edges"]) == np.searchsorted(held, 0.5 * held[-1]) + 1
    share = held[len(found["edges"]) - 1] / held[-1]
    assert found["shown_share_of_sum_sq"] == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize(
    "options", [["--share", "1.5"], ["--share", "nan"], ["--share", "0.5", "--top", "3"]]
)
def test_edges_with_no_share_is_one_line(options):
    done = neuronaut("edges", DIGITS, "--from", "flatten", "--to", "hidden", *options)
    refused(done, "share")


def test_edges_of_one_unit():
    done = neuronaut("edges", DIGITS, "--from", "hidden[3]", "--to", "digit", "--json")
    found = json.loads(done.stdout)
    assert {row["from_unit"] for row in found["edges"]} == {3}
    assert found["total_connections"] == 10


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--open-all", "Conv9"), "no kind of node called 'Conv9'; did you mean Conv2D?"),
        (("--depth", "65"), "depth 65 is not between 0 and 64"),
        (("--focus", "hiden"), "no node called 'hiden'; did you mean hidden?"),
    ],
)
def test_shot_tells_what_cannot_be_opened_or_in_focus(tmp_path, options, says):
    done = neuronaut("shot", DIGITS, "-o", str(tmp_path / "x.png"), *options)
    refused(done, f"neuronaut: {says}")


def test_shot_opens_to_a_depth_and_all_of_a_kind(tmp_path):
    options = ("--depth", "0", "--open-all", "Dense", "--focus", "digit", "--size", "640x360")
    done = neuronaut("shot", DIGITS, "-o", str(tmp_path / "x.png"), *options)
    assert done.stderr == ""
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.size == (640, 360)


def test_shot_writes_a_picture_of_the_asked_size(tmp_path):
    done = neuronaut(
        "shot",
        SCENE,
        "-o",
        str(tmp_path / "x.png"),
        "--size",
        "640x360",
        "--open",
        "hidden",
        "--overlay",
        "signed",
        "--theme",
        "light",
    )
    assert done.returncode == 0, done.stderr
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    assert picture.shape == (360, 640, 3)
    assert picture.std() > 10
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_shot_colours_boxes_and_counts_up_to_a_threshold(tmp_path):
    plain, counted = str(tmp_path / "plain.png"), str(tmp_path / "counted.png")
    options = ("--overlay", "sparsity", "--threshold", "0.05", "--units", "incoming")
    assert neuronaut("shot", DIGITS, "-o", plain).returncode == 0
    done = neuronaut("shot", DIGITS, "-o", counted, *options)
    assert done.stderr == ""
    before, after = (np.asarray(Image.open(p)).astype(int) for p in (plain, counted))
    assert np.abs(before - after).mean() > 2


def test_wrong_input_gets_one_line(tmp_path):
    (tmp_path / "empty.keras").touch()
    (tmp_path / "text.keras").write_text("not a model\n" * 30)
    picture = str(tmp_path / "x.png")
    refused(neuronaut("info", str(tmp_path / "none.keras")), "none.keras", "no such file")
    refused(neuronaut("info", str(tmp_path)), str(tmp_path))
    refused(neuronaut("info", str(tmp_path / "empty.keras")), "empty.keras", "empty")
    refused(neuronaut("info", str(tmp_path / "text.keras")), "text.keras")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--open", "hiden"), "hiden", "hidden")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--layout", "spiral"), "layout", "spiral")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--scale", "cubic"), "scale", "cubic", "rank")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--range", "0.2:0.1"), "0.2:0.1", "LOW:HIGH")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--range", "5"), "'5'", "LOW:HIGH")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--units", "ded"), "'ded'", "dead")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--threshold", "nan"), "nan", "threshold")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--size", "10x10"), "10x10")
    refused(neuronaut("shot", DIGITS, "-o", picture, "--size", "1e9x5"), "1e9x5")
    refused(neuronaut("shot", DIGITS, "-o", str(tmp_path / "x.jpg")), ".png")
    refused(neuronaut("shot", DIGITS, "-o", str(tmp_path / "no" / "x.png")), "does not exist")
    refused(neuronaut("edges", DIGITS, "--from", "hiden", "--to", "digit"), "hidden")
    refused(neuronaut("edges", DIGITS, "--from", "hidden"), "--to")
    refused(neuronaut("nonsense"), "nonsense")
    assert not (tmp_path / "x.png").exists()


def test_info_imports_no_framework_and_no_renderer():
    code = (
        "import sys; sys.argv = ['neuronaut', 'info', sys.argv[1]]\n"
        "from explorer.__main__ import app\n"
        "app(standalone_mode=False)\n"
        "heavy = {'tensorflow', 'keras', 'vtk', 'vtkmodules', 'pyvista', 'trame', 'h5py'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, DIGITS], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_a_closed_pipe_ends_what_is_printed_and_never_the_server() -> None:
    # The reader goes before a word is printed.
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "explorer", "info", DIGITS, "--json"],
        stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.stderr == b""
    process = subprocess.Popen(
        [sys.executable, "-m", "explorer", "serve", DIGITS, "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split(" at ")[1].strip()
        # What the system sends to a process that writes to a browser that has gone.
        process.send_signal(signal.SIGPIPE)
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.status == 200
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (0, 130), errors


def test_weights_are_written_exactly_and_a_wrong_wish_is_one_line(tmp_path):
    kernel = keras.saving.load_model(DIGITS).get_layer("hidden").get_weights()[0].T
    made = tmp_path / "hidden.npy"
    done = neuronaut("weights", DIGITS, "--node", "hidden", "--rows", "3:9", "-o", str(made))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{made}: 6 × 256 float32\n"
    np.testing.assert_array_equal(np.load(made), kernel[3:9])
    other = tmp_path / "no.npy"
    wish = ("weights", DIGITS, "-o", str(other))
    refused(neuronaut(*wish, "--node", "hiden"), "hiden", "did you mean")
    refused(neuronaut(*wish, "--node", "hidden", "--rows", "9:3"), "9:3", "32 out units")
    refused(neuronaut(*wish, "--node", "hidden", "--columns", "1:x"), "--columns", "'1:x'")
    refused(neuronaut(*wish, "--node", "hidden", "--weight", "gamma"), "gamma", "bias")
    refused(neuronaut("weights", DIGITS, "--node", "hidden", "-o", "x.txt"), ".npy or .csv")
    assert not other.exists()
