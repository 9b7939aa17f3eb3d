"""What every format keeps to; a new one is taken in by its sample in `format_samples`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from forked_reading import Server
from format_samples import SAMPLES, Samples
from PIL import Image

from explorer.errors import ModelError
from explorer.formats import formats, open_network
from explorer.formats.containers.source import Source
from explorer.formats.sandbox.child import parse
from explorer.formats.sandbox.manifest import Part, decode, encode
from explorer.network import ByteRange, Chunks, FileStamp, Inline, Network, Pieces, Weight
from explorer.open_model import OpenModel
from explorer.report import network_json, network_text
from explorer.session.session import Session
from explorer.weights.weight_reader import WeightReader

pytestmark = [
    pytest.mark.usefixtures("quick_reading"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # overflow in numbers of random bytes
]
ANY = pytest.mark.parametrize("name", SAMPLES)
ODD = "ein Modell – 模型 (2) .tar"


def test_every_format_has_a_sample() -> None:
    without = {f.name for f in formats()} - {sample.format for sample in SAMPLES.values()}
    assert not without, f"add a Sample of {without} to SAMPLES in tests/format_samples.py"


def copied(model: Path, folder: Path) -> Path:
    """A model and what lies beside it, in another folder; what is to be opened there."""
    if model.is_dir():
        return Path(shutil.copytree(model, folder / model.name))
    return Path(shutil.copytree(model.parent, folder / "copy")) / model.name


def matching(path: Path) -> list[str]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = Source(str(path), descriptor)
        found = [form.name for form in formats() if form.matches(source)]
        for name in list(source.parts):
            source.drop(name)
        return found
    finally:
        os.close(descriptor)


@ANY
def test_known_by_its_content_and_by_no_other_format(
    name: str, samples: Samples, tmp_path: Path
) -> None:
    """So the order in which formats are asked does not matter."""
    path = copied(samples[name], tmp_path)
    expected = [SAMPLES[name].format]
    assert matching(path) == expected
    for suffix in ("", ".h5", ".onnx", ".bin", ".keras", ".pb", ".json", ODD):
        path = path.rename(path.with_name(f"model{suffix}"))
        assert matching(path) == expected, suffix


# -- what a network is -----------------------------------------------------------------------------


def ranges(weight: Weight) -> Iterator[ByteRange]:
    """Every run of bytes that a weight or the tables of its scales name."""
    where = weight.where
    if isinstance(where, ByteRange):
        yield where
    elif isinstance(where, Chunks):
        yield from (place for _, place in where.pieces)
    elif isinstance(where, Pieces):
        yield from where.parts
    packing = weight.packing
    if packing is not None:
        tables = [packing.scale, packing.zero, *(axis.index for axis in packing.axes)]
        for table in tables:
            if table is not None:
                yield from ranges(table)


def check(network: Network) -> None:
    """Whatever a file says, this holds of the network in it."""
    scopes, layers = [s.path for s in network.scopes], [la.path for la in network.layers]
    assert layers
    assert len({*scopes, *layers}) == len(scopes) + len(layers)
    assert all(path and path.isprintable() for path in (*scopes, *layers))
    assert all(thing.kind for thing in (*network.layers, *network.scopes))
    assert {k.source for k in network.links} | {k.target for k in network.links} <= set(layers)
    assert {k.origin for k in network.links} <= {"recorded", "inferred"}
    assert network.links_known or not network.links
    assert network.name
    assert network.name.isprintable()
    for note in network.notes:
        assert note.isprintable()
    sizes = {stamp.path: os.path.getsize(stamp.path) for stamp in network.files}
    assert all(stamp.size == sizes[stamp.path] for stamp in network.files)
    distinct: dict[str, int] = {}
    for layer in network.layers:
        assert layer.parameters == sum(weight.size for weight in layer.weights)
        assert len({weight.role for weight in layer.weights}) == len(layer.weights)
        for weight in layer.weights:
            distinct[weight.name] = weight.size
            for place in ranges(weight):
                assert 0 <= place.offset <= place.offset + place.nbytes <= sizes[place.file]
    assert network.parameters == sum(distinct.values())


@ANY
def test_a_network_that_is_whole_and_arrays_as_they_are_told(name: str, samples: Samples) -> None:
    network = open_network(samples[name])
    check(network)
    assert network.path == str(samples[name])
    assert bool(network.links) == SAMPLES[name].links
    position = network.position
    assert all(position[k.source] < position[k.target] for k in network.links)
    readable = 0
    with WeightReader(network) as reader:
        for weight in (w for layer in network.layers for w in layer.weights):
            if weight.where is None:
                continue
            array = reader.read(weight)
            plain = weight.packing is None and weight.dtype in np.sctypeDict
            assert array.shape == weight.shape
            assert array.dtype == (weight.dtype if plain else np.float32)
            if plain and not isinstance(weight.where, (Chunks, Inline)):
                stored = b"".join(_bytes(place) for place in ranges(weight))
                told = np.frombuffer(stored, array.dtype.newbyteorder("<"))
                np.testing.assert_array_equal(array.ravel(), told)
            readable += 1
    assert readable


def _bytes(place: ByteRange) -> bytes:
    with open(place.file, "rb") as file:
        file.seek(place.offset)
        return file.read(place.nbytes)


@ANY
def test_the_same_every_time_and_through_the_manifest(name: str, samples: Samples) -> None:
    """Also in another process, where sets have another order."""
    path = samples[name]
    files = [p for p in (path.rglob("*") if path.is_dir() else path.parent.iterdir())
             if p.is_file()]  # fmt: skip
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files}
    network = open_network(path)
    assert open_network(path) == network
    descriptor = os.open(path, os.O_RDONLY)
    try:
        here = parse(str(path), descriptor)
    finally:
        os.close(descriptor)
    stamps = {stamp.path: stamp for stamp in network.files}
    parts = {p: Part(p, s.size, s.mtime_ns) for p, s in stamps.items() if p != str(path)}
    own = stamps.get(str(path), FileStamp(str(path), 0, 0))
    told = json.loads(encode(network, parts))
    assert decode(json.dumps(told).encode(), own, lambda part: stamps[part.name]) == network
    here_told = json.loads(here[1:])
    assert here[:1] == b"+"
    assert {k: v for k, v in here_told.items() if k != "parts"} == {
        k: v for k, v in told.items() if k != "parts"
    }
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in files} == before


@ANY
def test_opened_by_any_path(
    name: str, samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With spaces and other letters, relative, through a link to the file or to its folder."""
    home = tmp_path / "a folder – 目录"
    home.mkdir()
    path = copied(samples[name], home)
    expected = [layer.path for layer in open_network(samples[name]).layers]
    links = [tmp_path / "link to it", tmp_path / "folder"]
    links[0].symlink_to(path)
    links[1].symlink_to(home)
    monkeypatch.chdir(home)
    through = links[1] / path.relative_to(home)
    for opened in (str(path), str(path.relative_to(home)), links[0], through):
        found = open_network(opened)
        assert [layer.path for layer in found.layers] == expected
        check(found)


def reason_of(path: Path) -> str:
    """Why a model is refused, in one clear line; "" for one that is read, and sound."""
    try:
        network = open_network(path)
    except ModelError as error:
        told, reason = str(error), error.reason
    else:
        check(network)
        return ""
    assert told.startswith(f"{path}: ")
    assert told.isprintable()
    assert len(reason) < 420
    assert "NameError" not in reason  # a fault here, whatever the file
    return reason


@ANY
def test_cut_off_anywhere(name: str, samples: Samples, tmp_path: Path) -> None:
    """One clear line, or a network of what is there."""
    path = copied(samples[name], tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.stat().st_size)
    each = max(20 // len(files), 3)
    refused = 0
    for file in files:
        data = file.read_bytes()
        for length in np.linspace(0, len(data) - 1, each, dtype=int):
            file.write_bytes(data[:length])
            refused += bool(reason_of(path))
        file.write_bytes(data)
    assert refused
    check(open_network(path))


# -- what is done with it --------------------------------------------------------------------------


@ANY
def test_told_shown_and_cut(name: str, samples: Samples) -> None:
    with OpenModel.open(str(samples[name])) as model:
        network = model.network
        told = json.loads(json.dumps(network_json(network), allow_nan=False))
        assert told["parameters"] == network.parameters
        assert [row["path"] for row in told["layers"]] == [la.path for la in network.layers]
        assert network_text(network).strip()
        session = Session(model)
        drawn = session.draw_list
        assert len(drawn.solids.node)
        assert drawn.labels
        assert len(drawn.edges.source) or not SAMPLES[name].links
        for boxes in (drawn.solids, drawn.frames):
            assert np.isfinite(boxes.centers).all()
            assert (boxes.sizes >= 0).all()


@pytest.mark.parametrize("name", ["savedmodel", "gguf_split", "onnx_external", "pytorch_index"])
def test_the_command_line(name: str, samples: Samples, tmp_path: Path) -> None:
    """With the real child process, once for a few kinds; a picture of one."""
    expected = open_network(samples[name])
    command = [sys.executable, "-m", "explorer"]
    arguments = ["info", str(samples[name]), "--json"]
    done = subprocess.run([*command, *arguments], capture_output=True, check=True, timeout=120)
    told = json.loads(done.stdout)
    assert told["parameters"] == expected.parameters
    assert len(told["layers"]) == len(expected.layers)
    assert done.stderr == b""
    if name == "savedmodel":
        arguments = ["shot", str(samples[name]), "-o", "x.png", "--size", "320x240"]
        subprocess.run([*command, *arguments], cwd=tmp_path, check=True, timeout=120)
        with Image.open(tmp_path / "x.png") as picture:
            assert np.asarray(picture).std() > 5


def test_the_memory_of_all_that_was_read(quick_reading: Server, samples: Samples) -> None:
    open_network(samples["keras"])
    assert quick_reading.peak < 300 << 20
