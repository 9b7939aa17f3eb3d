"""Worker processes: what they come to, and that they neither fail their work nor outlive it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from raw_network import sections, write

from explorer.bundled import scenes_folder
from explorer.errors import ModelError
from explorer.pyramid.plan import bytes_of
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.workers.building import build_all
from explorer.pyramid.workers.processes import WORTH, Processes, Standby, hands
from explorer.pyramid.workers.remote import RemoteWork
from explorer.weights.weight_reader import WeightReader


def number() -> int:
    return os.getpid()


def dies_unless(number: int) -> int:
    """Kill the process that this runs in, unless it has this number."""
    if os.getpid() != number:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def fails(text: str) -> None:
    raise ModelError("file", text)


def prints() -> str:
    print("in the way")
    os.write(1, b"of the answer")
    return "x" * (3 << 20)


@pytest.mark.parametrize("interpreter", [sys.executable, "/nowhere/python", os.devnull])
def test_the_same_bytes_come_of_it(tmp_path: Path, monkeypatch, interpreter: str) -> None:
    network, connections = write(tmp_path / "numbers.bin")
    with WeightReader(network) as reader:
        alone, many = Pyramid(reader), Pyramid(reader)
        for connection in connections:
            alone.build(connection)
        monkeypatch.setattr(sys, "executable", interpreter)
        monkeypatch.setattr("explorer.pyramid.workers.processes.WORTH", 0)
        monkeypatch.setattr("explorer.pyramid.workers.building._JOB_BYTES", 1 << 20)
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        nbytes = sum(map(bytes_of, connections))
        with hands(network, many.level0, nbytes) as (executor, work):
            assert isinstance(executor[0], Processes)
            assert isinstance(work, RemoteWork)
            assert build_all(many, connections, executor, work)
        assert sections(many, connections) == sections(alone, connections)


def test_workers_that_stand_by_are_used_first_and_end_where_nobody_takes_them(monkeypatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    with Standby(WORTH) as standby:
        with Processes(1, standby=standby) as processes:
            taken = processes.submit(os.getpid).result(60)
        (left,) = standby.take(2)
        there = left.call(os.getpid, (), {})
        assert len({taken, there, os.getpid()}) == 3
        left.close()
        with Processes(1, standby=standby) as processes:
            assert processes.submit(os.getpid).result(60) not in (taken, os.getpid())
    with Standby(WORTH) as standby:
        first, second = standby._workers
        numbers = [worker.call(os.getpid, (), {}) for worker in (first, second)]
    for one in numbers:
        with pytest.raises(ProcessLookupError):
            os.kill(one, 0)
    assert not Standby(WORTH - 1).take(9)


def test_little_work_starts_no_process(tmp_path: Path) -> None:
    network, connections = write(tmp_path / "numbers.bin")
    with WeightReader(network) as reader:
        pyramid = Pyramid(reader)
        with hands(network, pyramid.level0, sum(map(bytes_of, connections))) as (executor, work):
            assert not isinstance(executor[0], Processes)
            assert build_all(pyramid, connections, executor, work)
        assert all(map(pyramid.ready, connections))


def test_work_of_a_killed_worker_is_done_here() -> None:
    with Processes(1) as processes:
        there = processes.submit(number).result(60)
        assert there != os.getpid()
        assert processes.submit(dies_unless, os.getpid()).result(60) == os.getpid()
        assert processes.submit(number).result(60) == os.getpid()


def test_a_thread_of_this_process_can_work_too() -> None:
    with Processes(1, also_here=True) as processes:
        assert processes.workers == 2
        found = set()
        while len(found) < 2:
            found.add(processes.submit(number).result(60))
        assert os.getpid() in found


def test_errors_and_large_answers_come_back() -> None:
    with Processes(1) as processes:
        with pytest.raises(ModelError, match="file: no good"):
            processes.submit(fails, "no good").result(60)
        assert len(processes.submit(prints).result(60)) == 3 << 20
        assert processes.submit(number).result(60) != os.getpid()
        assert processes.submit(number, 1).exception(60) is not None


def test_closed_ones_take_no_more_work() -> None:
    processes = Processes(1)
    there = processes.submit(number).result(60)
    processes.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(there, 0)
    with pytest.raises(RuntimeError, match="closed"):
        processes.submit(number)


HOLDS = """
import sys
from explorer.pyramid.workers.processes import Processes
import os
with Processes(2) as processes:
    print(processes.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


def test_workers_do_not_outlive_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        worker = os.pidfd_open(int(parent.stdout.readline()))
        assert not select.select([worker], [], [], 0)[0]
        parent.kill()
        assert select.select([worker], [], [], 60)[0]
        os.close(worker)


INTERRUPTED = """
import os, sys
from explorer import indexing
from explorer.pyramid.workers import building
from explorer.pyramid.workers import processes
processes.WORTH, os.cpu_count = 0, lambda: 2
real = indexing.build_all
def some(pyramid, connections, executor, work, progress, cancelled):
    assert isinstance(executor[0], processes.Processes)
    assert real(pyramid, connections[:2], executor, work, progress, cancelled)
    there = os.getpid()
    while there == os.getpid():
        there = executor[0].submit(os.getpid).result()
    print("pid", there, flush=True)
    while not cancelled():
        os.read(0, 1)
    return real(pyramid, connections, executor, work, progress, cancelled)
indexing.build_all = some
sys.argv = ["neuronaut", "index", *sys.argv[1:]]
from explorer.__main__ import main
main()
"""


def test_ctrl_c_ends_them_in_peace(tmp_path: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(scenes_folder() / "digits.keras")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)}, start_new_session=True,
    )  # fmt: skip
    with command:
        said = command.stdout.readline()
        assert said.startswith("pid "), said + command.stderr.read()
        worker = os.pidfd_open(int(said.split()[1]))
        os.killpg(command.pid, signal.SIGINT)
        command.stdin.write("\n")
        command.stdin.flush()
        out, err = command.communicate(timeout=60)
        assert command.returncode == 130, err
        assert "Traceback" not in out + err
        assert "stopped; what was measured is kept" in err
        assert select.select([worker], [], [], 60)[0]
        os.close(worker)
