"""What a question or a picture had measured is there for the next one, and for a whole build."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_estimates import looking, wait_for
from test_estimates import network as dense_network
from test_pyramid import clear_plans

from explorer.open_model import OpenModel
from explorer.pyramid import measuring
from explorer.pyramid.storage.cache import cache_folder
from explorer.report import edges_json


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Bands that were read, each time; all models are worth keeping, and bands are small."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("explorer.pyramid.grid._BAND_BYTES", 1)
    monkeypatch.setattr("explorer.pyramid.storage.keeping.WORTH_KEEPING", 0)
    monkeypatch.setattr("explorer.pyramid.search.strongest.FULL_READ", 0)
    monkeypatch.setattr("explorer.session.background._SMALL", 0)
    real, seen = measuring.measured, []
    monkeypatch.setattr(
        measuring, "measured", lambda pieces, level0: (seen.extend(pieces), real(pieces, level0))[1]
    )
    clear_plans()
    yield seen
    clear_plans()


@pytest.fixture
def made(tmp_path):
    return dense_network(tmp_path)


def asked(network, source: str, target: str) -> dict:
    with OpenModel(network) as model:
        return edges_json(model, source, target, 3)


def strongest(array: np.ndarray, k: int) -> list[tuple[int, int, float]]:
    order = np.argsort(-np.abs(array), axis=None, kind="stable")[:k]
    return [(int(i // array.shape[1]), int(i % array.shape[1]), float(array.flat[i]))
            for i in order]  # fmt: skip


def assert_right(found: dict, array: np.ndarray) -> None:
    listed = [(e["from_unit"], e["to_unit"], e["signed_mean"]) for e in found["edges"]]
    assert listed == strongest(array, 3)


def test_the_second_question_measures_nothing(made, read):
    network, arrays = made
    first = asked(network, "first", "second")
    assert len(read) == 11
    assert_right(first, arrays["second"])
    again = asked(network, "first", "second")
    assert len(read) == 11
    assert again == first
    other = asked(network, "input", "first")  # that was not asked for yet
    assert len(read) == 11 + 5
    assert_right(other, arrays["first"])
    assert not list(cache_folder().glob("*.safetensors"))  # not whole, and not taken for it
    with OpenModel(network) as model:
        assert not model.keeper.whole
        assert model.keeper.unfinished


def test_a_question_that_was_interrupted_goes_on(made, read, monkeypatch):
    network, arrays = made

    class Enough(Exception):  # noqa: N818
        pass

    def told(done: int, total: int) -> None:
        if len(read) == 7:
            raise Enough

    with OpenModel(network) as model, pytest.raises(Enough):
        edges_json(model, "first", "second", 3, told=told)
    assert_right(asked(network, "first", "second"), arrays["second"])
    assert len(read) == 11


def test_what_questions_left_makes_the_store_of_a_whole_build(made, read):
    network, _ = made

    def built() -> bytes:
        with OpenModel(network) as model:
            model.keeper.begin()
            for connection in model.table.connections:
                assert model.pyramid.build(connection)
            assert model.keeper.finish(model.table.connections), model.keeper.reason
        (path,) = cache_folder().glob("*.safetensors")
        found = path.read_bytes()
        path.unlink()
        return found

    alone = built()
    read.clear()
    asked(network, "first", "second")
    asked(network, "input", "first")
    assert built() == alone
    assert len(read) == 11 + 5 + 1


def test_where_nothing_can_be_kept_the_answer_is_the_same(made, read, tmp_path, monkeypatch):
    network, arrays = made
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert_right(asked(network, "first", "second"), arrays["second"])
    assert len(read) == 2 * 11


def test_the_weights_of_a_picture_are_kept(made, read):
    network, _ = made
    with OpenModel(network) as model, looking(model) as session:
        session.pause_reading()
        session.wait()
        totals = [model.pyramid.totals(c) for c in model.table.connections]
        assert not model.keeper.reason
    count = len(read)
    assert count >= 11 + 5 + 1
    with OpenModel(network) as model, looking(model) as session:
        session.pause_reading()
        session.wait()
        assert [model.pyramid.totals(c) for c in model.table.connections] == totals
    assert len(read) == count


def test_pausing_writes_down_what_was_begun(made, read, monkeypatch):
    network, _ = made
    with OpenModel(network) as model, looking(model) as session:
        counted = measuring.measured

        def pausing(pieces, level0):
            if len(read) >= 6:
                session.pause_reading()
            return counted(pieces, level0)

        monkeypatch.setattr(measuring, "measured", pausing)
        assert session.draw_list.pending
        wait_for(lambda: session.reading.state == "paused" and not session._reading.busy)
        monkeypatch.setattr(measuring, "measured", counted)
        # Another process could go on from what is written by now: this one may be killed.
        (path,) = cache_folder().glob("*.journal")
        raw, count = path.read_bytes(), len(read)
    path.write_bytes(raw)
    assert 6 <= count < 17
    with OpenModel(network) as model:
        model.keeper.begin()
        for connection in model.table.connections:
            assert model.pyramid.build(connection)
    assert len(read) == 17


def test_the_command_tells_why_nothing_is_kept(tmp_path, monkeypatch, capsys, read):
    from explorer.__main__ import main
    from explorer.bundled import scenes_folder

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    model = scenes_folder() / "digits.keras"
    monkeypatch.setattr("sys.argv", ["neuronaut", "edges", str(model), "--from", "hidden", "--to",
                                     "digit", "--json"])  # fmt: skip
    main()
    out, told = capsys.readouterr()
    assert out.startswith('{"total_connections"')
    assert len(told.splitlines()) == 1
    assert "not saved" in told
    assert Path(tmp_path / "file").read_bytes() == b""
