"""What was measured of a connection that is not whole lasts, and is never believed when damaged."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import runs_worker
from runs_worker import IN_A_RUN, PERIOD, SHAPE, made
from store_helpers import PLAN, model_file, network
from test_building import Scattered
from test_pyramid import ArrayReader, clear_plans, weight

from explorer.network import Layer
from explorer.pyramid import measuring
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.workers.building import build_all, here
from explorer.weights.connections import connections_of


@pytest.fixture
def of(tmp_path, monkeypatch):
    """A network whose weights are worth two dozen bands, some of which make a run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("explorer.pyramid.grid._BAND_BYTES", 1)
    monkeypatch.setattr("explorer.pyramid.grid._COLUMN_BYTES", 1)
    monkeypatch.setattr("explorer.pyramid.grid._LINE_SHARE", 1e9)
    monkeypatch.setattr("explorer.pyramid.gathering.RUN_BYTES", IN_A_RUN * 64 * SHAPE[1] * 4)
    monkeypatch.setattr("explorer.pyramid.gathering._COLUMN_BYTES", 0)
    clear_plans()
    yield network(model_file(tmp_path))
    clear_plans()


@pytest.fixture
def read(monkeypatch):
    """Bands that were read, each time."""
    real, seen = measuring.measured, []
    monkeypatch.setattr(
        measuring, "measured", lambda pieces, level0: (seen.extend(pieces), real(pieces, level0))[1]
    )
    return seen


class Build:
    """One process' look at the connection: it has a journal, and measures with it."""

    def __init__(self, of) -> None:
        self.connection, self.reader = made()
        self.pyramid = Pyramid(self.reader, period=lambda _: PERIOD)
        self.journal = Journal.open(of, PLAN)
        assert not self.journal.reason, self.journal.reason
        self.pyramid.attach(self.journal, self.journal.append, self.journal)
        self.name = self.pyramid.section_name(self.connection)

    @classmethod
    def name_of(cls, of) -> str:
        with cls(of) as build:
            return build.name

    def some(self, count: int) -> bool:
        """Measure so many bands at most; whether that was all."""
        left = iter(range(count))
        return self.pyramid.build(self.connection, lambda: next(left, None) is None)

    def section(self):
        return self.journal.totals.get(self.name), self.journal.section(self.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.journal.close()


def undisturbed(of):
    """What is stored when nothing happens, how many bands that takes, and no trace of it."""
    with Build(of) as build:
        assert build.pyramid.build(build.connection)
        totals = build.pyramid.totals(build.connection).row()
        payload = build.journal.section(build.name)
        bands = len(build.pyramid.plan(build.connection).tasks)
    emptied()
    assert payload
    return totals, payload, bands


def emptied() -> None:
    for path in cache_folder().iterdir():
        path.unlink()


def journal_file():
    (path,) = cache_folder().glob("*.journal")
    return path


def holds(build: Build, wanted) -> None:
    assert build.pyramid.ready(build.connection)
    assert build.pyramid.totals(build.connection).row() == wanted[0]
    assert build.journal.section(build.name) == wanted[1]


def test_stopped_at_any_band_the_rest_alone_is_read(of, read):
    wanted = undisturbed(of)
    bands = wanted[2]
    assert bands == 24 + 2
    for stop in range(bands):
        with Build(of) as build:
            assert not build.some(stop)
            build.pyramid.write_unfinished()
        read.clear()
        with Build(of) as build:
            assert build.pyramid.carried(build.connection) == build.pyramid.under_way
            assert (build.pyramid.carried(build.connection) > 0) == (stop > 0)
            assert build.pyramid.build(build.connection)
            assert len(read) == bands - stop
            holds(build, wanted)
        emptied()


def test_stopped_again_and_again_nothing_is_read_twice(of, read):
    totals, payload, bands = undisturbed(of)
    read.clear()
    for _ in range(bands):
        with Build(of) as build:
            build.some(1)
            build.pyramid.write_unfinished()
    assert len(read) == bands
    with Build(of) as build:
        assert build.pyramid.build(build.connection)  # all was there, put together now
        holds(build, (totals, payload))
    assert len(read) == bands
    # Every stop costs the sums over columns; even so the journal stays a small multiple.
    assert journal_file().stat().st_size < 12 * len(payload)


def finished(future, fn, arguments):
    future.set_result(fn(*arguments))


def test_whoever_builds_and_in_whatever_order(of):
    """Bands that came out of turn last, too."""
    wanted = undisturbed(of)
    for seed in range(6):
        done: list[tuple[int, int]] = []
        for _ in range(40):
            with Build(of) as build:
                level0, plan = build.pyramid.level0, build.pyramid.plan(build.connection)
                hands, asked = Scattered(seed), iter(range(2))

                def work(pieces, level0=level0, plan=plan, done=done):
                    done.extend((plan.parts.index(part), band) for part, band in pieces)
                    return here(level0)(pieces)

                def stop(hands=hands, asked=asked):
                    if next(asked, None) is not None:
                        if hands._waiting:
                            hands._one()
                        return False
                    if hands._waiting:  # one is being done as all is cancelled
                        future, fn, arguments = hands._waiting.pop()
                        assert future.set_running_or_notify_cancel()
                        finish = partial(finished, future, fn, arguments)
                        threading.Thread(target=finish).start()
                    for future, *_ in hands._waiting:  # nobody does these any more
                        future.cancel()
                        future.set_running_or_notify_cancel()
                    return True

                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("explorer.pyramid.workers.building._JOB_BYTES", 1)
                    every = build_all(build.pyramid, [build.connection], (hands, 1), work,
                                      cancelled=stop)  # fmt: skip
                if every:
                    break
        assert every
        assert len(done) == len(set(done)) == wanted[2]
        with Build(of) as build:
            holds(build, wanted)
        emptied()


def test_progress_begins_where_the_last_one_ended(of):
    undisturbed(of)
    with Build(of) as build:
        assert not build.some(10)
        build.pyramid.write_unfinished()
        carried = build.pyramid.under_way
    told = []
    with Build(of) as build, ThreadPoolExecutor(1) as thread:
        level0 = build.pyramid.level0
        assert build_all(build.pyramid, [build.connection], (thread, 1), here(level0),
                         lambda *at: told.append(at))  # fmt: skip
    assert told[0] == (carried, 4 * SHAPE[0] * SHAPE[1])
    assert told[-1][0] == told[-1][1]


def test_killed_it_has_lost_a_run_at_most(of, tmp_path):
    wanted = undisturbed(of)
    draw, times, kills = random.Random(2), dict.fromkeys(range(wanted[2]), 0), 0
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    for after in [draw.randrange(2, 12) for _ in range(4)] + [1000]:
        run = subprocess.Popen(
            [sys.executable, runs_worker.__file__, of.files[0].path],
            stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert run.stdout is not None
        lines = [line for _, line in zip(range(after), run.stdout, strict=False)]
        run.kill()
        lines += run.stdout.readlines()  # it may have come further before it was gone
        run.stdout.close()
        kills += run.wait(60) != 0
        for line in lines:
            times[int(line)] += 1
    assert min(times.values()) == 1
    assert sum(times.values()) <= wanted[2] + kills * (IN_A_RUN + 1)
    with Build(of) as build:
        holds(build, wanted)


# -- damage ----------------------------------------------------------------------------------------


def half_done(of) -> bytes:
    """A journal of three runs and of some bands that came out of turn."""
    with Build(of) as build:
        assert not build.some(9)
        for at in (20, 15, 22):
            build.pyramid._do(build.pyramid._work[build.connection.key], at)
        build.pyramid.write_unfinished()
    return journal_file().read_bytes()


def test_a_torn_journal_is_cut(of, read):
    wanted = undisturbed(of)
    raw = half_done(of)
    draw = random.Random(3)
    seen = set()
    for size in [len(raw) - 1, *(draw.randrange(1, len(raw)) for _ in range(25))]:
        journal_file().write_bytes(raw[:size])
        read.clear()
        with Build(of) as build:
            assert build.pyramid.build(build.connection)
            holds(build, wanted)
        seen.add(len(read))
    assert seen == {wanted[2], wanted[2] - 3, wanted[2] - 6, wanted[2] - 9}


def test_a_flipped_bit_is_never_believed(of, read):
    wanted = undisturbed(of)
    raw = half_done(of)
    draw = random.Random(4)
    name = Build.name_of(of).encode()
    heads = [at for at in range(len(raw)) if raw.startswith(name, at)]
    assert len(heads) == 4
    for at in [*heads, *(draw.randrange(len(raw)) for _ in range(50))]:
        journal_file().write_bytes(raw[:at] + bytes([raw[at] ^ 1 << draw.randrange(8)])
                                   + raw[at + 1 :])  # fmt: skip
        read.clear()
        with Build(of) as build:
            assert not build.some(1)
            build.pyramid.write_unfinished()
        with Build(of) as build:  # what was struck out stays so
            assert build.pyramid.build(build.connection)
            holds(build, wanted)
        kept = 3 * heads.index(at) if at in heads else 0  # from a damaged head on it is cut off
        assert len(read) == wanted[2] - kept or at not in heads
        assert len(read) <= wanted[2]


def test_a_run_that_misses_a_band_above_is_not_believed(of, read):
    """Records that are whole, but not of one build: sums over columns would lack some rows."""
    wanted = undisturbed(of)
    with Build(of) as build:
        assert not build.some(4)
        build.pyramid.write_unfinished()
        first = build.journal.runs(build.name)
    emptied()
    with Build(of) as build:
        assert not build.some(8)
        second = build.journal.runs(build.name)
    emptied()
    assert len(first) == len(second) == 2
    with Build(of) as build:
        build.journal.append_run(build.name, second[1])  # bands 3 to 5, and no word of 0 to 2
    read.clear()
    with Build(of) as build:
        assert build.pyramid.build(build.connection)
        holds(build, wanted)
    assert len(read) == wanted[2]


def test_of_a_model_that_changed_nothing_counts(of, read, tmp_path):
    half_done(of)
    path = of.files[0].path
    with open(path, "ab") as file:
        file.write(b"!")
    changed = network(model_file(tmp_path, content=b"other"))
    read.clear()
    with Build(changed) as build:
        assert build.pyramid.carried(build.connection) == 0
        assert build.pyramid.build(build.connection)
    assert len(read) == 26


def test_where_nothing_can_be_written_it_is_built_all_the_same(of):
    wanted = undisturbed(of)
    with Build(of), Journal.open(of, PLAN) as second:  # the first has the lock
        assert "another process" in second.reason
        connection, reader = made()
        pyramid = Pyramid(reader, period=lambda _: PERIOD)
        pyramid.attach(second, second.append, second)
        assert pyramid.build(connection)
        pyramid.write_unfinished()
        assert pyramid.totals(connection).row() == wanted[0]


def test_of_small_connections_no_run_is_written(of):
    """Small ones are written when they are whole; so is what is left of a large one by then."""
    rng = np.random.default_rng(1)
    arrays = {f"w{i}": rng.normal(size=(128, 64)).astype(np.float32) for i in range(20)}
    connections = [
        connection
        for i, name in enumerate(arrays)
        for connection in connections_of(
            Layer(f"d{i}", "Dense", weights=(weight(name, "kernel", arrays[name]),))
        )
    ]
    with Journal.open(of, PLAN) as journal:
        pyramid = Pyramid(ArrayReader(arrays))
        pyramid.attach(journal, journal.append, journal)
        journal.append_run = None  # type: ignore[method-assign]  # not to be called
        with ThreadPoolExecutor(1) as thread:
            assert build_all(pyramid, connections, (thread, 1), here(pyramid.level0))
        assert not journal.begun
        assert journal.finish([pyramid.section_name(c) for c in connections]) is not None
