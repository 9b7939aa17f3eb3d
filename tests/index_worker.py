"""Runs ``neuronaut index`` many times and harms it: ``index_worker.py TASK MODEL [ARGUMENT]``.

Run by test_index_faults.py, which sets the cache folder. Each run is the whole command in a process
of its own, except that the model's structure was read before: what is harmed is the build.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from explorer import formats, indexing
from explorer.__main__ import main
from explorer.network import Network
from explorer.pyramid import gathering, grid
from explorer.pyramid.plan import PLAN
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.storage.store import Store
from explorer.pyramid.workers import building

STOPPED = 2  # the command's exit code for what it tells in one line
Sections = dict[str, tuple[object, bytes | None]]


class Run:
    """The command at work in a child."""

    def __init__(self, network: Network, before: Callable[[], None] = lambda: None) -> None:
        reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(reader)
            _command(network, writer, before)
        os.close(writer)
        self._reader = reader

    def reach(self, steps: int, seconds: float = 0.0) -> int:
        """Wait until it has measured so far and then a little; how far it came if it ended."""
        done = 0
        while done <= steps and os.read(self._reader, 1):
            done += 1
        select.select([self._reader], [], [], seconds)
        return done

    def kill(self) -> bool:
        """Kill it; whether it was still running."""
        os.kill(self.pid, signal.SIGKILL)
        return self.code() == -signal.SIGKILL

    def code(self) -> int:
        """Its exit code; a crash is an error here."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self._reader)
        assert code in (0, STOPPED, -signal.SIGKILL), code
        return code


def _command(network: Network, told: int, before: Callable[[], None]) -> None:
    """What the child does."""
    build = indexing.build_all

    def tell(*arguments: Any) -> bool:
        *others, progress, cancelled = arguments

        def step(done: int, total: int) -> None:
            os.write(told, b".")  # also before anything is done
            progress(done, total)

        return build(*others, step, cancelled)

    formats.open_network = lambda path: network  # type: ignore[assignment]
    indexing.build_all = tell  # type: ignore[assignment]
    building._JOB_BYTES = 1 << 20  # more steps
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    sys.argv = ["neuronaut", "index", network.files[0].path]
    try:
        before()
        main()
    except SystemExit as end:
        os._exit(int(end.code or 0))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def stored(network: Network) -> Sections | None:
    """What the store holds, if there is one; a damaged one is an error."""
    store = Store.open(network, PLAN)
    if store is None:
        return None
    with store:
        return {key: (totals, store.section(key)) for key, totals in store.totals.items()}


def left(network: Network) -> Sections:
    """What a journal holds."""
    with Journal.open(network, PLAN) as journal:
        assert not journal.reason, journal.reason
        return {key: (totals, journal.section(key)) for key, totals in journal.totals.items()}


def emptied() -> None:
    shutil.rmtree(cache_folder(), ignore_errors=True)


def alone(network: Network) -> tuple[Sections, int]:
    """What an undisturbed run stores, and in how many steps."""
    run = Run(network)
    steps = run.reach(1 << 30)
    assert run.code() == 0
    found = stored(network)
    assert found
    assert all(payload is not None for _, payload in found.values())
    emptied()
    return found, steps


def kill(model: Path, count: int) -> dict[str, int]:
    """Kill the command until so many kills fell into a build; see each time what is there."""
    network, draw = formats.open_network(str(model)), random.Random(4)
    wanted, steps = alone(network)
    seen = {"killed": 0, "whole": 0, "partly": 0, "nothing": 0}
    for _ in range(3 * count):
        run = Run(network)
        run.reach(draw.randrange(steps), draw.uniform(0, 0.02))
        seen["killed"] += run.kill()
        found = stored(network)
        if found is not None:
            assert found == wanted
            seen["whole"] += 1
            emptied()
        else:
            kept = left(network)
            assert kept.items() <= wanted.items()
            seen["partly" if kept else "nothing"] += 1  # the next run goes on from there
        if seen["killed"] == count:
            break
    assert Run(network).code() == 0
    assert stored(network) == wanted
    return seen


def full(model: Path, count: int) -> dict[str, int]:
    """Let the disk become full at any moment."""
    network = formats.open_network(str(model))
    wanted, _ = alone(network)
    most = 4.0 * sum(len(payload or b"") for _, payload in wanted.values()) + 20_000
    seen = {"stored": 0, "refused": 0, "partly": 0}
    for i in range(count):
        room = int(most * i / (count - 1))
        run = Run(network, lambda room=room: resource.setrlimit(  # type: ignore[misc]
            resource.RLIMIT_FSIZE, (room, room)))  # fmt: skip
        if run.code() == 0:
            assert stored(network) == wanted
            seen["stored"] += 1
        else:
            assert stored(network) is None
            kept = left(network)
            assert kept.items() <= wanted.items()
            assert not list(cache_folder().glob("*.tmp"))
            seen["refused"] += 1
            seen["partly"] += bool(kept)
        emptied()
    return seen


def race(model: Path, count: int) -> dict[str, int]:
    """Run the command several times at once."""
    network = formats.open_network(str(model))
    wanted, _ = alone(network)
    codes = [run.code() for run in [Run(network) for _ in range(count)]]
    assert stored(network) == wanted
    return {"built": codes.count(0), "refused": codes.count(STOPPED)}


def rewrite(model: Path, count: int) -> dict[str, int]:
    """Write other weights of the same size into the model while it is measured."""
    draw, raw = random.Random(6), model.read_bytes()
    other = model.with_name("other.keras").read_bytes()
    network = formats.open_network(str(model))
    _, steps = alone(network)
    seen = {"stored": 0, "refused": 0}
    for i in range(count):
        run = Run(network)
        run.reach(draw.randrange(steps), draw.uniform(0, 0.02))
        raw, other = other, raw
        if i % 2:
            model.write_bytes(raw)
        else:
            model.with_suffix(".new").write_bytes(raw)
            model.with_suffix(".new").replace(model)
        seen["stored" if run.code() == 0 else "refused"] += 1
        network = formats.open_network(str(model))  # what is there now
        assert stored(network) is None  # of the earlier weights, at best
        assert left(network) == {}
        assert Run(network).code() == 0
        print(json.dumps(totals(network)))
        emptied()
    return seen


def totals(network: Network) -> dict[str, Any]:
    """The sums that are stored of each connection."""
    found = stored(network)
    assert found is not None
    return {key.partition("\0")[0]: sums for key, (sums, _) in found.items()}


def cut_small() -> None:
    """Have the larger layers in several bands, and runs of few bands."""
    grid._BAND_BYTES = 1 << 18
    grid._LINE_SHARE = 1.0
    gathering.RUN_BYTES = 1 << 18
    gathering._COLUMN_BYTES = 0


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside numpy's idle threads
    cut_small()
    task, path, *arguments = sys.argv[1:]
    tasks = {"kill": kill, "full": full, "race": race, "rewrite": rewrite}
    print(json.dumps(tasks[task](Path(path), *map(int, arguments))))
