"""A model in several files: which names are followed, and what the parent believes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from explorer.errors import ModelError
from explorer.formats import open_network
from explorer.formats.containers import neighbours
from explorer.formats.record import UnreadableError
from explorer.formats.sandbox.manifest import Part, decode, encode
from explorer.network import ByteRange, FileStamp, Inline, Layer, Network, Pieces, Weight
from explorer.weights.weight_reader import WeightReader


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A snapshot as the hub's cache lays it out: links into a folder of blobs."""
    blobs, snapshot = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "r1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name, blob in (("model.index.json", "aaa"), ("part-1", "bbb")):
        (blobs / blob).write_bytes(b"x")
        (snapshot / name).symlink_to(f"../../blobs/{blob}")
    (tmp_path / "secret").write_text("secret")
    (snapshot / "out").symlink_to("../../../secret")
    return snapshot


def test_links_of_the_hubs_cache_are_followed_and_no_others(cache: Path) -> None:
    for model in (cache, cache / "model.index.json"):
        real = neighbours.located(str(model), "part-1")
        assert real == str((cache.parents[1] / "blobs" / "bbb").resolve())
        with pytest.raises(UnreadableError, match="out of its folder"):
            neighbours.located(str(model), "out")


def test_parts_of_a_linked_file_may_lie_where_it_really_lies(tmp_path: Path) -> None:
    store, shown = tmp_path / "store", tmp_path / "shown"
    store.mkdir()
    shown.mkdir()
    (store / "index").write_text("x")
    (store / "part").write_text("x")
    (shown / "index").symlink_to(store / "index")
    (shown / "part").symlink_to(store / "part")
    assert neighbours.located(str(shown / "index"), "part") == str(store / "part")
    with pytest.raises(UnreadableError, match="out of its folder"):
        neighbours.located(str(shown), "part")  # of a folder the user did not name a link
    (shown / "part").unlink()
    assert neighbours.located(str(shown / "index"), "part") == str(store / "part")
    (store / "secret").symlink_to("/etc/passwd")
    with pytest.raises(UnreadableError, match="out of its folder"):
        neighbours.located(str(shown / "index"), "secret")


ELSEWHERE = ["../x", "/etc/passwd", "a/../../x", "", ".", "a//b", "a\\b", "c:x", "x\0y",
             "a/b/c/d/e", "x" * 2000]  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_lead_anywhere_else_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(UnreadableError, match="outside its own folder"):
        neighbours.opened(str(tmp_path), name)


def test_a_part_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name, reason in (("fifo", "not a regular file"), ("folder", "not a regular file"),
                         ("nothing", "missing")):  # fmt: skip
        with pytest.raises(UnreadableError, match=reason):
            neighbours.opened(str(tmp_path), name)


def _two_files(tmp_path: Path) -> tuple[Network, dict[str, Part], FileStamp]:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(np.arange(6, dtype="<f4").tobytes())
    second.write_bytes(b"!" + np.arange(6, 12, dtype="<f4").tobytes())
    a, b = ByteRange(str(first), 0, 24), ByteRange(str(second), 1, 24)
    split = Pieces((ByteRange(str(first), 0, 10), ByteRange(str(first), 10, 14), b))
    weights = (
        Weight("a", "kernel", (2, 3), "float32", a, axes="oi"),
        Weight("b", "bias", (6,), "float32", b),
        Weight("both", "x", (12,), "float32", split),
        Weight("told", "y", (2,), "float32", Inline(np.array([5, 7], "<f4").tobytes())),
    )
    layers = (Layer("l", "Linear", weights=weights, operation="Dense"),)
    status = second.stat()
    parts = {str(second): Part("second", status.st_size, status.st_mtime_ns)}
    stamp = FileStamp(str(first), first.stat().st_size, first.stat().st_mtime_ns)
    return Network("n", "test", layers), parts, stamp


def _found(tmp_path: Path, part: Part) -> FileStamp:
    return FileStamp(str(tmp_path / part.name), part.size, part.mtime_ns)


def test_weights_of_several_files_come_back_and_are_read(tmp_path: Path) -> None:
    network, parts, stamp = _two_files(tmp_path)
    found = decode(encode(network, parts), stamp, lambda part: _found(tmp_path, part))
    assert found.layers == network.layers
    assert [s.path for s in found.files] == [str(tmp_path / "first"), str(tmp_path / "second")]
    with WeightReader(found) as reader:
        a, b, both, told = found.layers[0].weights
        np.testing.assert_array_equal(reader.read(a).ravel(), np.arange(6))
        np.testing.assert_array_equal(reader.read(b), np.arange(6, 12))
        np.testing.assert_array_equal(reader.read(both), np.arange(12))
        for start in range(12):
            np.testing.assert_array_equal(reader.read_flat(both, start, 12), np.arange(start, 12))
            np.testing.assert_array_equal(reader.read_flat(both, start, start + 1), [start])
        np.testing.assert_array_equal(reader.read_rows(both, 1, 3, 4, 2), [[1, 2], [5, 6], [9, 10]])
        np.testing.assert_array_equal(reader.read(told), [5, 7])


def test_the_parent_believes_nothing_of_a_part_that_it_cannot_check(tmp_path: Path) -> None:
    network, parts, stamp = _two_files(tmp_path)
    good = json.loads(encode(network, parts))

    def refused(change: object, find: object = lambda part: _found(tmp_path, part)) -> str:
        lie = json.loads(json.dumps(good))
        change(lie)
        with pytest.raises(UnreadableError) as error:
            decode(json.dumps(lie).encode(), stamp, find)
        return str(error.value)

    def place(at: int, value: object) -> object:
        def change(lie: dict) -> None:
            lie["weights"][at][4] = value

        return change

    for value in ([1, 24, 2], [1, 24, -1], [2, 24, 1], [1, 2**61, 1], [1, 24, True], "!!!!",
                  {"parts": [[0, 24, 7]]}, {"parts": [[0, 90]]}, {"parts": 3}):  # fmt: skip
        assert "impossible" in refused(place(1, value))
    assert "impossible" in refused(lambda lie: None, None)

    def missing(part: Part) -> FileStamp:
        raise UnreadableError("its part 'second' is missing")

    assert "missing" in refused(lambda lie: None, missing)


def test_a_folder_is_opened_as_the_one_model_in_it(tmp_path: Path) -> None:
    model = Path(__file__).parents[1] / "scenes" / "digits.keras"
    folder = tmp_path / "a model"
    folder.mkdir()
    with pytest.raises(ModelError, match="without a file"):
        open_network(folder)
    (folder / "notes.txt").write_text("words")
    with pytest.raises(ModelError, match=r"without a model in it: of notes\.txt none"):
        open_network(folder)
    (folder / "one.keras").write_bytes(model.read_bytes())
    found, alone = open_network(folder), open_network(folder / "one.keras")
    assert [la.path for la in found.layers] == [la.path for la in alone.layers]
    assert found.path == str(folder)
    assert [Path(s.path).name for s in found.files] == ["one.keras"]
    with WeightReader(found) as one, WeightReader(alone) as other:
        for layer, same in zip(found.layers, alone.layers, strict=True):
            for a, b in zip(layer.weights, same.weights, strict=True):
                np.testing.assert_array_equal(one.read(a), other.read(b))
    (folder / "two.keras").write_bytes(model.read_bytes())
    with pytest.raises(ModelError, match=r"several models: one\.keras, two\.keras"):
        open_network(folder)


def test_a_pointer_of_git_lfs_is_told_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64
                    + "\nsize 4976698672\n")  # fmt: skip
    with pytest.raises(ModelError, match=r"pointer to a file of 4 976 698 672 bytes.*git lfs pull"):
        open_network(path)
