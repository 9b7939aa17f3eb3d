"""Codes become the numbers that the frameworks themselves make of them, in any rectangle."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
import pytest
from codec_files import File, pack
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.errors import ModelError
from explorer.network import Lanes, Packing, TableAxis, Weight
from explorer.weights.codecs import ggml, small_floats, stored_nbytes
from explorer.weights.weight_reader import WeightReader

RNG = np.random.default_rng(11)


def check_rectangles(file: File, weight: Weight, expected: np.ndarray, seed: int) -> None:
    """Whole, flat ranges and rectangles of a weight, against its numbers."""
    rng, flat = np.random.default_rng(seed), expected.reshape(-1)
    with WeightReader(file.network(weight)) as reader:
        whole = reader.read(weight)
        assert whole.dtype == np.float32
        assert whole.flags.c_contiguous
        np.testing.assert_array_equal(whole, expected)
        for _ in range(12):
            start, stop = sorted(rng.integers(0, flat.size + 1, 2))
            np.testing.assert_array_equal(
                reader.read_flat(weight, int(start), int(stop)), flat[start:stop]
            )
            width = int(rng.integers(1, min(flat.size, 2 * expected.shape[-1]) + 1))
            steps = (expected.shape[-1], width, int(rng.integers(0, flat.size)))
            stride = int(rng.choice(np.array(steps)))
            rows = int(rng.integers(1, 9))
            room = flat.size - (rows - 1) * stride - width
            if room < 0:
                continue
            first = int(rng.integers(0, room + 1))
            spots = first + np.arange(rows)[:, None] * stride + np.arange(width)
            read = reader.read_rows(weight, first, rows, stride, width)
            np.testing.assert_array_equal(read, flat[spots])
            assert read.flags.c_contiguous


def assert_same_floats(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal, zeros of the same sign; a NaN is a NaN."""
    np.testing.assert_array_equal(ours, theirs)
    known = ~np.isnan(theirs)
    np.testing.assert_array_equal(np.signbit(ours)[known], np.signbit(theirs)[known])


# Small floats.


@pytest.mark.parametrize("name", sorted(small_floats.TABLES))
def test_every_code_of_the_small_floats(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name))
    numbers = small_floats.table(name)
    theirs = np.arange(len(numbers), dtype=np.uint8).view(dtype).astype(np.float32)
    assert_same_floats(numbers, theirs)


def test_every_float16_and_bfloat16() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    for decode, dtype in (
        (small_floats.from_float16, np.dtype("float16")),
        (small_floats.from_bfloat16, np.dtype(ml_dtypes.bfloat16)),
    ):
        with np.errstate(invalid="ignore"):
            theirs = codes.view(dtype).astype(np.float32)
        ours = decode(codes)
        assert_same_floats(ours, theirs)
        # In blocks, and where only a few are not finite.
        many = np.tile(codes[:1000], 200).reshape(400, 500)
        many[3, 7] = codes[-1]
        np.testing.assert_array_equal(decode(many), many.view(dtype).astype(np.float32))


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2fnuz"])
def test_rectangles_of_small_floats(tmp_path: Path, name: str) -> None:
    dtype = np.dtype("float16" if name == "float16" else getattr(ml_dtypes, name))
    values = RNG.normal(size=(37, 53)).astype(np.float32).astype(dtype)
    file = File(tmp_path / "f")
    weight = file.add("w", values.view(f"u{dtype.itemsize}"), name)
    check_rectangles(file, weight, values.astype(np.float32), 1)
    assert stored_nbytes(weight, 10) == 10 * dtype.itemsize


# Integers with tables.


def tables_of(shape: tuple[int, ...], axes: tuple[TableAxis, ...],
              groups: list[np.ndarray | None]) -> np.ndarray:  # fmt: skip
    """Entry of every code, one by one, as the description of `TableAxis` says."""
    entries = np.empty([a.length for a in axes], np.int64)
    for at in np.ndindex(*entries.shape):
        entries[at] = sum(
            (int(g[i]) if g is not None else i // a.block) * a.step
            for i, a, g in zip(at, axes, groups, strict=True)
        )
    return entries.reshape(shape)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_affine_codes(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    file = File(tmp_path_factory.getbasetemp() / "affine")
    lengths = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    rng = np.random.default_rng(data.draw(st.integers(0, 9999)))
    axes, groups, step = [], [], 1
    for at, length in reversed(list(enumerate(lengths))):
        kind = data.draw(st.sampled_from(["own", "shared", "blocks", "index"]))
        count, block, index, group = length, 1, None, None
        if kind == "blocks":
            block = data.draw(st.integers(1, length + 2))
            count = -(-length // block)
        elif kind == "index":
            count = data.draw(st.integers(1, 5))
            group = rng.integers(0, count, length)
            index = file.add(f"g_idx{at}", group.astype(np.float32))
        axes.insert(0, TableAxis(length, block, 0 if kind == "shared" else step, index))
        groups.insert(0, group)
        step *= 1 if kind == "shared" else count
    lanes = None
    signed = data.draw(st.booleans())
    size = math.prod(lengths)
    bits = data.draw(st.sampled_from([2, 4, 8]))
    low = -(1 << (bits - 1)) if signed else 0
    codes = rng.integers(low, low + (1 << bits), size).astype(np.int16)
    prefix = "" if signed else "u"
    stored = codes.astype(f"{prefix}int8")
    if bits < 8:
        word = data.draw(st.sampled_from(["uint8", "int8", "int32"]))
        axis = data.draw(st.integers(0, len(lengths) - 1))
        inner = math.prod(lengths[axis + 1 :])
        lanes = Lanes(word, bits, lengths[axis], inner)
        stored = pack(codes.reshape(-1, lengths[axis], inner), bits, word)
    scale = file.add("scale", rng.normal(size=step).astype(np.float32))
    zero = None
    if data.draw(st.booleans()):
        zero = file.add("zero", rng.integers(-9, 9, step).astype(np.int8))
    divide = data.draw(st.booleans())
    packing = Packing(scale, zero, divide, tuple(axes), lanes)
    weight = file.add("w", stored, f"{prefix}int{bits}", lengths, packing)
    entries = tables_of(lengths, packing.axes, groups)
    scales = np.frombuffer(file.data, np.float32, step, scale.where.offset)
    numbers = codes.reshape(lengths).astype(np.float32)
    if zero is not None:
        numbers = numbers - np.frombuffer(file.data, np.int8, step, zero.where.offset)[entries]
    with np.errstate(all="ignore"):
        numbers = numbers / scales[entries] if divide else numbers * scales[entries]
    check_rectangles(file, weight, numbers.astype(np.float32), 5)
    with WeightReader(file.network(weight)) as reader:
        start, stop = sorted(rng.integers(0, size + 1, 2).tolist())
        np.testing.assert_array_equal(reader.read_codes(weight, start, stop), codes[start:stop])
        assert reader.code_count(weight) == 1 << bits
        assert set(codes.tolist()) <= set(reader.code_range(weight))


def test_scales_of_blocks_of_rows_and_columns(tmp_path: Path) -> None:
    """As in checkpoints with float8 weights: one ``weight_scale_inv`` per 128 × 128."""
    file = File(tmp_path / "f")
    values = RNG.normal(size=(300, 200)).astype(ml_dtypes.float8_e4m3fn)
    scales = RNG.normal(size=(3, 2)).astype(np.float32)
    axes = (TableAxis(300, 128, 2), TableAxis(200, 128, 1))
    packing = Packing(file.add("s", scales), axes=axes)
    weight = file.add("w", values.view(np.uint8), "float8_e4m3fn", packing=packing)
    spread = scales.repeat(128, axis=0)[:300].repeat(128, axis=1)[:, :200]
    check_rectangles(file, weight, values.astype(np.float32) * spread, 2)


def test_microscaling_floats_in_nibbles(tmp_path: Path) -> None:
    """``float4_e2m1fn`` two to a byte, each 32 under a power of two: OCP MXFP4."""
    file = File(tmp_path / "f")
    codes = RNG.integers(0, 16, (40, 96))
    powers = RNG.integers(120, 134, (40, 3)).astype(np.uint8)
    scale = file.add("s", powers, "float8_e8m0fnu")
    packing = Packing(scale, axes=(TableAxis(40, 1, 3), TableAxis(96, 32, 1)),
                      lanes=Lanes("uint8", 4, 96))  # fmt: skip
    stored = pack(codes.reshape(40, 96, 1), 4, "uint8")
    weight = file.add("w", stored, "float4_e2m1fn", (40, 96), packing)
    numbers = codes.astype(np.uint8).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    check_rectangles(
        file, weight, numbers * np.exp2(powers.astype(np.float32) - 127).repeat(32, 1), 3
    )
    assert stored_nbytes(weight, 96) == 48


def test_tables_too_large_to_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explorer.weights.weight_reader.TABLE_BYTES", 16)
    file = File(tmp_path / "f")
    codes, scales = RNG.integers(-8, 8, (30, 20)).astype(np.int8), RNG.normal(size=30)
    packing = Packing(file.add("s", scales.astype(np.float32)), divide=True,
                      axes=(TableAxis(30, 1, 1), TableAxis(20)))  # fmt: skip
    weight = file.add("w", codes, packing=packing)
    expected = codes.astype(np.float32) / scales.astype(np.float32)[:, None]
    check_rectangles(file, weight, expected, 4)


def test_what_is_not_finite_stays(tmp_path: Path) -> None:
    file = File(tmp_path / "f")
    codes = np.array([[0, 1, -1], [2, 0, 3]], np.int8)
    scales = np.array([0.0, np.nan, np.inf], np.float32)
    packing = Packing(file.add("s", scales), divide=True, axes=(TableAxis(2), TableAxis(3, 1, 1)))
    weight = file.add("w", codes, packing=packing)
    with WeightReader(file.network(weight)) as reader:
        read = reader.read(weight)
    np.testing.assert_array_equal(read, [[np.nan, np.nan, -0.0], [np.inf, np.nan, 0.0]])


# Blocks of GGML.


def random_blocks(name: str, count: int) -> np.ndarray:
    """Blocks with any codes; scales are small enough that numbers stay finite."""
    kind = getattr(gguf.GGMLQuantizationType, name)
    elements, nbytes = gguf.GGML_QUANT_SIZES[kind]
    try:
        values = RNG.normal(size=(count, elements)).astype(np.float32)
        return gguf.quants.quantize(values, kind).reshape(count, nbytes)
    except NotImplementedError:
        return RNG.integers(0, 256, (count, nbytes), dtype=np.uint8)


def test_sizes_of_blocks_are_those_of_ggml() -> None:
    for name, block in ggml.BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[getattr(gguf.GGMLQuantizationType, name)] == tuple(block)


@pytest.mark.parametrize("name", sorted(ggml.BLOCKS))
def test_rectangles_of_blocks(tmp_path: Path, name: str) -> None:
    kind = getattr(gguf.GGMLQuantizationType, name)
    elements = ggml.BLOCKS[name].elements
    blocks = random_blocks(name, 21)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(blocks, kind).reshape(7, 3 * elements)
    file = File(tmp_path / "f")
    weight = file.add("w", blocks, name, (7, 3 * elements))
    check_rectangles(file, weight, expected, 6)
    assert stored_nbytes(weight, elements) == ggml.BLOCKS[name].nbytes


@pytest.mark.parametrize("name", sorted(n for n in ggml.BLOCKS if ggml.codes_of(n)))
def test_codes_of_blocks(tmp_path: Path, name: str) -> None:
    """Numbers are an affine function of the codes wherever the scale is the same."""
    kind = getattr(gguf.GGMLQuantizationType, name)
    elements = ggml.BLOCKS[name].elements
    blocks = RNG.integers(0, 256, (50, ggml.BLOCKS[name].nbytes), dtype=np.uint8)
    with np.errstate(all="ignore"):
        numbers = gguf.quants.dequantize(blocks, kind).reshape(-1, 16)
    file = File(tmp_path / "f")
    weight = file.add("w", blocks, name, (50, elements))
    with WeightReader(file.network(weight)) as reader:
        codes = reader.read_codes(weight, 0, weight.size)
        np.testing.assert_array_equal(reader.read_codes(weight, 5, 77), codes[5:77])
        known = reader.code_range(weight)
    found = np.unique(codes)
    assert list(known) == sorted(set(known))
    assert set(found.tolist()) <= set(known)
    assert len(found) > 0.9 * len(known)
    checked = 0
    for c, n in zip(codes.reshape(-1, 16).astype(np.float64), numbers, strict=True):
        low, high = c.argmin(), c.argmax()
        if c[low] == c[high] or not np.isfinite(n).all():
            continue
        slope = (n[high] - np.float64(n[low])) / (c[high] - c[low])
        line = n[low] + (c - c[low]) * slope
        np.testing.assert_allclose(n, line, rtol=1e-4, atol=1e-5 * float(np.abs(n).max() + 1e-30))
        checked += 1
    assert checked > 50


def test_numbers_without_codes(tmp_path: Path) -> None:
    file = File(tmp_path / "f")
    weight = file.add("w", np.ones(4, np.float32))
    block = file.add("b", RNG.integers(0, 256, 66, dtype=np.uint8), "IQ2_XXS", (256,))
    with WeightReader(file.network(weight, block)) as reader:
        for one in (weight, block):
            assert reader.code_count(one) == 0
            with pytest.raises(ModelError, match="have no codes"):
                reader.read_codes(one, 0, 2)


# Descriptions that cannot be.


def broken(file: File) -> dict[str, tuple[Weight, str]]:
    codes = np.zeros((6, 8), np.int8)
    scale = file.add("s", np.ones(8, np.float32))
    axes = (TableAxis(6), TableAxis(8, 1, 1))
    good = file.add("w", codes, packing=Packing(scale, axes=axes))
    nibbles = file.add("n", np.zeros((6, 4), np.uint8), "uint4", (6, 8),
                       Packing(lanes=Lanes("uint8", 4, 8)))  # fmt: skip
    blocks = file.add("q", np.zeros((2, 18), np.uint8), "Q4_0", (2, 32))

    def packed(**change: object) -> Weight:
        return replace(good, packing=replace(good.packing, **change))

    def lanes(**change: object) -> Weight:
        lane = replace(nibbles.packing.lanes, **change)
        return replace(nibbles, packing=Packing(lanes=lane))

    short = replace(scale, shape=(7,), where=replace(scale.where, nbytes=28))
    empty = replace(scale, shape=(0,), where=replace(scale.where, nbytes=0))
    deep = good
    for _ in range(5):
        deep = replace(good, shape=(8,), where=replace(good.where, nbytes=8),
                       packing=Packing(deep, axes=(TableAxis(8),)))  # fmt: skip
    index = file.add("i", np.zeros(6, np.float32))
    return {
        "scale too short": (packed(scale=short), "7 scales, but groups of codes up to number 7"),
        "no scales": (packed(scale=empty), "0 scales"),
        "scale of another size": (packed(scale=replace(scale, shape=(9,))), "32 bytes where 36"),
        "zero of another size": (packed(zero=short), "another number of zero points"),
        "no axes": (packed(axes=()), "scales for another number of codes"),
        "other axes": (packed(axes=(TableAxis(6), TableAxis(9))), "another number of codes"),
        "block of nothing": (packed(axes=(TableAxis(6, 0), TableAxis(8))), "impossible size"),
        "index too short": (
            packed(axes=(TableAxis(6, 1, 1, replace(index, shape=(5,))), TableAxis(8))),
            "a group index for another number",
        ),
        "deep": (packed(scale=deep), "scales"),
        "no lanes": (replace(nibbles, packing=None), "without the words"),
        "word": (lanes(word="float32"), "words of an unknown type"),
        "bits": (lanes(bits=3), "3 bits for a code"),
        "no bits": (lanes(bits=0), "0 bits for a code"),
        "lines": (lanes(length=7), "no whole lines"),
        "no length": (lanes(length=0), "no whole lines"),
        "the same lane twice": (lanes(order=(0, 0)), "impossible order"),
        "a lane too many": (lanes(order=(0, 1, 2)), "impossible order"),
        "shifted too far": (lanes(shift=16), "shifted by more"),
        "few levels": (packed(levels=short), "7 numbers for codes|numbers for codes of type int8"),
        "levels for signed codes": (packed(levels=scale), "numbers for codes of type int8"),
        "turned cube": (replace(packed(turned=True), shape=(2, 3, 8)), "not of a matrix"),
        "truncated": (replace(nibbles, shape=(6, 16), packing=Packing(lanes=Lanes("uint8", 4, 16))),
                      "24 bytes where 48 are needed"),
        "unknown": (replace(good, dtype="Q9_X", packing=None), "unknown type"),
        "half a block": (replace(blocks, shape=(4, 16)), "no whole blocks of Q4_0"),
        "scaled blocks": (replace(blocks, packing=good.packing), "beside those in its blocks"),
        "blocks cut off": (replace(blocks, shape=(3, 32)), "36 bytes where 54"),
    }  # fmt: skip


def test_impossible_descriptions_give_one_clear_line(tmp_path: Path) -> None:
    file = File(tmp_path / "f")
    for name, (weight, words) in broken(file).items():
        with WeightReader(file.network(weight)) as reader:
            for read in (reader.read, lambda w, r=reader: r.read_rows(w, 0, 2, 4, 3)):
                with pytest.raises(ModelError, match=words) as caught:
                    read(weight)
                assert "\n" not in str(caught.value), name
                assert weight.name in str(caught.value)


@pytest.mark.parametrize("value", [3, -1, np.nan, np.inf, 1e300])
def test_a_group_index_that_leads_outside(tmp_path: Path, value: float) -> None:
    file = File(tmp_path / "f")
    index = file.add("i", np.array([0, 1, 2, value]))
    scale = file.add("s", np.ones((3, 5), np.float32))
    axes = (TableAxis(4, 1, 5, index), TableAxis(5, 1, 1))
    weight = file.add("w", np.zeros((4, 5), np.int8), packing=Packing(scale, axes=axes))
    with WeightReader(file.network(weight)) as reader:
        np.testing.assert_array_equal(reader.read_flat(weight, 0, 15), np.zeros(15))
        with pytest.raises(ModelError, match="group index names scales that do not exist"):
            reader.read(weight)


def test_an_empty_weight_and_a_scalar(tmp_path: Path) -> None:
    file = File(tmp_path / "f")
    scale = file.add("s", np.array([4.0], np.float32))
    none = file.add("none", np.zeros((0, 5), np.int8), packing=Packing(scale, axes=(TableAxis(0),)))
    one = file.add("one", np.array(12, np.int8), packing=Packing(scale, divide=True))
    with WeightReader(file.network(none, one)) as reader:
        assert reader.read(none).shape == (0, 5)
        assert reader.read(one) == 3
    assert stored_nbytes(none, 0) == 0


def test_descriptions_can_be_sent_to_other_processes(tmp_path: Path) -> None:
    file = File(tmp_path / "f")
    for weight, _ in broken(file).values():
        assert pickle.loads(pickle.dumps(weight)) == weight
