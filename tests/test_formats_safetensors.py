"""safetensors against its own library and PyTorch; what is wrong is told in one line."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from format_samples import write_shards
from safetensors.torch import save_file

from explorer.errors import ModelError
from explorer.formats import open_network
from explorer.network import Network
from explorer.weights.weight_reader import WeightReader

TYPES = {
    torch.float32: "float32", torch.float64: "float64", torch.float16: "float16",
    torch.bfloat16: "bfloat16", torch.int8: "int8", torch.uint8: "uint8", torch.int64: "int64",
    torch.int32: "int32", torch.bool: "bool", torch.float8_e4m3fn: "float8_e4m3fn",
    torch.float8_e5m2: "float8_e5m2",
}  # fmt: skip


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    state = {
        f"body.{i}.proj.weight": (torch.randn(5, 7) * 3).to(dtype) for i, dtype in enumerate(TYPES)
    }
    return state | {"body.0.norm.weight": torch.ones(7), "scale": torch.tensor(2.5),
                    "none": torch.zeros(0, 4)}  # fmt: skip


def _numbers(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float16):
        return tensor.to(torch.float32).numpy()
    return tensor.numpy()


def _check(network: Network, state: dict[str, torch.Tensor]) -> None:
    found = {w.name: w for layer in network.layers for w in layer.weights}
    assert set(found) == set(state)
    with WeightReader(network) as reader:
        for name, tensor in state.items():
            assert found[name].dtype == TYPES[tensor.dtype]
            assert found[name].shape == tuple(tensor.shape)
            np.testing.assert_array_equal(reader.read(found[name]), _numbers(tensor))


def test_every_type_reads_back_as_pytorch_has_it(tmp_path: Path) -> None:
    state = _state()
    save_file(state, tmp_path / "any name", {"format": "pt"})
    network = open_network(tmp_path / "any name")
    assert network.format == "safetensors"
    _check(network, state)


def test_a_sharded_model_is_whole_by_folder_index_or_any_shard(tmp_path: Path) -> None:
    state = _state()
    where = write_shards(tmp_path, state)
    for opened in (tmp_path, tmp_path / "model.safetensors.index.json",
                   tmp_path / where["scale"]):  # fmt: skip
        _check(open_network(opened), state)


def test_the_cache_of_the_hub_is_all_links(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    state = _state()
    write_shards(snapshot, state)
    for at, path in enumerate(sorted(snapshot.iterdir())):
        path.rename(blobs / f"{at:064}")
        path.symlink_to(f"../../blobs/{at:064}")
    for opened in (snapshot, snapshot / "model.safetensors.index.json"):
        _check(open_network(opened), state)


def test_a_shard_without_its_index_is_told(tmp_path: Path) -> None:
    where = write_shards(tmp_path, _state())
    (tmp_path / "model.safetensors.index.json").unlink()
    network = open_network(tmp_path / where["scale"])
    assert "one of 3 files; the index beside it is missing" in network.notes


def _raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _tensor(start: int, stop: int, shape: list[object], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


WRONG = {
    "hole": (_raw({"a": _tensor(0, 4, [1]), "b": _tensor(8, 12, [1])}, b"x" * 12), "leave holes"),
    "overlap": (_raw({"a": _tensor(0, 8, [2]), "b": _tensor(4, 12, [2])}, b"x" * 12), "overlap"),
    "not from 0": (_raw({"a": _tensor(4, 8, [1])}, b"x" * 8), "leave holes"),
    "trailing": (_raw({"a": _tensor(0, 4, [1])}, b"x" * 9), "bytes follow"),
    "partial": (_raw({"a": _tensor(0, 40, [10])}, b"x" * 9), "expected and .* partial download"),
    "no header": (_raw(b'{"a"', b"", 900), "at least .* partial download"),
    "shape": (_raw({"a": _tensor(0, 4, [3])}, b"x" * 4), "wrong about 'a'"),
    "bomb": (_raw({"a": _tensor(0, 4, [2**31, 2**31])}, b"x" * 4), "wrong about 'a'"),
    "huge": (_raw({"a": _tensor(0, 4, [2**62])}, b"x" * 4), "wrong about 'a'"),
    "negative": (_raw({"a": _tensor(0, 4, [-1])}, b"x" * 4), "wrong about 'a'"),
    "turned": (_raw({"a": _tensor(4, 0, [1])}, b"x" * 4), "wrong about 'a'"),
    "float": (_raw({"a": _tensor(0, 4, [1.0])}, b"x" * 4), "wrong about 'a'"),
    "true": (_raw({"a": _tensor(0, 4, [True])}, b"x" * 4), "wrong about 'a'"),
    "type": (_raw({"a": _tensor(0, 4, [1], "F99")}, b"x" * 4), "unknown type F99"),
    "twice": (_raw(b'{"a": {}, "a": {}}'), "same key twice"),
    "deep": (_raw(b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}"), "nested too deeply"),
    "list": (_raw(b"[]"), "not a model file"),
    "nan": (_raw(b'{"a": NaN}'), "not JSON"),
    "nothing": (_raw({}), "."),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_told_in_one_line(case: str, tmp_path: Path) -> None:
    data, reason = WRONG[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=reason) as error:
        open_network(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_an_index_names_only_what_lies_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "outside.safetensors")
    index = folder / "model.safetensors.index.json"

    def refused(name: object, reason: str) -> None:
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        for opened in (folder, index):
            with pytest.raises(ModelError, match=reason):
                open_network(opened)

    outside = str(tmp_path / "outside.safetensors")
    elsewhere = ("../outside.safetensors", outside, "x/../../outside.safetensors")
    for name in (*elsewhere, "sub/a.safetensors"):
        refused(name, "outside its own folder")
    refused(7, r"not a model file|no weight_map")
    refused("gone.safetensors", "gone.safetensors' is missing")
    (folder / "link.safetensors").symlink_to(outside)
    refused("link.safetensors", "leads out of its folder")
    os.mkfifo(folder / "pipe.safetensors")
    refused("pipe.safetensors", "not a regular file")
    (folder / "here.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    refused("here.safetensors", "Git LFS pointer")
    save_file({"b": torch.ones(2)}, folder / "here.safetensors")
    refused("here.safetensors", "'b', which .* puts elsewhere")


def test_config_beside_the_file_does_no_harm(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2, 3)}, tmp_path / "model.safetensors")
    for text in ("[]", "{", '{"a": 1, "a": 2}', "[" * 99999, '"x"'):
        (tmp_path / "config.json").write_text(text)
        assert len(open_network(tmp_path).layers) == 1


def test_float8_is_what_ml_dtypes_says(tmp_path: Path) -> None:
    codes = np.arange(256, dtype=np.uint8)
    tensor = torch.from_numpy(codes).view(torch.float8_e4m3fn)
    save_file({"a.weight": tensor}, tmp_path / "x")
    network = open_network(tmp_path / "x")
    with WeightReader(network) as reader:
        expected = codes.view(ml_dtypes.float8_e4m3fn).astype(np.float32)
        np.testing.assert_array_equal(reader.read(network.layers[0].weights[0]), expected)
