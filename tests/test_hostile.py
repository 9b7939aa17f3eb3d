"""Every bad file gets one clear line that names it, soon and in little memory."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers as kl

from explorer.errors import ModelError
from explorer.formats import open_network

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DATA = Path(__file__).parent / "data"


def refused(path: Path | str) -> str:
    """Open a bad file; check the error's form and speed; its reason."""
    start = time.monotonic()
    with pytest.raises(ModelError) as caught:
        open_network(path)
    assert time.monotonic() - start < 10
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    assert line.isprintable()
    assert len(line) < 700
    return caught.value.reason


@pytest.fixture(scope="module")
def model() -> Any:
    keras.utils.set_random_seed(1)
    x = keras.Input((6,), name="x")
    y = kl.BatchNormalization(name="norm")(kl.Dense(5, name="first")(x))
    return keras.Model(x, kl.Dense(3, name="last")(y), name="tiny")


@pytest.fixture(scope="module")
def good(model: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound file of each format."""
    folder = tmp_path_factory.mktemp("good")
    paths = {suffix: folder / f"good.{suffix}" for suffix in ("keras", "h5")}
    for path in paths.values():
        model.save(path)
        assert open_network(path).parameters == model.count_params()
    return paths


def repack(
    good: Path,
    path: Path,
    config: bytes | None = None,
    weights: bytes | None = None,
    **options: Any,
) -> Path:
    """A copy of a ``.keras`` file with another configuration or other weights."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w", **options) as new:
        for name in old.namelist():
            data = {"config.json": config, "model.weights.h5": weights}.get(name)
            new.writestr(name, old.read(name) if data is None else data)
    return path


def config_of(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def weights_of(path: Path) -> io.BytesIO:
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read("model.weights.h5"))


# --- what is no model file at all


def test_no_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.keras") == "no such file"


def test_folder(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.keras"
    path.touch()
    assert refused(path) == "the file is empty"


def test_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe.keras"
    os.mkfifo(path)
    assert "regular" in refused(path)


def test_device() -> None:
    assert "regular" in refused("/dev/zero")


def test_broken_link(tmp_path: Path) -> None:
    path = tmp_path / "link.keras"
    path.symlink_to(tmp_path / "nowhere")
    assert refused(path) == "no such file"


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.keras"
    path.write_bytes(b"x")

    def deny(*arguments: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    assert "Permission denied" in refused(path)


def test_a_link_to_a_model_is_followed(good: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to(good["keras"])
    assert len(open_network(path).layers) == 4


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "PNG"),
        (b"Dear Sir or Madam,\n", "text"),
        (b"<!doctype html><html><body>404</body></html>", "web page"),
        (b"GGUF" + bytes(40), "GGUF"),
        (b"\x80\x02}q\x00.", "pickle"),
        (bytes(range(256)) * 9, "not a model file"),
        (b"\0", "not a model file"),
    ],
)
def test_foreign(tmp_path: Path, data: bytes, hint: str) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(data)
    assert hint in refused(path)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_truncated(good: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    data = good[suffix].read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for share in (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        path.write_bytes(data[: max(int(len(data) * share), 1)])
        refused(path)
    path.write_bytes(data[:-1])
    refused(path)


# --- archives


def test_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert "not a Keras model" in refused(path)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (b"", "not valid JSON"),
        (b"[1, 2]", "does not describe"),
        (b'"text"', "does not describe"),
        (b'{"class_name": 5, "config": {}}', "does not describe"),
        (b'{"class_name": "Functional", "config": {"layers": [3]}}', "without a class"),
        (b'{"a": 1, "a": 2}', "same key twice"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"7" * 1_000_000 + b"}", "1000000 digits"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
        (b"[" * 500 + b"]" * 500, "nested too deeply"),
        (b'{"a": "\xff\xfe"}', "not valid JSON"),
    ],
)
def test_wrong_config(good: dict[str, Path], tmp_path: Path, config: bytes, hint: str) -> None:
    assert hint in refused(repack(good["keras"], tmp_path / "wrong.keras", config))


def edit(change: Callable[[Any], None], good: Path, path: Path) -> Path:
    """A copy of a file with its configuration changed."""
    config = config_of(good)
    change(config)
    return repack(good, path, json.dumps(config).encode())


def test_million_digit_shape(good: dict[str, Path], tmp_path: Path) -> None:
    text = json.dumps(config_of(good["keras"]))
    config = text.replace('"batch_shape": [null, 6]', f'"batch_shape": [null, {"9" * 10**6}]')
    assert config != text
    path = repack(good["keras"], tmp_path / "digits.keras", config.encode())
    assert "digits" in refused(path)


def test_impossible_shape_is_unknown(good: dict[str, Path], tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 10**300]

    network = open_network(edit(change, good["keras"], tmp_path / "huge.keras"))
    assert network.layers[1].output_shape == (None, 5)


def test_layer_that_does_not_exist(good: dict[str, Path], tmp_path: Path) -> None:
    def change(config: Any) -> None:
        node = config["config"]["layers"][1]["inbound_nodes"][0]
        node["args"][0]["config"]["keras_history"][0] = "nobody"

    assert "input" in refused(edit(change, good["keras"], tmp_path / "ghost.keras"))


def test_two_layers_of_one_name(good: dict[str, Path], tmp_path: Path) -> None:
    def change(config: Any) -> None:
        config["config"]["layers"].append(config["config"]["layers"][1])

    assert "two layers" in refused(edit(change, good["keras"], tmp_path / "twins.keras"))


def test_names_of_a_stranger_are_cleaned(good: dict[str, Path], tmp_path: Path) -> None:
    bad = "first\u202e\x1b[31m\n<b>" + "x" * 5000
    text = json.dumps(config_of(good["keras"])).replace('"first"', json.dumps(bad))
    network = open_network(repack(good["keras"], tmp_path / "names.keras", text.encode()))
    for layer in network.layers:
        assert layer.path.isprintable()
        assert len(layer.path) <= 120
        assert json.dumps(dict(layer.config), ensure_ascii=False).isprintable()


def test_cycle_of_layers(good: dict[str, Path], tmp_path: Path) -> None:
    def change(config: Any) -> None:
        node = config["config"]["layers"][1]["inbound_nodes"][0]
        node["args"][0]["config"]["keras_history"][0] = "last"

    network = open_network(edit(change, good["keras"], tmp_path / "cycle.keras"))
    assert len(network.layers) == 4


def test_member_twice(good: dict[str, Path], tmp_path: Path) -> None:
    path = repack(good["keras"], tmp_path / "twice.keras")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    assert "twice" in refused(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..\\b", "C:\\b"])
def test_member_that_climbs_out(good: dict[str, Path], tmp_path: Path, name: str) -> None:
    path = repack(good["keras"], tmp_path / "climb.keras")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, "root")
    assert "member with the name" in refused(path)


def test_overlapping_members(good: dict[str, Path], tmp_path: Path) -> None:
    data = bytearray(good["keras"].read_bytes())
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]  # offset of the local header
    path = tmp_path / "overlap.keras"
    path.write_bytes(data)
    assert "overlaps" in refused(path)


def test_compressed_weights(good: dict[str, Path], tmp_path: Path) -> None:
    path = repack(good["keras"], tmp_path / "z.keras", compression=zipfile.ZIP_DEFLATED)
    assert "zip -0" in refused(path)


def test_compressed_config_is_read_and_a_bomb_is_not(good: dict[str, Path], tmp_path: Path) -> None:
    for config, fine in ((None, True), (b" " * (200 << 20), False)):
        path = tmp_path / f"{fine}.keras"
        with zipfile.ZipFile(good["keras"]) as old, zipfile.ZipFile(path, "w") as new:
            text = old.read("config.json") if config is None else config
            new.writestr("config.json", text, zipfile.ZIP_DEFLATED)
            new.writestr("model.weights.h5", old.read("model.weights.h5"))
        if fine:
            assert len(open_network(path).layers) == 4
        else:
            assert "large" in refused(path)


def test_other_ways_to_store_weights(good: dict[str, Path], tmp_path: Path) -> None:
    for name, hint in (("model.weights.npz", "NumPy"), ("model.weights.json", "JSON")):
        path = tmp_path / f"{name}.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config_of(good["keras"])))
            archive.writestr(name, b"x")
        assert hint in refused(path)


# --- HDF5


def damaged(good: Path, path: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a file with its HDF5 tree changed; works for both formats."""
    if good.suffix == ".h5":
        path.write_bytes(good.read_bytes())
        with h5py.File(path, "a") as file:
            change(file["model_weights/first/first"])
        return path
    buffer = weights_of(good)
    with h5py.File(buffer, "a") as file:
        change(file["layers/dense/vars"])
    return repack(good, path, weights=buffer.getvalue())


def replace(group: Any, make: Callable[[Any, str], None]) -> None:
    name = next(iter(group))
    del group[name]
    make(group, name)


def outside(group: Any, name: str) -> None:
    group[name] = h5py.ExternalLink("/etc/passwd", "/x")


def soft(group: Any, name: str) -> None:
    group[name] = h5py.SoftLink("/layers")


def elsewhere(group: Any, name: str) -> None:
    group.create_dataset(name, (6, 5), "f4", external=[("/etc/passwd", 0, 120)])


def virtual(group: Any, name: str) -> None:
    layout = h5py.VirtualLayout((6, 5), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (6, 5))
    group.create_virtual_dataset(name, layout)


def bomb(group: Any, name: str) -> None:
    group.create_dataset(name, (2**20, 2**20), "f4")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (outside, "external link"),
        (soft, "soft link"),
        (elsewhere, "another file"),
        (virtual, "virtual"),
        (bomb, "no data"),
    ],
)
def test_hdf5_that_leads_out(
    good: dict[str, Path], tmp_path: Path, suffix: str, make: Any, hint: str
) -> None:
    path = damaged(good[suffix], tmp_path / f"x.{suffix}", lambda group: replace(group, make))
    assert hint in refused(path)


def test_hdf5_external_link_at_the_root(good: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "root.h5"
    path.write_bytes(good["h5"].read_bytes())
    with h5py.File(path, "a") as file:
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert "elsewhere" in refused(path)


def test_hdf5_circle_of_groups(tmp_path: Path) -> None:
    """A subclassed model's tree is walked whole, so a hard link to a parent must not trap it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("a/b")
        group.create_group("vars")["0"] = np.zeros(3, "f4")
        group["up"] = file["a"]
    path = tmp_path / "circle.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Mine", "config": {}}')
        archive.writestr("model.weights.h5", buffer.getvalue())
    refused(path)


def test_hdf5_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(9)
    assert "no model_config" in refused(path)


def test_endless_attribute(tmp_path: Path) -> None:
    """The file that sends libhdf5 into an endless loop, alone and as the weights of a model."""
    looping = DATA / "hdf5_attribute_loop.h5"
    assert open_network(looping).parameters
    path = tmp_path / "loop.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"class_name": "Mine", "config": {}}')
        archive.writestr("model.weights.h5", looping.read_bytes())
    start = time.monotonic()
    network = open_network(path)  # the damaged attribute is not one that is looked at
    assert time.monotonic() - start < 10
    assert network.parameters
    assert not network.links_known


def test_chunked_and_compressed_weights_are_read(good: dict[str, Path], tmp_path: Path) -> None:
    from explorer.weights.weight_reader import WeightReader

    values = np.arange(30, dtype="f4").reshape(6, 5) - 3

    def pack(group: Any, name: str) -> None:
        group.create_dataset(name, data=values, chunks=(4, 3), compression="gzip", shuffle=True)

    def change(group: Any) -> None:
        name = "0" if "0" in group else "kernel"
        del group[name]
        pack(group, name)

    for suffix in ("keras", "h5"):
        network = open_network(damaged(good[suffix], tmp_path / f"c.{suffix}", change))
        kernel = network.layer_by_path["first"].weight("kernel")
        assert kernel is not None
        with WeightReader(network) as reader:
            np.testing.assert_array_equal(reader.read(kernel), values)


def test_unknown_compression_leaves_the_rest(good: dict[str, Path], tmp_path: Path) -> None:
    def change(group: Any) -> None:
        del group["0"]
        group.create_dataset("0", data=np.ones((6, 5), "f4"), chunks=(6, 5), compression="lzf")

    network = open_network(damaged(good["keras"], tmp_path / "lzf.keras", change))
    kernel = network.layer_by_path["first"].weights[0]
    assert kernel.where is None
    assert any("filter" in note for note in network.notes)
