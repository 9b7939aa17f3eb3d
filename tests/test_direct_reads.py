"""What is read past the page cache is what lies in the file, and what cannot be is left alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from codec_files import File

from explorer.errors import ModelError
from explorer.pyramid.sums.reading_ahead import reading_ahead
from explorer.weights import direct_reads
from explorer.weights.direct_reads import LEAST, DirectReads
from explorer.weights.weight_reader import WeightReader

BYTES = np.random.default_rng(5).integers(0, 256, (5 << 20) + 12_345).astype(np.uint8)


def memory(nbytes: int) -> np.ndarray:
    return np.zeros(nbytes, np.uint8)


@pytest.fixture
def nothing_cached(monkeypatch):
    """As if no file lay in the page cache."""
    monkeypatch.setattr(direct_reads, "cached_share", lambda descriptor: 0.0)


@pytest.fixture
def descriptor(tmp_path: Path):
    """Of a file that can be read past the cache."""
    path = tmp_path / "f"
    path.write_bytes(BYTES.tobytes())
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except (AttributeError, OSError):
        pytest.skip("nothing here can be read past the cache")
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.mark.parametrize(
    ("offset", "nbytes"),
    [(0, LEAST), (5, LEAST + 1), (4096, 3 << 20), (123_457, (4 << 20) + 999), (12_345, 5 << 20)],
)
def test_bytes_are_those_of_the_file(nothing_cached, descriptor, offset, nbytes):
    reads = DirectReads()
    np.testing.assert_array_equal(
        reads.read(descriptor, offset, nbytes, memory), BYTES[offset : offset + nbytes]
    )
    reads.close()


def test_the_cache_is_gone_past(nothing_cached, descriptor, monkeypatch):
    """What is read does not come to lie in it, nor what follows."""
    if direct_reads.cached_share(descriptor) is None:
        pytest.skip("the system cannot tell what lies in its cache")
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    monkeypatch.undo()
    before = direct_reads.cached_share(descriptor)
    if before:
        pytest.skip("the system kept the file in its cache")
    reads = DirectReads()
    assert not reads.at_hand(descriptor, 0)
    os.pread(descriptor, 100, 0)  # as whoever looks at the beginning of a file does
    after = direct_reads.cached_share(descriptor)
    assert reads.read(descriptor, 0, 3 << 20, memory) is not None
    assert direct_reads.cached_share(descriptor) <= after
    reads.close()


def test_what_is_beyond_the_end_is_left_to_ordinary_reading(nothing_cached, descriptor):
    reads = DirectReads()
    assert reads.read(descriptor, len(BYTES) - (1 << 20), 2 << 20, memory) is None
    end = reads.read(descriptor, len(BYTES) - (1 << 20) - 7, (1 << 20) + 7, memory)
    np.testing.assert_array_equal(end, BYTES[-(1 << 20) - 7 :])
    reads.close()


def test_small_and_cached_reads_are_ordinary(nothing_cached, descriptor, monkeypatch):
    reads = DirectReads()
    assert reads.read(descriptor, 0, LEAST - 1, memory) is None
    reads.close()
    monkeypatch.setattr(direct_reads, "cached_share", lambda descriptor: 1.0)
    monkeypatch.setattr(direct_reads, "is_cached", lambda descriptor, offset: True)
    assert reads.read(descriptor, 0, LEAST, memory) is None
    assert reads.at_hand(descriptor, 0)
    monkeypatch.setattr(direct_reads, "is_cached", lambda descriptor, offset: False)
    assert reads.read(descriptor, 0, LEAST, memory) is not None
    assert not reads.at_hand(descriptor, 0)
    reads.close()


def test_the_cache_is_asked_or_ordinary_reading_does(descriptor, monkeypatch):
    os.pread(descriptor, len(BYTES), 0)
    assert direct_reads.is_cached(descriptor, 0) is not False
    assert direct_reads.cached_share(descriptor) in (None, 1.0)
    assert direct_reads.is_cached(-1, 0) is None
    monkeypatch.setattr(direct_reads, "_system", lambda: None)
    reads = DirectReads()
    assert direct_reads.cached_share(descriptor) is None
    assert reads.read(descriptor, 0, LEAST, memory) is None
    assert not reads.at_hand(descriptor, 0)


def test_a_file_system_that_refuses_is_asked_once(nothing_cached, descriptor, monkeypatch):
    asked, preadv = [], os.preadv

    def refuse(opened, buffers, offset):
        if opened == descriptor:
            return preadv(opened, buffers, offset)
        asked.append(opened)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "preadv", refuse)
    reads = DirectReads()
    assert reads.read(descriptor, 0, LEAST, memory) is None
    assert reads.read(descriptor, 0, LEAST, memory) is None
    assert len(asked) == 1
    reads.close()


@pytest.mark.parametrize("cached", [0.0, 1.0])
@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("offset", [0, 1])
def test_weights_are_read_alike(tmp_path, monkeypatch, cached, refused, offset):
    monkeypatch.setattr(direct_reads, "cached_share", lambda descriptor: cached)
    if refused:
        monkeypatch.setattr(direct_reads, "_filled", _refuse)
    values = np.random.default_rng(1).normal(size=(700, 1000)).astype(np.float32)
    file = File(tmp_path / "f")
    file.add("before", np.zeros(offset, np.uint8), "uint8", (offset,))
    weight = file.add("w", values, "float32", values.shape)
    with WeightReader(file.network(weight)) as reader:
        run = (3 * 1000, 690, 1000, 1000)
        found = reader.read_stored(weight, run, memory)
    np.testing.assert_array_equal(found, values[3:693])


def _refuse(*arguments):
    raise OSError(22, "Invalid argument")


def test_a_truncated_file_is_told(nothing_cached, tmp_path):
    values = np.ones((700, 1000), np.float32)
    file = File(tmp_path / "f")
    weight = file.add("w", values, "float32", values.shape)
    with WeightReader(file.network(weight)) as reader:
        os.truncate(tmp_path / "f", 2_000_000)
        with pytest.raises(ModelError, match="changed"):
            reader.read_stored(weight, (0, 700, 1000, 1000), memory)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_reading_ahead_keeps_the_order_and_one_place_untouched(count, ahead):
    places = [-1, -1]

    def read(request, place):
        places[place] = request
        return place

    seen = []
    with reading_ahead(read, list(range(count)), ahead) as arriving:
        for request, place in arriving:
            assert places[place] == request  # whatever is read ahead goes to the other one
            seen.append(request)
    assert seen == list(range(count))


def test_what_reading_ahead_cannot_read_is_told_in_its_turn():
    def read(request, place):
        if request == 2:
            raise ModelError("file", "cannot be read")
        return request

    with reading_ahead(read, [0, 1, 2, 3]) as arriving:
        assert [next(arriving)[0], next(arriving)[0]] == [0, 1]
        with pytest.raises(ModelError, match="cannot be read"):
            next(arriving)
