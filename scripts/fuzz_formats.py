"""Parse mutations of model files: nothing may crash, hang, or end in anything but a clear line.

    python scripts/fuzz_formats.py MODEL... [--seed N] [--cases N] [--seconds S]

Each model is changed at random, some bytes at a time, and read as the child process reads it, under
the same limit on memory. Of a folder, and of a file that names others, one of the files is changed,
emptied, removed, or exchanged for another. Prints one JSON object for each model: how many cases
were read, refused, and what went wrong; ends with 1 where anything did. Seeds make a run
repeatable.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from explorer.formats.containers import neighbours
from explorer.formats.record import UnreadableError
from explorer.formats.sandbox.child import parse
from explorer.formats.sandbox.manifest import Part, decode
from explorer.network import FileStamp

LONGEST_CASE = 10  # seconds
MEMORY = 900 << 20
SOUND = {"read", "refused", "refused by the parent"}
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x40)
NUMBERS = (b"-1", b"0", b"1e9", b"NaN", b"99999999999999999999", b"null", b'"x"', b"[]", b"{}")
NAMES = (b"../x", b"/etc/passwd", b"", b"a/b", b"\\u0000", b"\\u202e")


class Hang(BaseException):
    """A case took too long."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few random changes: bytes, runs, lengths, cuts; of JSON, values too."""
    if data[:1] == b"{" and rng.random() < 0.5:
        return _rewritten(data, rng)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        at = rng.randrange(len(out))
        way = rng.randrange(6)
        if way == 0:
            out[at] = rng.randrange(256)
        elif way == 1:
            out[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            out[at : at + 8] = bytes([rng.choice(INTERESTING)]) * len(out[at : at + 8])
        elif way == 3:
            start = rng.randrange(len(out))
            out[at : at + 16] = out[start : start + len(out[at : at + 16])]
        elif way == 4:
            number = rng.choice((rng.randrange(len(out)), 2**32 - 1, 2**63, rng.randrange(64)))
            out[at : at + 8] = number.to_bytes(8, "little")[: len(out[at : at + 8])]
        elif rng.random() < 0.1:
            del out[at + 1 :]
    return bytes(out)


def _rewritten(data: bytes, rng: random.Random) -> bytes:
    """A text in JSON that is still one, with a number or a name in it changed."""
    ends = [i for i, byte in enumerate(data) if byte in b",:[]{}"]
    for _ in range(rng.choice((1, 1, 2))):
        first = rng.randrange(len(ends) - 1)
        old = data[ends[first] + 1 : ends[first + 1]].strip()
        if old[:1] == b'"' and rng.random() < 0.7:
            new = b'"' + rng.choice((*NAMES, old[1:-1] + b"x", b"x" * 5000)) + b'"'
        else:
            new = rng.choice(NUMBERS)
        if old:
            data = data[: ends[first] + 1] + new + data[ends[first + 1] :]
            break
    return data


def _finding(path: str, part: Part) -> FileStamp:
    """A further file, as the parent of the reading process finds it."""
    descriptor, real = neighbours.opened(path, part.name)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return FileStamp(real, status.st_size, status.st_mtime_ns)


def one(path: str, descriptor: int) -> str:
    """What becomes of one model: ``read``, ``refused``, or what went wrong."""
    try:
        signal.alarm(LONGEST_CASE)
        answer = parse(path, descriptor)
        if answer.startswith(b"-"):
            text = answer[1:].decode()
            return "refused" if text and text.isprintable() else f"a bad line: {text!r}"
        size = 0 if os.path.isdir(path) else os.fstat(descriptor).st_size
        try:
            decode(answer[1:], FileStamp(path, size, 0), lambda part: _finding(path, part))
        except UnreadableError:
            return "refused by the parent"
        return "read"
    except Hang:
        return "a hang"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


class Case:
    """A copy of a model in memory, one file of which is changed at a time."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._alone = not model.is_dir() and len(list(model.parent.iterdir())) == 1
        beside = model if model.is_dir() else model.parent
        copy = folder / "model" if self._alone else Path(shutil.copytree(beside, folder / "model"))
        self.path = copy if model.is_dir() else copy / model.name
        if self._alone:
            self._files = {self.path: model.read_bytes()}
        else:
            self._files = {p: p.read_bytes() for p in sorted(copy.rglob("*")) if p.is_file()}
        self._names = [p for p, data in self._files.items() if data]

    def tried(self, rng: random.Random) -> str:
        """What becomes of one mutation."""
        file = rng.choice(self._names)
        data = mutate(self._files[file], rng)
        if self._alone:
            descriptor = os.memfd_create("case")
            os.write(descriptor, data)
            try:
                return one("/case", descriptor)
            finally:
                os.close(descriptor)
        way = rng.random()
        if way < 0.02 and file != self.path:
            file.unlink()
        elif way < 0.06:
            file.write_bytes(rng.choice((b"", self._files[rng.choice(self._names)])))
        else:
            file.write_bytes(data)
        before = _opened()
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return one(str(self.path), descriptor)
        finally:
            for left in _opened() - before:  # the child closes its files by ending
                os.close(left)
            file.write_bytes(self._files[file])


def _opened() -> set[int]:
    """Numbers of the descriptors that are open."""
    with os.scandir("/proc/self/fd") as entries:
        found = {int(entry.name) for entry in entries}
    return {number for number in found if os.path.exists(f"/proc/self/fd/{number}")}


def fuzz(path: Path, seed: int, cases: int, seconds: float) -> Counter[str]:
    """What became of the mutations of one model."""
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    where = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        case = Case(path.resolve(), Path(folder))
        for _ in range(cases):
            if time.monotonic() > end:
                break
            counts[case.tried(rng)] += 1
    return counts


def main() -> None:
    """Fuzz the models that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each model")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def stop(signal_number: int, frame: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    wrong = False
    for path in options.files:
        counts = fuzz(path, options.seed, options.cases, options.seconds)
        wrong |= not set(counts) <= SOUND
        print(json.dumps({"file": path.name, **counts}))
    sys.exit(int(wrong))


if __name__ == "__main__":
    main()
