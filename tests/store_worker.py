"""Builds stores in processes of its own, to be killed: ``store_worker.py TASK MODEL [ARGUMENT]``.

Run by test_store_faults.py, which sets the cache folder.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
import warnings
from pathlib import Path

from store_helpers import PLAN, network, sections

from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.storage.store import Store

MADE = sections(300, seed=7, most=20_000)


def build(model: Path, seed: int = 0) -> str:
    """Go on from whatever is there, in a random order; the reason why it came to nothing."""
    order = list(MADE)
    random.Random(seed).shuffle(order)
    with Journal.open(network(model), PLAN) as journal:
        for key in order:
            if key not in journal.totals:
                journal.append(key, *MADE[key])
        store = journal.finish(MADE)
        if store is not None:
            store.close()
        return journal.reason


def whole(model: Path) -> bool:
    """Whether there is a store; one that is not whole and true is an error."""
    store = Store.open(network(model), PLAN)
    if store is None:
        return False
    with store:
        assert store.totals == {key: totals for key, (totals, _) in MADE.items()}
        assert all(store.section(key) == payload for key, (_, payload) in MADE.items())
    return True


def left(model: Path) -> int:
    """How many sections a journal holds; one that is not true is an error."""
    with Journal.open(network(model), PLAN) as journal:
        assert not journal.reason, journal.reason
        for key, totals in journal.totals.items():
            assert totals == MADE[key][0]
            assert journal.section(key) == MADE[key][1]
        return len(journal.totals)


def killed_after(seconds: float, model: Path, seed: int) -> bool:
    """Build in a child and kill it some time after it has begun; whether it was still at it."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.write(writer, b"begun")
        os._exit(1 if build(model, seed) else 0)
    os.close(writer)
    os.read(reader, 5)
    select.select([reader], [], [], seconds)  # the end of the child ends the wait
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)


def kill(model: Path, rounds: int) -> dict[str, int]:
    """Kill builds at random moments and look each time what is there."""
    draw = random.Random(4)
    start = time.perf_counter()
    assert not build(model)
    usual = time.perf_counter() - start
    seen = {"killed": 0, "whole": 0, "partly": 0, "nothing": 0}
    folder = next(iter(_stores())).parent
    for path in _stores():
        path.unlink()
    for seed in range(rounds):
        seen["killed"] += killed_after(draw.uniform(0.0, 1.2 * usual), model, seed)
        if whole(model):
            seen["whole"] += 1
        else:
            seen["partly" if left(model) else "nothing"] += 1
            if seed % 2:  # every other one goes on
                assert not build(model, seed)
                assert whole(model)
        for path in folder.iterdir():
            if path.suffix == ".safetensors" or seed % 3 == 0:
                path.unlink()
    return seen


def race(model: Path, count: int) -> dict[str, int]:
    """Build in several processes at the same time."""
    children = []
    for seed in range(count):
        child = os.fork()
        if not child:
            reason = build(model, seed)
            assert not reason or "another process" in reason, reason
            os._exit(3 if reason else 4)
        children.append(child)
    ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert whole(model)
    return {"built": ends.count(4), "refused": ends.count(3)}


def hold(model: Path) -> dict[str, int]:
    """Begin a build, say so, and wait to be told to finish it."""
    with Journal.open(network(model), PLAN) as journal:
        first, *others = MADE
        journal.append(first, *MADE[first])
        print("begun", flush=True)
        sys.stdin.readline()
        for key in others:
            journal.append(key, *MADE[key])
        store = journal.finish(MADE)
        assert store is not None, journal.reason
        store.close()
    return {"stored": 1}


def _stores() -> list[Path]:
    return list(cache_folder().glob("*.safetensors"))


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside numpy's idle threads
    task, path, *arguments = sys.argv[1:]
    run = {"kill": kill, "race": race, "hold": hold}[task]
    print(json.dumps(run(Path(path), *map(int, arguments))))  # type: ignore[operator]
