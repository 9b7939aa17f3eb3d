"""Weights read in pieces equal the same pieces of the whole, and a changed file is noticed."""

from __future__ import annotations

import os
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import ModelError
from explorer.network import ByteRange, Chunks, FileStamp, Layer, Network, Weight
from explorer.weights import stored_items
from explorer.weights.stored_items import StoredItems
from explorer.weights.weight_reader import WeightReader

RNG = np.random.default_rng(3)
MATRIX = RNG.normal(size=(60, 70)).astype("float32")


def stamp(path: Path) -> FileStamp:
    status = path.stat()
    return FileStamp(str(path), status.st_size, status.st_mtime_ns)


def network(path: Path, *weights: Weight) -> Network:
    return Network("n", "test", (Layer("a", "Dense", weights=weights),), files=(stamp(path),))


def place(path: Path, array: np.ndarray, dtype: str = "", before: int = 3) -> Weight:
    """Write an array at an odd place in a file."""
    data = array.tobytes()
    path.write_bytes(b"x" * before + data + b"after")
    where = ByteRange(str(path), before, len(data))
    return Weight("w", "kernel", array.shape, dtype or str(array.dtype), where)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint8", "int64", "bool"])
def test_whole(tmp_path: Path, dtype: str) -> None:
    array = RNG.integers(0, 2, size=(3, 4, 5)).astype(dtype)
    weight = place(tmp_path / "f", array)
    with WeightReader(network(tmp_path / "f", weight)) as reader:
        read = reader.read(weight)
    assert read.dtype == array.dtype
    assert read.flags.aligned
    assert read.flags.writeable
    np.testing.assert_array_equal(read, array)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    values = np.array([0.0, -0.0, 1.0, -1.5, 3.0e38, np.inf, -np.inf, 2.0**-130], "float32")
    stored = (values.view("uint32") >> 16).astype("uint16")
    weight = place(tmp_path / "f", stored, "bfloat16")
    with WeightReader(network(tmp_path / "f", weight)) as reader:
        read = reader.read(weight)
    expected = np.array([0.0, -0.0, 1.0, -1.5, 3.0e38, np.inf, -np.inf, 2.0**-130])
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, expected, rtol=2**-7)
    assert np.signbit(read[1])


def test_scalar_and_empty(tmp_path: Path) -> None:
    for array in (np.float32(2.5).reshape(()), np.empty((0, 4), "float32")):
        weight = place(tmp_path / "f", array)
        with WeightReader(network(tmp_path / "f", weight)) as reader:
            np.testing.assert_array_equal(reader.read(weight), array)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_pieces(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces"
    weight = place(path, MATRIX)
    flat = MATRIX.ravel()
    with WeightReader(network(path, weight)) as reader:
        start = data.draw(st.integers(0, flat.size))
        stop = data.draw(st.integers(start, flat.size))
        np.testing.assert_array_equal(reader.read_flat(weight, start, stop), flat[start:stop])
        width = data.draw(st.integers(1, 70))
        stride = data.draw(st.integers(0, 200))
        rows = data.draw(st.integers(1, 20))
        room = flat.size - (rows - 1) * stride - width
        if room < 0:
            return
        first = data.draw(st.integers(0, room))
        expected = flat[first + np.arange(rows)[:, None] * stride + np.arange(width)]
        np.testing.assert_array_equal(
            reader.read_rows(weight, first, rows, stride, width), expected
        )


@pytest.mark.parametrize("gap", [0, 1 << 30])
@pytest.mark.parametrize("block", [64, 1 << 20])
def test_rows_by_every_way_of_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gap: int, block: int
) -> None:
    monkeypatch.setattr(stored_items, "GAP", gap)
    monkeypatch.setattr(stored_items, "BLOCK", block)
    weight = place(tmp_path / "f", MATRIX)
    with WeightReader(network(tmp_path / "f", weight)) as reader:
        for width in (1, 9, 70):
            read = reader.read_rows(weight, 5 * 70, 50, 70, width)
            np.testing.assert_array_equal(read, MATRIX[5:55, :width])


def test_few_reads_for_dense_rows_and_few_bytes_for_sparse_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.arange(2000 * 20_000, dtype="int8").reshape(2000, 20_000)
    weight = place(tmp_path / "f", array)
    reads: list[int] = []
    real = os.preadv

    def count(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        reads.append(sum(len(b) for b in buffers))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", count)
    with WeightReader(network(tmp_path / "f", weight)) as reader:
        np.testing.assert_array_equal(reader.read_rows(weight, 7, 2000, 20_000, 3), array[:, 7:10])
        assert sum(reads) == 6000
        reads.clear()
        dense = reader.read_rows(weight, 0, 1000, 20_000, 15_000)
        np.testing.assert_array_equal(dense, array[:1000, :15_000])
        assert len(reads) < 10


def test_ranges_outside_are_refused(tmp_path: Path) -> None:
    weight = place(tmp_path / "f", MATRIX)
    with WeightReader(network(tmp_path / "f", weight)) as reader:
        for start, stop in ((-1, 2), (3, 2), (0, 4201)):
            with pytest.raises(IndexError):
                reader.read_flat(weight, start, stop)
        for first, rows, stride, width in ((-1, 1, 1, 1), (0, 2, 4200, 1), (4195, 1, 0, 6)):
            with pytest.raises(IndexError):
                reader.read_rows(weight, first, rows, stride, width)
        assert reader.read_rows(weight, 0, 0, 1, 5).shape == (0, 5)


def chunked(
    path: Path, array: np.ndarray, chunk: tuple[int, int], filters: tuple[str, ...]
) -> Weight:
    """Write an array as a grid of filtered pieces, the edge ones padded."""
    data, pieces = b"", []
    for i in range(0, array.shape[0], chunk[0]):
        for j in range(0, array.shape[1], chunk[1]):
            part = np.zeros(chunk, array.dtype)
            inside = array[i : i + chunk[0], j : j + chunk[1]]
            part[: inside.shape[0], : inside.shape[1]] = inside
            raw = part.tobytes()
            if "shuffle" in filters:
                raw = np.frombuffer(raw, "u1").reshape(-1, array.itemsize).T.tobytes()
            if "deflate" in filters:
                raw = zlib.compress(raw)
            pieces.append(((i, j), ByteRange(str(path), len(data), len(raw))))
            data += raw
    path.write_bytes(data)
    where = Chunks(chunk, tuple(pieces), filters)
    return Weight("w", "kernel", array.shape, str(array.dtype), where)


@pytest.mark.parametrize("filters", [(), ("deflate",), ("shuffle", "deflate"), ("shuffle",)])
def test_chunks(tmp_path: Path, filters: tuple[str, ...]) -> None:
    weight = chunked(tmp_path / "f", MATRIX, (16, 32), filters)
    with WeightReader(network(tmp_path / "f", weight)) as reader:
        np.testing.assert_array_equal(reader.read(weight), MATRIX)
        np.testing.assert_array_equal(reader.read_flat(weight, 100, 900), MATRIX.ravel()[100:900])
        np.testing.assert_array_equal(reader.read_rows(weight, 70, 5, 140, 7), MATRIX[1:11:2, :7])


def test_damaged_chunk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f"
    weight = chunked(path, MATRIX, (16, 32), ("deflate",))
    data = bytearray(path.read_bytes())
    data[40:60] = bytes(20)
    path.write_bytes(data)
    with WeightReader(network(path, weight)) as reader, pytest.raises(ModelError, match="damaged"):
        reader.read(weight)


def test_a_chunk_that_unpacks_to_far_too_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(zlib.compress(bytes(50 << 20)))
    where = Chunks((4,), (((0,), ByteRange(str(path), 0, path.stat().st_size)),), ("deflate",))
    weight = Weight("w", "kernel", (4,), "float32", where)
    with WeightReader(network(path, weight)) as reader, pytest.raises(ModelError, match="damaged"):
        reader.read(weight)


def test_no_bytes_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    weight = Weight("w", "kernel", (4,), "float32", None)
    with WeightReader(network(path, weight)) as reader, pytest.raises(ModelError, match="no data"):
        reader.read(weight)


def overwrite(path: Path) -> None:
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))


def truncate(path: Path) -> None:
    before = path.stat()
    os.truncate(path, 20)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path: Path) -> None:
    """Another file under the same name, of the same size and time."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    before = path.stat()
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [overwrite, truncate, swap, os.unlink])
def test_a_change_is_noticed(tmp_path: Path, change: object) -> None:
    path = tmp_path / "f"
    weight = place(path, MATRIX)
    with WeightReader(network(path, weight)) as reader:
        reader.read(weight)
        change(path)  # type: ignore[operator]
        for read in (
            lambda: reader.read(weight),
            lambda: reader.read_flat(weight, 0, 1),
            lambda: reader.read_rows(weight, 0, 2, 70, 3),
        ):
            with pytest.raises(ModelError) as caught:
                read()
            assert str(caught.value) == f"{path}: the file changed while it was open; open it again"


def test_a_change_before_the_first_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    known = network(path, place(path, MATRIX))
    overwrite(path)
    with pytest.raises(ModelError, match="changed"):
        WeightReader(known)
    path.unlink()
    with pytest.raises(ModelError, match="cannot be opened"):
        WeightReader(known)


def test_end_of_file_is_an_error_and_not_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    weight = place(path, MATRIX)
    with WeightReader(network(path, weight)) as reader:
        monkeypatch.setattr(StoredItems, "_check", lambda self, name: None)
        os.truncate(path, 100)
        with pytest.raises(ModelError, match="changed"):
            reader.read(weight)


def test_closed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    weight = place(path, MATRIX)
    before = len(os.listdir("/proc/self/fd"))
    reader = WeightReader(network(path, weight))
    reader.read(weight)
    reader.close()
    reader.close()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ModelError, match="closed"):
        reader.read(weight)


def test_many_threads_and_a_close_in_between(tmp_path: Path) -> None:
    """Each read is right or says that the file is closed; no descriptor is used after its close."""
    path = tmp_path / "f"
    weight = place(path, MATRIX)
    reader = WeightReader(network(path, weight))
    wrong: list[object] = []
    ready = threading.Barrier(5)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        ready.wait()
        for _ in range(400):
            row = int(rng.integers(0, 60))
            try:
                read = reader.read_rows(weight, row * 70, 1, 70, 70)[0]
            except ModelError as error:
                if "closed" not in str(error):
                    wrong.append(error)
                return
            if not np.array_equal(read, MATRIX[row]):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    ready.wait()
    reader.read(weight)
    reader.close()
    for thread in threads:
        thread.join(20)
    assert not wrong
