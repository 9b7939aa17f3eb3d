"""GGUF against its own package: every type, split files, and headers that lie."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from explorer.errors import ModelError
from explorer.formats import gguf as reader
from explorer.formats import open_network
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import Network
from explorer.weights.codecs.ggml import BLOCKS
from explorer.weights.weight_reader import WeightReader

TYPES = gguf.GGMLQuantizationType
RNG = np.random.default_rng(4)


def _encoded(name: str, shape: tuple[int, int]) -> np.ndarray:
    """Bytes of a tensor of a block type: quantised where the package can, else random blocks."""
    values = RNG.normal(0, 0.05, shape).astype(np.float32)
    kind = TYPES[name]
    try:
        return gguf.quantize(values, kind)
    except NotImplementedError:
        elements, nbytes = gguf.GGML_QUANT_SIZES[kind]
        return RNG.integers(0, 60, (shape[0], shape[1] // elements * nbytes), dtype=np.uint8)


def _write(path: Path, state: dict[str, tuple[np.ndarray, str]], **keys: object) -> None:
    writer = gguf.GGUFWriter(str(path), "llama", **keys)
    writer.add_name("a model")
    writer.add_token_list(["a", "b", "ç"])
    writer.add_block_count(1)
    writer.add_array("some.numbers", [1, 2, 3])
    for name, (data, kind) in state.items():
        raw = None if kind in ("F32", "F16") else TYPES[kind]
        writer.add_tensor(name, data, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def state() -> dict[str, tuple[np.ndarray, str]]:
    """A tensor of every type that is decoded."""
    found = {
        f"blk.0.x{i}.weight": (_encoded(name, (3, 512)), name) for i, name in enumerate(BLOCKS)
    }
    return found | {
        "token_embd.weight": (RNG.normal(size=(5, 7)).astype(np.float32), "F32"),
        "output_norm.weight": (RNG.normal(size=7).astype(np.float16), "F16"),
    }


def _check(network: Network, state: dict[str, tuple[np.ndarray, str]]) -> None:
    found = {w.name: w for layer in network.layers for w in layer.weights}
    assert set(found) == set(state)
    with WeightReader(network) as weights, np.errstate(all="ignore"):
        for name, (data, kind) in state.items():
            plain = data if kind in ("F32", "F16") else gguf.dequantize(data, TYPES[kind])
            assert found[name].shape == plain.shape
            np.testing.assert_array_equal(weights.read(found[name]), plain.astype(np.float32), name)


def test_every_type_reads_back_as_the_package_decodes_it(state, tmp_path: Path) -> None:
    _write(tmp_path / "any", state)
    network = open_network(tmp_path / "any")
    assert (network.name, network.format) == ("a model", "gguf")
    _check(network, state)


def test_the_numbers_of_the_types_are_those_of_the_package() -> None:
    assert {kind.value: kind.name for kind in TYPES} == reader._TYPES
    sizes = {kind.name: size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    for name, size in reader._PACKED.items():
        assert sizes[name] == size
        assert name not in BLOCKS
    assert set(sizes) == set(BLOCKS) | set(reader._PACKED) | set(reader._PLAIN)


def test_a_split_model_is_whole_by_any_part_or_its_folder(state, tmp_path: Path) -> None:
    _write(tmp_path / "m.gguf", state, split_max_tensors=6)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) > 3
    for opened in (tmp_path, tmp_path / names[0], tmp_path / names[-1]):
        _check(open_network(opened), state)
    (tmp_path / names[1]).unlink()
    assert any(
        f"{names[1]} beside it is missing" in n for n in open_network(tmp_path / names[0]).notes
    )
    with pytest.raises(ModelError, match="is missing"):
        open_network(tmp_path)


def test_types_that_are_not_decoded_are_never_shown_as_numbers(tmp_path: Path) -> None:
    blocks = RNG.integers(0, 60, (2, 2 * 36), dtype=np.uint8)
    _write(tmp_path / "x", {"a.weight": (RNG.integers(0, 60, (2, 2 * 40), dtype=np.uint8), "Q8_1"),
                            "b.weight": (blocks, "NVFP4")})  # fmt: skip
    packed, decoded = (layer.weights[0] for layer in open_network(tmp_path / "x").layers)
    assert (packed.dtype, packed.shape, packed.where) == ("Q8_1", (2, 64), None)
    assert decoded.where is not None


def test_experts_in_one_tensor_are_told_apart(tmp_path: Path) -> None:
    stacked = RNG.normal(size=(3, 64, 32)).astype(np.float32)
    coded = gguf.quantize(stacked, TYPES.Q8_0)
    _write(tmp_path / "x", {"blk.0.ffn_up_exps.weight": (coded, "Q8_0")})
    network = open_network(tmp_path / "x")
    assert [la.path for la in network.layers] == [f"blk/0/experts/{e}/ffn_up" for e in range(3)]
    with WeightReader(network) as weights:
        for e, layer in enumerate(network.layers):
            expected = gguf.dequantize(coded[e], TYPES.Q8_0)
            np.testing.assert_array_equal(weights.read(layer.weights[0]), expected)


# -- headers that lie ------------------------------------------------------------------------------


def _text(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text


def _file(tensors: int = 0, keys: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, keys) + rest


def _tensor(name: bytes, shape: list[int], kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return _text(name) + dims + struct.pack("<IQ", kind, offset)


KEY = _text(b"k")
LIES = {
    "version": (_file(version=9), "version 9"),
    "big-endian": (_file(version=0x03000000), "big-endian"),
    "tensors": (_file(2**62), "impossibly large"),
    "keys": (_file(0, 2**62), "impossibly large"),
    "cut": (_file(1, 0, b"abc"), "cut off"),
    "long name": (_file(0, 1, _text(b"k", 2**62)), "impossibly long"),
    "long text": (_file(0, 1, KEY + struct.pack("<I", 8) + _text(b"x", 2**62)), "impossibly long"),
    "kind": (_file(0, 1, KEY + struct.pack("<I", 77)), "no known type"),
    "array": (_file(0, 1, KEY + struct.pack("<IIQ", 9, 4, 2**62)), "array 'k' is impossible"),
    "texts": (_file(0, 1, KEY + struct.pack("<IIQ", 9, 8, 2**62)), "array 'k' is impossible"),
    "arrays": (_file(0, 1, KEY + struct.pack("<IIQ", 9, 9, 1)), "array 'k' is impossible"),
    "text in array": (_file(0, 1, KEY + struct.pack("<IIQQ", 9, 8, 1, 2**63)), "beyond the end"),
    "axes": (_file(1, 0, _text(b"a") + struct.pack("<I", 2**31)), "2147483648 axes"),
    "shape": (_file(1, 0, _tensor(b"a", [2**40, 2**40])), "impossible shape"),
    "rows": (_file(1, 0, _tensor(b"a", [33], 2)), "impossible shape"),
    "type": (_file(1, 0, _tensor(b"a", [32], 5)), r"type \(5\) that is not known"),
    "offset": (_file(1, 0, _tensor(b"a", [1], 0, 2**63)), "partial download"),
    "end": (_file(1, 0, _tensor(b"a", [1000])), "4 096 bytes are expected and 62|is not complete"),
    "overlap": (_file(2, 0, _tensor(b"a", [2]) + _tensor(b"b", [2], 0, 4) + bytes(99)), "overlaps"),
    "alignment": (_file(0, 1, _text(b"general.alignment") + struct.pack("<II", 4, 0)),
                  "alignment is impossible"),
    "twice": (_file(2, 0, _tensor(b"a", [2]) + _tensor(b"a", [2], 0, 32) + bytes(99)), "a second"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIES)
def test_a_header_that_lies_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    data, reason = LIES[case]
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = Source(str(path), descriptor)
        assert reader.matches(source)
        with pytest.raises(UnreadableError, match=reason):
            reader.read(source)
    finally:
        os.close(descriptor)


def test_a_file_cut_anywhere_in_its_header_is_refused(state, tmp_path: Path) -> None:
    _write(tmp_path / "whole", state)
    data = (tmp_path / "whole").read_bytes()
    for length in [*range(8, 300), *range(300, len(data), 997)]:
        path = tmp_path / "cut"
        path.write_bytes(data[:length])
        descriptor = os.open(path, os.O_RDONLY)
        try:
            with pytest.raises(UnreadableError, match=r"cut off|not complete|beyond|impossible"):
                reader.read(Source(str(path), descriptor))
        finally:
            os.close(descriptor)
