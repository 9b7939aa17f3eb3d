"""``neuronaut index``: what it prints, how it is stopped, and what is left when it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from store_helpers import network

from explorer import indexing
from explorer.bundled import scenes_folder
from explorer.errors import ModelError
from explorer.pyramid.plan import PLAN
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.entries import entries
from explorer.pyramid.storage.journal import Journal

DIGITS = scenes_folder() / "digits.keras"
# Measures half of the connections, says so, and then waits to be stopped.
HALF = r"""
import os, sys, time
from explorer import indexing
real = indexing.build_all
def half(pyramid, connections, executor, work, progress, cancelled):
    assert real(pyramid, connections[:2], executor, work, progress, cancelled)
    os.write(1, b"half\n")
    while not cancelled():
        time.sleep(0.01)
    return real(pyramid, connections, executor, work, progress, cancelled)
indexing.build_all = half
sys.argv = ["neuronaut", "index", *sys.argv[1:]]
from explorer.__main__ import main
main()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def index(
    *arguments: object, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "explorer", "index", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False, preexec_fn=before,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert all(word in last for word in words), done.stderr
    assert "Traceback" not in done.stderr


def test_it_is_built_listed_and_cleared(folder: Path) -> None:
    assert index("--list").stdout == f"nothing is stored in {folder}\n"
    done = index(DIGITS)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"digits\.keras: 4 connections measured in [\d.]+ s;"
        r" [\d.]+ kB \([\d.]+ % of 65\.9 kB\) stored\n",
        done.stdout,
    )
    lines = done.stderr.splitlines()
    assert re.fullmatch(r"neuronaut: measuring digits\.keras: 0 %, 0 bytes of [\d.]+ kB", lines[0])
    assert re.search(r"100 %, ([\d.]+ kB) of \1, [\d.]+ [kMG]?B/s, 0 s left$", lines[-1])
    again = index(DIGITS)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "digits.keras: measured already\n"
    rows = index("--list").stdout.splitlines()
    assert rows[0].startswith("complete  ")
    assert rows[0].endswith(f"  {DIGITS}")
    assert rows[-1].endswith(f"in {folder}")
    assert len(rows) == 2
    assert index("--list", DIGITS).stdout.splitlines()[0] == rows[0]
    assert "nothing" in index("--list", "other.keras").stdout
    assert re.fullmatch(r"removed [\d.]+ kB: digits\n", index("--clear", DIGITS).stdout)
    assert list(folder.iterdir()) == []
    assert "nothing" in index("--clear").stdout


def test_a_scene_stands_for_its_network() -> None:
    assert index(DIGITS.with_suffix(".json")).returncode == 0
    assert [e.model for e in entries()] == [DIGITS]


def test_ctrl_c_keeps_what_was_measured_and_the_next_run_goes_on() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HALF, str(DIGITS)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    refused(index(DIGITS), "digits.keras", "another process")
    assert "being measured now" in index("--clear").stderr
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert told.splitlines()[-1].startswith("neuronaut: stopped; what was measured is kept, ")
    assert "Traceback" not in told
    assert [e.state for e in entries()] == ["partial"]
    with Journal.open(network(DIGITS), PLAN) as journal:
        assert len(journal.totals) == 2
    done = index(DIGITS)
    assert done.returncode == 0, done.stderr
    first = re.search(r": (\d+) %, ", done.stderr)
    assert first is not None
    assert int(first[1]) > 0  # it did not begin anew
    assert [e.state for e in entries()] == ["complete"]


def test_stopped_before_anything_is_whole_it_does_not_say_that_something_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(indexing, "build_all", lambda *_: False)
    assert not indexing.index(str(DIGITS))
    told = capsys.readouterr().err
    assert "nothing is kept" in told
    assert "what was measured is kept" not in told


def test_a_damaged_store_is_built_anew(folder: Path) -> None:
    index(DIGITS)
    (path,) = folder.glob("*.safetensors")
    raw = path.read_bytes()
    path.write_bytes(raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:])  # in the last section
    assert "4 connections measured" in index(DIGITS).stdout
    assert path.read_bytes() == raw


def test_on_a_terminal_there_is_a_bar() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", HALF, str(DIGITS)],
        stdout=subprocess.PIPE, stderr=theirs, text=True, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    assert process.stdout is not None
    process.stdout.readline()
    shown = b""
    while not re.search(rb"measuring digits\.keras.*[\d.]+/[\d.]+ kB", shown):
        assert select.select([ours], [], [], 60)[0], shown
        shown += os.read(ours, 4096)
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # the end of a terminal
        while os.read(ours, 4096):
            pass
    os.close(ours)
    assert process.communicate(timeout=60) == ("", None)
    assert process.returncode == 130


def test_without_room_it_says_so_and_stores_nothing() -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))

    refused(index(DIGITS, before=little_room), "digits.keras", "not saved", "too large")
    assert [e.state for e in entries()] in ([], ["partial"])
    assert index(DIGITS).returncode == 0


def test_a_disk_that_becomes_full_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    real = indexing.build_all

    def build(pyramid, connections, executor, work, progress, cancelled):
        assert not cancelled()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            real(pyramid, connections[:1], executor, work)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert cancelled()  # nothing more is to be read: it could not be kept
        return False

    monkeypatch.setattr(indexing, "build_all", build)
    with pytest.raises(ModelError, match=r"digits\.keras: .* not saved: .* too large"):
        indexing.index(str(DIGITS))


@pytest.mark.parametrize(("first", "says"), [(2, "changed while it was open"), (4, "rewritten")])
def test_a_model_rewritten_meanwhile_is_refused_and_then_measured_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, says: str
) -> None:
    path = tmp_path / "model.keras"
    shutil.copy(DIGITS, path)
    real = indexing.build_all

    def build(pyramid, connections, executor, work, progress, cancelled):
        assert real(pyramid, connections[:first], executor, work, progress, cancelled)
        shutil.copy(DIGITS, path)  # the same bytes, but who could know
        return real(pyramid, connections, executor, work, progress, cancelled)

    monkeypatch.setattr(indexing, "build_all", build)
    with pytest.raises(ModelError, match=says):
        indexing.index(str(path))
    assert "complete" not in [e.state for e in entries()]
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert indexing.index(str(path))
    assert [e.state for e in entries()] == ["complete"]


def test_without_a_folder_it_says_so(folder: Path) -> None:
    folder.parent.mkdir(parents=True)
    folder.write_bytes(b"in the way")
    refused(index(DIGITS), "digits.keras", "not saved", str(folder))
    assert index("--list").returncode == 0


def test_a_wrong_input_gets_one_line(tmp_path: Path) -> None:
    for arguments, words in (
        ((), ("MODEL", "--list", "--clear")),
        (("--list", "--clear"), ("not both",)),
        ((tmp_path / "none.keras",), ("none.keras", "no such file")),
        (("--clear", tmp_path / "none.keras"), ("none.keras", "no such file")),
        ((tmp_path,), (str(tmp_path),)),
    ):
        done = index(*arguments)
        refused(done, *words)
        assert len(done.stderr.splitlines()) == 1
