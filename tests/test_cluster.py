"""``neuronaut index --dask``: the same bytes, whatever becomes of the cluster."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster_worker
import keras
import pytest

from explorer import indexing
from explorer.errors import NeuronautError
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.entries import entries
from explorer.pyramid.workers import cluster

pytest.importorskip("distributed")
LIMIT = 120  # seconds that anything here may take
# Runs the command with other limits: NAME=VALUE of the module, then the command's arguments.
WITH = """
import sys
from explorer.pyramid.workers import cluster
while "=" in sys.argv[1]:
    name, _, value = sys.argv.pop(1).partition("=")
    setattr(cluster, name, float(value))
sys.argv[:1] = ["neuronaut", "index"]
from explorer.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some 60 MB: enough for several tasks."""
    keras.utils.set_random_seed(5)
    layers = [keras.layers.Dense(n, activation="relu") for n in (2500, 2600, 1500, 10)]
    path = tmp_path_factory.mktemp("model") / "dense.keras"
    keras.Sequential([keras.Input((800,)), *layers]).save(path)
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture(scope="module")
def wanted(model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The store as this machine makes it alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("alone")))
        assert indexing.index(str(model))
        return stored()


def stored() -> bytes:
    (path,) = cache_folder().glob("*.safetensors")
    return path.read_bytes()


def until(done: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    """Wait for something that these processes do."""
    end = time.monotonic() + LIMIT
    while not done():
        assert time.monotonic() < end, "waited in vain"
        assert all(p.poll() is None for p in processes), "ended too early"
        time.sleep(0.02)


class Machines:
    """A scheduler, and workers that are started when they are wanted."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder, self._stack = folder, stack
        told = folder / "scheduler.json"
        # A task whose worker is lost is given up at once: to hand it to another is up to us.
        quick = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        self.scheduler = self._start(
            "-m", "distributed.cli.dask_scheduler", "--host=127.0.0.1", "--port=0",
            "--no-dashboard", f"--scheduler-file={told}", **quick,
        )  # fmt: skip
        until(lambda: told.exists() and told.read_text().endswith("}"), self.scheduler)
        self.address: str = json.loads(told.read_text())["address"]

    def worker(self, *how: object) -> subprocess.Popen[str]:
        script = cluster_worker.__file__
        return self._start(script, self.address, str(self._folder), *map(str, how))

    def _start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        with (self._folder / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], stdout=log, stderr=log, text=True,
                env={**os.environ, **environment},
            )  # fmt: skip
        self._stack.callback(process.wait, LIMIT)
        self._stack.callback(process.kill)
        return process

    @contextlib.contextmanager
    def workers_end(self) -> Iterator[Machines]:
        """All workers that are started within end with it; the scheduler stays."""
        before = self._stack
        with contextlib.ExitStack() as self._stack:
            yield self
        self._stack = before


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with contextlib.ExitStack() as stack:
        yield Machines(tmp_path_factory.mktemp("scheduler"), stack)


@pytest.fixture
def machines(scheduler: Machines) -> Iterator[Machines]:
    with scheduler.workers_end():
        yield scheduler


def started(model: Path, machines: Machines, *limits: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WITH, *limits, str(model), "--dask", machines.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    out, told = process.communicate(timeout=LIMIT)
    return process.returncode, out, [t for t in told.splitlines() if ": measuring " not in t]


def index(model: Path, machines: Machines, *limits: str) -> tuple[int, str, list[str]]:
    return ended(started(model, machines, *limits))


def refused(end: tuple[int, str, list[str]], *words: str) -> None:
    """One line, nothing half-written, and the next run is as if nothing had been."""
    code, out, lines = end
    assert (code, out, len(lines)) == (2, "", 1), lines
    assert all(word in lines[0] for word in words), lines
    assert [e.state for e in entries()] in ([], ["partial"])


def test_two_workers_make_the_same_store(model: Path, wanted: bytes, machines: Machines) -> None:
    machines.worker()
    machines.worker()
    code, out, lines = index(model, machines)
    assert (code, lines) == (0, [])
    assert "4 connections measured" in out
    assert stored() == wanted


def test_a_lost_worker_costs_time_alone(
    model: Path, wanted: bytes, machines: Machines, tmp_path: Path
) -> None:
    told = tmp_path / "has a task"
    lost = machines.worker("hang", told)
    run = started(model, machines)
    until(told.exists, run, lost)
    machines.worker()
    lost.kill()
    assert ended(run)[0] == 0
    assert stored() == wanted


def test_a_worker_that_sees_another_file_is_refused(
    model: Path, wanted: bytes, machines: Machines, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copy2(model, copy)
    time_ns = copy.stat().st_mtime_ns
    with copy.open("r+b") as file:
        file.seek(100)
        file.write(b"!")
    os.utime(copy, ns=(time_ns, time_ns))
    machines.worker("other", model, copy)
    refused(index(model, machines), "worker tcp://", "dense.keras", "its bytes differ")
    assert indexing.index(str(model))
    assert stored() == wanted


def test_a_worker_that_cannot_open_the_file_is_refused(model: Path, machines: Machines) -> None:
    machines.worker("other", model, "/nowhere")
    refused(index(model, machines), "worker tcp://", "dense.keras", "cannot be opened")


def test_a_worker_without_neuronaut_is_named(model: Path, machines: Machines) -> None:
    bare = machines.worker("bare")
    refused(index(model, machines), "worker tcp://", "no neuronaut there", "explorer")
    assert bare.poll() is None  # it goes on serving others


def test_a_worker_that_would_count_otherwise_is_refused(model: Path, machines: Machines) -> None:
    machines.worker("older")
    refused(index(model, machines), "worker tcp://", "has numpy 1.0, not ")


def test_workers_that_break_down_are_not_called_for_ever(model: Path, machines: Machines) -> None:
    machines.worker("die")
    refused(index(model, machines, "_TRIES=1"), "lost again and again", "memory")


def test_without_workers_it_ends(model: Path, machines: Machines) -> None:
    end = index(model, machines, "_DESERTED=0", "_OFTEN=0")
    refused(end, machines.address, "has no workers")


def test_a_lost_scheduler_ends_the_work(model: Path, tmp_path: Path) -> None:
    told = tmp_path / "has a task"
    with contextlib.ExitStack() as stack:
        machines = Machines(tmp_path, stack)
        worker = machines.worker("hang", told)
        run = started(model, machines)
        until(told.exists, run, worker)
        machines.scheduler.kill()
        refused(ended(run), machines.address, "connection to the scheduler was lost")


def test_ctrl_c_leaves_the_cluster(model: Path, machines: Machines, tmp_path: Path) -> None:
    told = tmp_path / "has a task"
    worker = machines.worker("hang", told)
    run = started(model, machines)
    until(told.exists, run, worker)
    run.send_signal(signal.SIGINT)
    code, out, lines = ended(run)
    assert (code, out, len(lines)) == (130, "", 1), lines
    assert "stopped before anything was measured" in lines[0]  # the worker hangs
    assert machines.scheduler.poll() is worker.poll() is None


@pytest.mark.parametrize(
    "address",
    ["tcp://127.0.0.1:1", "127.0.0.1:1", "nonsense", "tls://127.0.0.1:1", "foo://x", " "],
)
def test_where_no_scheduler_answers_it_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(cluster, "_CONNECTING", 0.3)
    with pytest.raises(NeuronautError, match=r"scheduler") as error:
        indexing.index(str(model), dask=address)
    assert "\n" not in str(error.value)
    assert address in str(error.value)
    assert entries() == []


def test_without_dask_it_says_what_to_install(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NeuronautError, match=r"pip install neuronaut\[dask\]"):
        indexing.index(str(model), dask="tcp://127.0.0.1:1")
