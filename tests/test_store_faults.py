"""Killed, full, locked, forbidden: the statistics are kept whole, or work goes on without."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import store_worker
from store_helpers import PLAN, model_file, network, sections

from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.storage.store import Store


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_file(tmp_path)


def worker(task: str, model: Path, *arguments: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, store_worker.__file__, task, str(model), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def outcome(task: str, model: Path, *arguments: int) -> dict[str, int]:
    with worker(task, model, *arguments) as process:
        told, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    found: dict[str, int] = json.loads(told)
    return found


def test_killed_at_random_moments_the_store_is_absent_or_whole(model: Path) -> None:
    seen = outcome("kill", model, 50)
    assert seen["whole"] + seen["partly"] + seen["nothing"] == 50
    # The kills really fell into the builds.
    assert seen["killed"] > 10
    assert seen["partly"] > 5


def test_of_builders_that_race_one_writes(model: Path) -> None:
    seen = outcome("race", model, 4)
    assert seen["built"] >= 1
    assert seen["built"] + seen["refused"] == 4


def test_a_second_builder_works_without_writing(model: Path) -> None:
    of = network(model)
    with worker("hold", model) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        with Journal.open(of, PLAN) as journal:
            assert "another process" in journal.reason
            assert "\n" not in journal.reason
            assert journal.totals == {}
            journal.append("k", (0.0, 0.0, 0.0, 0.0, 0, 0), b"x")
            assert journal.section("k") is None
            assert journal.finish(["k"]) is None
        assert Store.open(of, PLAN) is None
        process.communicate("go on\n", timeout=60)
    assert process.returncode == 0
    assert store_worker.whole(model)


def test_a_dead_builder_blocks_nobody(model: Path) -> None:
    with worker("hold", model) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
        process.wait(timeout=30)
        assert store_worker.left(model) == 1
        assert store_worker.build(model) == ""
        assert store_worker.whole(model)


def test_two_journals_of_one_process_do_not_mix(model: Path) -> None:
    of, made = network(model), sections(3)
    with Journal.open(of, PLAN) as first, Journal.open(of, PLAN) as second:
        assert (first.reason, bool(second.reason)) == ("", True)
        for key, entry in made.items():
            second.append(key, *entry)
        assert first.section(next(iter(made))) is None
    with Journal.open(of, PLAN) as third:
        assert third.reason == ""


# -- no room ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def room(nbytes: int) -> Iterator[None]:
    """Files may grow to this size only, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (nbytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_the_writing_and_nothing_else(model: Path, folder: Path) -> None:
    of, made = network(model), sections(6, most=400)
    kept, finished = set(), 0
    for most in range(0, 3200, 37):
        for path in folder.glob("*"):
            path.unlink()
        with room(most):
            journal = Journal.open(of, PLAN)
            for key, entry in made.items():
                journal.append(key, *entry)
            store = journal.finish(made)
            told = journal.reason
            journal.close()
        if store is not None:
            store.close()
            finished += 1
            continue
        assert "File too large" in told
        assert "\n" not in told
        assert Store.open(of, PLAN) is None
        assert not [p for p in folder.iterdir() if p.suffix == ".tmp"]
        with Journal.open(of, PLAN) as again:
            assert again.reason == ""
            kept.add(len(again.totals))
            for key, (totals, payload) in made.items():
                if key in again.totals:
                    assert (again.totals[key], again.section(key)) == (totals, payload)
                else:
                    again.append(key, totals, payload)
            whole = again.finish(made)
        assert whole is not None
        with whole:
            assert {key: whole.section(key) for key in made} == {k: p for k, (_, p) in made.items()}
    assert kept == set(range(7))  # full at every record, and once only the store had no room
    assert finished


def test_what_is_written_after_a_full_disk_is_not_mixed_up(model: Path) -> None:
    of, made = network(model), sections(3, most=400)
    first, second, third = made
    with Journal.open(of, PLAN) as journal:
        journal.append(first, *made[first])
        with room(100):
            journal.append(second, *made[second])
        assert journal.reason
        journal.append(third, *made[third])  # the disk has room again, but a line was said
        assert journal.section(first) == made[first][1]
        assert journal.section(third) is None
    with Journal.open(of, PLAN) as journal:
        assert list(journal.totals) == [first]


# -- not allowed -----------------------------------------------------------------------------------


def forbid_file(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"in the way")


def forbid_parent(folder: Path) -> None:
    folder.parent.parent.mkdir(parents=True)
    folder.parent.write_bytes(b"in the way")


def forbid_loop(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder)


@pytest.mark.parametrize("forbid", [forbid_file, forbid_parent, forbid_loop])
def test_without_a_folder_work_goes_on(model: Path, folder: Path, forbid) -> None:
    forbid(folder)
    works_without(model)


def test_a_folder_that_no_file_can_be_made_in(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/self")
    works_without(model)

    def nowhere(*_: object, **__: object) -> Path:
        return Path("~/.cache/neuronaut")  # of a user whom the system does not know

    monkeypatch.setattr("platformdirs.user_cache_path", nowhere)
    works_without(model)
    assert not Path("~").exists()


@pytest.mark.parametrize("ending", [".lock", ".journal", ".safetensors"])
def test_a_folder_in_the_place_of_a_file(model: Path, folder: Path, ending: str) -> None:
    of = network(model)
    Journal.open(of, PLAN).close()
    (lock,) = folder.iterdir()
    path = lock.with_suffix(ending)
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "not mine").touch()
    works_without(model)
    assert (path / "not mine").exists()


def works_without(model: Path) -> None:
    of, made = network(model), sections(3)
    assert Store.open(of, PLAN) is None
    with Journal.open(of, PLAN) as journal:
        for key, entry in made.items():
            journal.append(key, *entry)
        assert journal.finish(made) is None
        assert "not saved" in journal.reason
        assert "\n" not in journal.reason
    assert Store.open(of, PLAN) is None


# -- threads ---------------------------------------------------------------------------------------


def test_threads_append_and_read_at_the_same_time(model: Path) -> None:
    of, made = network(model), sections(200)

    def work(key: str) -> bool:
        journal.append(key, *made[key])
        return journal.section(key) == made[key][1]

    with Journal.open(of, PLAN) as journal, ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, made))
        store = journal.finish(made)
    assert store is not None
    with store, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(store.section, made)) == [p for _, p in made.values()]


def test_a_store_closed_under_its_readers_gives_right_bytes_or_none(
    model: Path, tmp_path: Path
) -> None:
    of, made = network(model), sections(50, most=50_000)
    for _ in range(20):
        with Journal.open(of, PLAN) as journal:
            for key, entry in made.items():
                journal.append(key, *entry)
            store = journal.finish(made)
        assert store is not None
        begun = threading.Barrier(5)

        def read(store: Store = store, begun: threading.Barrier = begun) -> bool:
            begun.wait()
            return all(store.section(k) in (None, payload) for k, (_, payload) in made.items())

        with ThreadPoolExecutor(4) as threads:
            answers = [threads.submit(read) for _ in range(4)]
            begun.wait()
            store.close()
            other = os.open(model, os.O_RDONLY)  # takes the number that was given back
            assert all(answer.result() for answer in answers)
            os.close(other)
