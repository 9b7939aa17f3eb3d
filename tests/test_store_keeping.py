"""What a model finds in the store of an earlier run is what it would measure itself."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

import explorer
from explorer import formats, indexing
from explorer.bundled import scenes_folder
from explorer.open_model import OpenModel
from explorer.pyramid import plan, shelf
from explorer.pyramid.measuring import Measuring
from explorer.pyramid.plan import signature
from explorer.pyramid.storage import keeping
from explorer.pyramid.storage.cache import cache_folder
from explorer.session.background import BackgroundReading
from explorer.session.session import Session
from explorer.weights.connections import Connection

DIGITS = scenes_folder() / "digits.keras"


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model large enough for sums by block."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(n, activation="relu") for n in (700, 500, 7)]
    path = tmp_path_factory.mktemp("model") / "dense.keras"
    keras.Sequential([keras.Input((300,)), *layers]).save(path)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(keeping, "WORTH_KEEPING", 0)
    return cache_folder()


def sums(model: OpenModel) -> list[np.ndarray]:
    """Statistics between halves of the units: from blocks, and from the file at the border."""
    found = []
    for connection in model.table.connections:
        out = (np.arange(connection.out_units) * 2 // connection.out_units).astype(np.int32)
        inside = (np.arange(connection.in_units) * 2 // connection.in_units).astype(np.int32)
        stats = model.pyramid.stats(connection, out, inside, 2, 2)
        found += [stats.sum_sq, stats.sum, stats.sum_abs, stats.max_abs, stats.count]
    return found


def alike(found: list[np.ndarray], wanted: list[np.ndarray]) -> bool:
    return len(found) == len(wanted) and all(map(np.array_equal, found, wanted))


def kept(path: Path) -> list[np.ndarray]:
    with OpenModel.open(str(path)) as model:
        model.table.refresh()
        model.keeper.begin()
        found = sums(model)
        assert model.keeper.finish(model.table.connections), model.keeper.reason
    return found


def assert_same(path: Path, wanted: list[np.ndarray], stored: bool = True) -> None:
    with OpenModel.open(str(path)) as model:
        assert model.keeper.whole == stored
        assert alike(sums(model), wanted)


def test_the_store_of_an_earlier_run_tells_what_is_in_the_file(dense: Path, folder: Path) -> None:
    with OpenModel(formats.open_network(str(dense)), lasting=False) as model:
        wanted = sums(model)
    assert not folder.exists()
    assert alike(kept(dense), wanted)
    (path,) = folder.glob("*.safetensors")
    assert path.stat().st_size > 5000  # not totals alone
    assert_same(dense, wanted)


def test_a_store_cut_anywhere_and_any_flipped_bit_change_no_number(
    dense: Path, folder: Path
) -> None:
    wanted = kept(dense)
    network = formats.open_network(str(dense))
    (path,) = folder.glob("*.safetensors")
    raw, draw = path.read_bytes(), random.Random(8)
    for _ in range(60):
        at, bit = draw.randrange(len(raw)), 1 << draw.randrange(8)
        for harmed in (raw[:at], raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]):
            path.write_bytes(harmed)
            with OpenModel(network) as model:
                assert alike(sums(model), wanted)


def test_the_store_of_a_model_rewritten_since_is_not_used(
    dense: Path, tmp_path: Path, folder: Path
) -> None:
    path = tmp_path / "model.keras"
    shutil.copy(dense, path)
    before = kept(path)
    raw = path.read_bytes()
    at = len(raw) // 2  # in the largest kernel
    path.write_bytes(raw[:at] + b"\x40" * 4000 + raw[at + 4000 :])
    with OpenModel(formats.open_network(str(path)), lasting=False) as model:
        wanted = sums(model)
    assert not alike(wanted, before)
    assert_same(path, wanted, stored=False)


def test_a_model_opened_by_a_link_has_the_same_statistics(tmp_path: Path) -> None:
    link = tmp_path / "link.keras"
    link.symlink_to(DIGITS)
    with OpenModel.open(str(DIGITS)) as one, OpenModel.open(str(link)) as two:
        marks = [[signature(c, 0) for c in model.table.connections] for model in (one, two)]
    assert marks[0] == marks[1]
    assert len(set(marks[0])) == len(marks[0])


def test_nothing_is_kept_of_a_live_model(folder: Path) -> None:
    class Live:
        name = "live"

        def save(self, path: Path, include_optimizer: bool) -> None:
            shutil.copy(DIGITS, path)

    with explorer.open_network(Live()) as view:
        keeper = view.session.model.keeper
        assert not keeper.unfinished
        keeper.begin()
        view.session.wait()
    assert not folder.exists()


def renamed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Have the matrices of one connection read otherwise, as another version might."""
    real = plan.signature

    def other(connection: Connection, period: int) -> bytes:
        found = real(connection, period)
        return b"otherway" if connection.target == name else found

    monkeypatch.setattr(shelf, "signature", other)


def test_statistics_of_another_reading_are_measured_anew_and_replaced(
    dense: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = kept(dense)
    (path,) = folder.glob("*.safetensors")
    before = path.read_bytes()
    with OpenModel.open(str(dense)) as model:
        middle = model.table.connections[1].target
    with monkeypatch.context() as patch:
        renamed(patch, middle)
        with OpenModel.open(str(dense)) as model:
            assert model.table.connections  # the store is looked at here
            model.table.refresh()
            assert model.table.ready.tolist() == [True, False, True]
            assert not model.keeper.whole
            assert model.keeper.unfinished
            assert alike(sums(model), wanted)
        finished, real = [], Measuring.finish
        patch.setattr(Measuring, "finish", lambda *a: finished.append(a[1].target) or real(*a))
        assert alike(kept(dense), wanted)
        assert finished == [middle]
        assert path.read_bytes() != before
        assert_same(dense, wanted)
    assert indexing.index(str(dense))  # and so does the command, back again
    assert path.read_bytes() == before


def test_what_is_read_before_anything_is_kept_is_kept_too(dense: Path, folder: Path) -> None:
    with OpenModel.open(str(dense)) as model:
        model.pyramid.build(model.table.connections[0])  # a small one, while a person waits
        model.keeper.begin()
        for connection in model.table.connections:
            model.pyramid.build(connection)
        assert model.keeper.finish(model.table.connections), model.keeper.reason
    assert len(list(folder.glob("*.safetensors"))) == 1


def test_a_session_says_once_that_nothing_can_be_kept(
    dense: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"in the way")
    begun, real = threading.Event(), BackgroundReading._begin
    monkeypatch.setattr(BackgroundReading, "_begin", lambda r: (real(r), begun.set()))
    session = Session(formats.open_network(str(dense)))
    try:
        assert session.draw_list is not None
        assert begun.wait(60)
        assert "not saved" in session.message
        assert str(folder) in session.message
        session.message = ""
        session.wait()  # works without
        session._reading._begin()
        assert session.message == ""
    finally:
        session.close_session()
