"""Parse mutations of a model file in this process; run by test_hostile.py as a process of its own.

    python fuzz_worker.py FILE SEED CASES SECONDS

Prints one JSON object: how many cases were read, refused, and what went wrong.
"""

from __future__ import annotations

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

LONGEST_CASE = 5
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


def main() -> None:
    path, seed, cases, seconds = sys.argv[1:]
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))

    def stop(signal_number: int, frame: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, stop)
    data = Path(path).read_bytes()
    rng = random.Random(int(seed))
    end = time.monotonic() + float(seconds)
    counts: Counter[str] = Counter()
    for _ in range(int(cases)):
        if time.monotonic() > end:
            break
        counts[one(mutate(data, rng))] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
