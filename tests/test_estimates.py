"""What is shown before all weights are read is marked as an estimate, and becomes exact."""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from test_pyramid import clear_plans

from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Weight
from explorer.open_model import OpenModel
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState

WIDTHS = {"input": 300, "first": 700, "second": 900, "third": 10}


def network(folder: Path) -> tuple[Network, dict[str, np.ndarray]]:
    """Three dense layers in a row, in one file; upper rows are weaker than lower ones."""
    rng = np.random.default_rng(5)
    file = folder / "weights.bin"
    layers, links, arrays, data = [Layer("input", "InputLayer", {}, (), (None, 300))], [], {}, b""
    for before, name in pairwise(WIDTHS):
        shape = (WIDTHS[before], WIDTHS[name])
        array = rng.normal(size=shape) * np.linspace(0.1, 1.0, shape[0])[:, None]
        arrays[name] = array.astype("<f4")
        where = ByteRange(str(file), len(data), arrays[name].nbytes)
        data += arrays[name].tobytes()
        kernel = Weight(f"{name}/kernel", "kernel", shape, "float32", where)
        shapes = ((None, shape[0]),)
        layers.append(Layer(name, "Dense", {}, shapes, (None, shape[1]), (kernel,)))
        links.append(Link(before, name, shape=shapes[0]))
    file.write_bytes(data)
    stat = file.stat()
    stamp = FileStamp(str(file), stat.st_size, stat.st_mtime_ns)
    return Network("three", "test", tuple(layers), (), tuple(links), files=(stamp,)), arrays


@pytest.fixture
def small_bands(monkeypatch):
    """Bands of 64 rows, and everything counts as large and as worth keeping."""
    monkeypatch.setattr("explorer.pyramid.grid._BAND_BYTES", 1)
    monkeypatch.setattr("explorer.session.background._LARGE", 0)
    monkeypatch.setattr("explorer.session.background._SMALL", 0)
    monkeypatch.setattr("explorer.pyramid.storage.keeping.WORTH_KEEPING", 0)
    clear_plans()
    yield
    clear_plans()


@contextmanager
def looking(model):
    """A session that is closed in the end."""
    session = Session(model, ViewState())
    try:
        yield session
    finally:
        session.close_session()


def edges_by_target(session):
    """Row of the bundle into each dense layer."""
    drawn = session.draw_list
    found = {}
    for at in range(len(drawn.edges.source)):
        name = drawn.nodes[int(drawn.edges.target[at])]
        if drawn.edges.weights[at] > 1:
            found[name] = at
    return drawn, found


def test_a_glance_gives_an_estimate_and_says_so(tmp_path, small_bands):
    made, arrays = network(tmp_path)
    with OpenModel(made) as model, looking(model) as session:
        session.pause_reading()
        for connection in model.table.connections:
            model.pyramid.glance(connection)
        session.set_theme("light")
        drawn, rows = edges_by_target(session)
        assert set(rows) == set(arrays)
        assert drawn.pending
        for name, at in rows.items():
            array = arrays[name].astype(np.float64)
            band = array[-(-len(array) // 64) // 2 * 64 :][:64]
            if name == "third":  # so small that a glance takes in all of it
                assert not drawn.edges.estimated[at]
                continue
            assert drawn.edges.estimated[at]
            assert drawn.edges.magnitude[at] == pytest.approx(np.sqrt(np.square(band).mean()))
            assert drawn.edges.weights[at] == array.size
            assert "estimate" in session.describe_edge(at)
        assert any("2 lines are estimates" in line for line in drawn.legend.lines)
        session.resume_reading()
        session.wait()
        drawn, rows = edges_by_target(session)
        assert not drawn.edges.estimated.any()
        for name, at in rows.items():
            rms = np.sqrt(np.square(arrays[name].astype(np.float64)).mean())
            assert drawn.edges.magnitude[at] == pytest.approx(rms, rel=1e-6)
        assert not any("estimate" in line for line in drawn.legend.lines)


def wait_for(what, seconds=30.0):
    """Look again and again, at most so long."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def test_reading_goes_on_to_a_store_that_the_next_opening_has(tmp_path, small_bands):
    made, _ = network(tmp_path)
    with OpenModel(made) as model, looking(model) as session:
        assert session.draw_list.pending
        wait_for(lambda: model.keeper.whole)
        reading = session.reading
        assert reading.done == reading.total == sum(4 * a * b for a, b in _shapes())
        totals = [model.pyramid.totals(c) for c in model.table.connections]
    with OpenModel(made) as model, looking(model) as session:
        assert model.keeper.whole
        assert not any("still reading" in line for line in session.draw_list.legend.lines)
        assert [model.pyramid.totals(c) for c in model.table.connections] == totals


def _shapes():
    names = list(WIDTHS)
    return [(WIDTHS[a], WIDTHS[b]) for a, b in pairwise(names)]


def test_reading_can_be_paused_and_gone_on_with(tmp_path, small_bands):
    made, _ = network(tmp_path)
    with OpenModel(made) as model, looking(model) as session:
        session.pause_reading()
        assert session.draw_list.pending
        assert session.reading.state == "paused"
        assert session.reading.done == 0
        session.resume_reading()
        wait_for(lambda: model.keeper.whole)
        session.poll()
        assert not any("still reading" in line for line in session.draw_list.legend.lines)


def test_an_interrupted_reading_is_gone_on_with_by_the_next(tmp_path, small_bands):
    made, _ = network(tmp_path)
    with OpenModel(made) as model:
        model.keeper.begin()
        model.pyramid.build(model.table.connections[1])
    with OpenModel(made) as model:
        model.keeper.begin()
        assert model.pyramid.ready(model.table.connections[1])
        assert not model.pyramid.ready(model.table.connections[0])


def test_nothing_is_told_of_the_share_before_any_of_it_is_known(tmp_path, small_bands):
    made, _ = network(tmp_path)
    with OpenModel(made) as model, looking(model) as session:
        session.pause_reading()
        said = " ".join(session.draw_list.legend.lines)
        assert "connections drawn singly" in said
        assert "of Σw²" not in said
        session.wait()
        assert "of Σw²" in " ".join(session.draw_list.legend.lines)


def test_a_glance_goes_along_the_flow(tmp_path, small_bands):
    made, _ = network(tmp_path)
    with OpenModel(made) as model, looking(model) as session:
        session.pause_reading()
        crossing, seen = session._current()[1].crossing, []
        model.pyramid.glance = lambda connection: seen.append(connection.target)
        session._reading._glance(crossing, lambda: False)
        assert seen == ["first", "second", "third"]
        seen.clear()
        session._reading._glance(crossing, lambda: len(seen) == 1)
        assert seen == ["first"]
