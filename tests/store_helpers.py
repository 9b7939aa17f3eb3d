"""Networks and made-up sections for the tests of what is kept between runs."""

from __future__ import annotations

import os
import random
from pathlib import Path

from explorer.network import FileStamp, Network

PLAN = "0123456789abcdef"
Totals = tuple[float, float, float, float, int, int]


def network(*paths: Path, name: str = "made") -> Network:
    """A network read from these files as they are now."""
    stamps = []
    for path in paths:
        status = os.stat(path)
        stamps.append(FileStamp(str(path), status.st_size, status.st_mtime_ns))
    return Network(name, "made", (), files=tuple(stamps))


def model_file(folder: Path, name: str = "model.keras", content: bytes = b"weights") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def sections(count: int, seed: int = 0, most: int = 2000) -> dict[str, tuple[Totals, bytes]]:
    """Sections by key; the same for the same arguments."""
    draw = random.Random(seed)
    made: dict[str, tuple[Totals, bytes]] = {}
    for i in range(count):
        size = draw.choice((0, 1, draw.randrange(most), draw.randrange(most)))
        totals = (draw.expovariate(1e-3), draw.gauss(0, 1), draw.random() * 1e300,
                  draw.random() * 1e-300, draw.getrandbits(50), draw.getrandbits(3))  # fmt: skip
        made[f"block_{i}/dense\0kernel"] = (totals, draw.randbytes(size))
    return made
