"""Parse mutations of model files: nothing may crash, hang, or end in anything but a clear line.

    python scripts/fuzz_formats.py FILE... [--seed N] [--cases N] [--seconds S]

Each file is changed at random, some bytes at a time, and read as the child process reads it, under
the same limit on memory. Prints one JSON object for each file: how many cases were read, refused,
and what went wrong; ends with 1 where anything did. Seeds make a run repeatable.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from explorer.formats.child import parse
from explorer.formats.manifest import decode
from explorer.formats.record import UnreadableError
from explorer.network import FileStamp

LONGEST_CASE = 10  # seconds
MEMORY = 900 << 20
SOUND = {"read", "refused", "refused by the parent"}
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x40)


class Hang(BaseException):
    """A case took too long."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """A few random changes: bytes, runs, lengths, cuts."""
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


def one(data: bytes) -> str:
    """What becomes of one file: ``read``, ``refused``, or what went wrong."""
    descriptor = os.memfd_create("case")
    try:
        os.write(descriptor, data)
        signal.alarm(LONGEST_CASE)
        answer = parse("/case", descriptor)
        if answer.startswith(b"-"):
            text = answer[1:].decode()
            return "refused" if text and text.isprintable() else f"a bad line: {text!r}"
        try:
            decode(answer[1:], FileStamp("/case", len(data), 0))
        except UnreadableError:
            return "refused by the parent"
        return "read"
    except Hang:
        return "a hang"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        os.close(descriptor)


def fuzz(path: Path, seed: int, cases: int, seconds: float) -> Counter[str]:
    """What became of the mutations of one file."""
    data = path.read_bytes()
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    for _ in range(cases):
        if time.monotonic() > end:
            break
        counts[one(mutate(data, rng))] += 1
    return counts


def main() -> None:
    """Fuzz the files that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=600.0, help="for each file")
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
