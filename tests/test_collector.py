"""Pauses of the garbage collector: they nest, overlap among threads, and always end."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from explorer.collector import paused


@pytest.fixture(scope="module", autouse=True)
def thawed() -> Iterator[None]:
    """`conftest` freezes what the imports made; here that would be somebody else's freezing."""
    gc.unfreeze()
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    before = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if before else gc.disable)()


def test_pause_ends_with_the_outermost_block() -> None:
    with paused():
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_pause_ends_by_an_error() -> None:
    with pytest.raises(KeyError), paused():
        raise KeyError("inside")
    assert gc.isenabled()


def test_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with paused():
        pass
    assert not gc.isenabled()


def test_decorated_function_is_paused_at_every_call() -> None:
    @paused()
    def look() -> bool:
        return gc.isenabled()

    assert [look(), look()] == [False, False]
    assert gc.isenabled()


def test_pauses_of_two_threads_overlap() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with paused():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with paused():
        thread.start()
        assert inside.wait(10)
    assert not gc.isenabled()  # the other one is still in its block
    leave.set()
    thread.join()
    assert gc.isenabled()


def young() -> int:
    return sum(len(gc.get_objects(generation=k)) for k in (0, 1))


def test_what_a_block_made_is_old_afterwards() -> None:
    with paused():
        made = [[k] for k in range(100_000)]
        assert young() > 100_000
    assert young() < 50_000 < len(made)
    assert not gc.get_freeze_count()


def test_little_is_left_to_the_collector() -> None:
    gc.collect()
    with paused():
        made = [[k] for k in range(100)]
    assert any(one is made[-1] for one in gc.get_objects(generation=0))


def test_what_somebody_else_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with paused():
            made = [[k] for k in range(100_000)]
        assert frozen / 2 < gc.get_freeze_count() <= frozen
        assert len(made) == 100_000
    finally:
        gc.unfreeze()
