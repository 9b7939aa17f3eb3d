"""The compiled sums are numpy's, bit for bit, and nothing depends on whether they are there."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from explorer.pyramid.grid import Grid
from explorer.pyramid.sums import compiled, sheet
from explorer.pyramid.sums.compiled import Added
from explorer.pyramid.sums.kernel import STORED
from explorer.pyramid.sums.sheet import Sheet

ROOT = Path(__file__).resolve().parent.parent
WIDE = (63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 300, 511, 513, 1000, 2047, 8191, 8192)
PIECES = [
    *((64, columns) for columns in WIDE),
    *((rows, 200) for rows in (1, 2, 3, 62, 63, 128, 192)),
    (5, 4097),
    (128, 1300),
]
VALUES = ("spread", "negative zeros", "tiny", "huge", "nan", "infinite", "zeros")


def numbers(shape: tuple[int, int], what: str) -> np.ndarray:
    """Float32 of a kind that some implementations of sums stumble over."""
    draw = np.random.default_rng(sum(shape))
    found = (draw.normal(size=shape) * np.exp(3 * draw.normal(size=shape))).astype(np.float32)
    if what == "negative zeros":
        found[draw.random(shape) < 0.5] = 0.0
        found[:, ::3] = -0.0
    elif what == "tiny":
        found *= np.float32(1e-9)
    elif what == "huge":
        found *= np.float32(1e16)
    elif what == "nan":
        found[-1, -1] = np.nan
    elif what == "infinite":
        found[0, 0] = -np.inf
    elif what == "zeros":
        found[:] = -0.0
    return found


def stored(values: np.ndarray, dtype: str) -> np.ndarray:
    """As a file has them."""
    if dtype == "bfloat16":
        return (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    with np.errstate(over="ignore"):
        return values if dtype == "float32" else values.astype(np.float16).view(np.uint16)


def sheets(
    pieces: list[tuple[np.ndarray, int, int]], dtype: str, grid: Grid, monkeypatch
) -> list[Sheet]:
    """By the library, and by numpy."""
    found = []
    for take in (compiled.library, lambda *_: None):
        monkeypatch.setattr(sheet, "library", take)
        made = Sheet.empty(grid, grid.rows)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            for piece, row, column in pieces:
                made.add(STORED[dtype], [piece], row, column)
        found.append(made)
    return found


def same(one: Sheet, other: Sheet) -> None:
    """Byte for byte."""
    for name in ("sums", "peak", "tile_peak", "bad", "over_rows", "over_columns"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None) == (b is None)
        assert a is None or a.tobytes() == b.tobytes(), name


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", PIECES, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("what", VALUES)
def test_equal_to_numpy_bit_for_bit(dtype, shape, what, monkeypatch):
    values = stored(numbers(shape, what), dtype)
    for lines, width, beside in ((True, 64, 0), (False, 128, 2), (True, 1024, 0)):
        within = np.zeros((shape[0], shape[1] + beside), values.dtype)
        within[:, : shape[1]] = values
        grid = Grid(*shape, 1, width, 64, True, lines)
        same(*sheets([(within[:, : shape[1]], 0, 0)], dtype, grid, monkeypatch))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_at_any_address(dtype, monkeypatch):
    """Arrays in a file may begin at any byte, and are summed up where they were read to."""
    values = stored(numbers((128, 300), "spread"), dtype)
    raw = np.zeros(values.nbytes + 1, np.uint8)
    raw[1:] = values.reshape(-1).view(np.uint8)
    askew = raw[1:].view(values.dtype).reshape(values.shape)
    assert not askew.flags.aligned
    grid = Grid(128, 300, 1, 64, 64, True, True)
    one, other = sheets([(askew, 0, 0)], dtype, grid, monkeypatch)
    same(one, other)
    same(one, sheets([(values, 0, 0)], dtype, grid, monkeypatch)[1])


def test_pieces_beside_and_below_each_other(monkeypatch):
    values = numbers((200, 9000), "spread")
    values[70, 8500] = np.nan  # its piece alone is left to numpy
    pieces = [
        (values[r0:r1, c0:c1], r0, c0)
        for r0, r1 in ((0, 64), (64, 192), (192, 200))
        for c0, c1 in ((0, 8192), (8192, 9000))
    ]
    grid = Grid(200, 9000, 1, 64, 64, True, True)
    one, other = sheets(pieces, "float32", grid, monkeypatch)
    same(one, other)
    assert one.bad.sum() == 1
    good = np.nan_to_num(values.astype(np.float64))
    assert np.allclose(one.over_rows[0], (good**2).sum(1), rtol=1e-5)
    assert np.all(np.abs(one.over_columns[1] - good.sum(0)) <= 1e-5 * np.abs(good).sum(0))
    assert np.array_equal(one.over_columns[3], np.abs(good).max(0))


def test_the_library_does_the_work():
    """Else all of the above would compare numpy with itself."""
    assert compiled.available(), "not built: python scripts/build_sums.py"
    made = Sheet.empty(Grid(64, 128, 1, 64, 64, True, True), 64)
    arrays = (made.sums, made.peak, made.tile_peak, made.over_rows, made.over_columns)
    library = compiled.library(64, *arrays)
    values = numbers((64, 128), "spread")
    assert library.add("float32", values, 0, 0) is Added.ALL
    assert made.sums[0].sum() == pytest.approx((values.astype(float) ** 2).sum(), rel=1e-5)
    before = [a.copy() for a in arrays]
    values[3, 3] = np.inf
    assert library.add("float32", values, 0, 0) is Added.DOES_NOT_FIT
    assert library.add("float64", values.astype(float), 0, 0) is Added.NOT
    assert library.add("float32", values[:, :63], 0, 0) is Added.NOT
    assert library.add("float32", values[:, ::2], 0, 0) is Added.NOT
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays, strict=True))


def test_memory_is_kept_to(monkeypatch):
    """Nothing is written beside what a piece needs, and nothing is read beside the piece."""
    monkeypatch.setattr(compiled, "room", Guarded)
    for shape in PIECES:
        columns = shape[1] + 64
        around = np.full((shape[0] + 2, columns), np.nan, np.float32)
        piece = around[1:-1, 32 : 32 + shape[1]]
        piece[:] = numbers(shape, "spread")
        grid = Grid(*shape, 1, 64, 64, True, True)
        library, numpys = sheets([(piece, 0, 0)], "float32", grid, monkeypatch)
        same(library, numpys)
        Guarded.check()


class Guarded:
    """Memory between two fences."""

    made: list[np.ndarray] = []  # noqa: RUF012

    def array(self, name, shape, dtype):
        whole = np.full(shape[0] + 64, 7.0, dtype)
        Guarded.made.append(whole)
        return whole[32:-32]

    @classmethod
    def check(cls):
        while cls.made:
            whole = cls.made.pop()
            assert (whole[:32] == 7.0).all()
            assert (whole[-32:] == 7.0).all()


def loaded(folder: Path, **environment: str) -> bool:
    """Whether a fresh process that imports from a folder has a library."""
    code = "from explorer.pyramid.sums import compiled; print(compiled.available())"
    env = {**os.environ, "PYTHONPATH": str(folder), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() == "True"


def test_a_library_of_another_source_is_not_taken(tmp_path):
    folder = shutil.copytree(
        ROOT / "explorer",
        tmp_path / "explorer",
        ignore=shutil.ignore_patterns("web", "__pycache__", ".sums-*"),  # others may build it now
    )
    assert loaded(tmp_path)
    assert not loaded(tmp_path, **{compiled.OFF: "1"})
    source = folder / "pyramid" / "sums" / "sums.c"
    text = source.read_bytes()
    source.write_bytes(text + b"\n")
    assert not loaded(tmp_path)
    source.write_bytes(text)
    library = folder / "pyramid" / "sums" / "_sums.so"
    library.write_bytes(b"no library")
    assert not loaded(tmp_path)
    library.unlink()
    assert not loaded(tmp_path)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/no/such/cc", "No such file"),
        ("false", "the compiler failed"),
        ("cc'", "No closing quotation"),
        ("cc -ffast-math", "order that is written"),
        ("cc -Dmemset=no_such_function", "no_such_function"),  # it links, and cannot be loaded
    ],
)
def test_building_with_what_is_no_compiler_says_so(command, said):
    before = compiled.LIBRARY.read_bytes()
    done = build(ROOT, command)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert compiled.LIBRARY.read_bytes() == before


def build(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    order = [sys.executable, str(folder / "scripts" / "build_sums.py")]
    env = {**os.environ, "CC": command}
    return subprocess.run(order, env=env, capture_output=True, text=True, check=False)


def test_building_where_nothing_can_be_written_says_so(tmp_path):
    for name in ("scripts/build_sums.py", "explorer/pyramid/sums/sums.c"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(ROOT / name, tmp_path / name)
    library = tmp_path / "explorer" / "pyramid" / "sums" / "_sums.so"
    library.mkdir()
    done = build(tmp_path, "")
    assert done.returncode == 1
    assert "Is a directory" in done.stderr
    assert "Traceback" not in done.stderr
    library.rmdir()
    assert build(tmp_path, "").returncode == 0
    assert sorted(p.name for p in library.parent.iterdir()) == ["_sums.so", "sums.c"]


def test_the_smallest_numbers_count_whatever_others_have_set(tmp_path, monkeypatch):
    """Libraries that were built for speed alone have a process take subnormal numbers for 0."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("the mode is set by an instruction of x86")
    source, library = tmp_path / "mode.c", tmp_path / "mode.so"
    source.write_text(
        "#include <immintrin.h>\nunsigned mode(unsigned to)"
        "{ unsigned was = _mm_getcsr(); _mm_setcsr(to); return was; }"
    )
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    mode = ctypes.CDLL(str(library)).mode
    values = np.full((64, 64), 0x0200, np.uint16)  # 2^-15, subnormal
    values[0, 0] = 0x3C00
    made = Sheet.empty(Grid(64, 64, 1, 64, 64, True, True), 64)
    before = mode(0x1F80 | 0x8040)
    try:
        made.add(STORED["float16"], [values], 0, 0)
        assert mode(0x1F80) & 0x8040 == 0x8040  # left as it was
    finally:
        mode(before)
    assert made.sums[1, 0, 0] == 1 + 4095 * 2.0**-15
    assert made.over_rows[3, 1] == 2.0**-15
