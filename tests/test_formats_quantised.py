"""Quantised checkpoints: packed here by the schemes' public definitions, and read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import quantised_files as files
from hypothesis import given, settings
from hypothesis import strategies as st
from quantised_files import Case, read

from explorer.comparing.comparison import compare_networks
from explorer.errors import ModelError
from explorer.network import Layer, Network, Weight
from explorer.open_model import OpenModel
from explorer.pyramid.level0 import WHOLE
from explorer.report import edges_json
from explorer.weights.codecs import is_number
from explorer.weights.codecs.kinds import FLOATS
from explorer.weights.connections import connections_of
from explorer.weights.weight_reader import WeightReader


def _stored_as(case: Case, dtype: type) -> Case:
    """Codes under the type that ``bnb_4bit_quant_storage`` names."""
    return case._replace(
        state={**case.state, "fc.weight": case.state["fc.weight"].reshape(-1).view(dtype)[:, None]}
    )


CASES: dict[str, files.Make] = {
    "fp8 in blocks": lambda r: files.fp8(r, (70, 33), (5, 3), (16, 16)),
    "fp8 per tensor": lambda r: files.fp8(r, (24, 40), (), (24, 40), "weight_scale"),
    "fp8 per tensor, one number": lambda r: files.fp8(r, (24, 40), (1,), (24, 40), "weight_scale"),
    "fp8 per row": lambda r: files.fp8(r, (24, 40), (24, 1), (1, 40), "weight_scale"),
    "fp8 per row, flat": lambda r: files.fp8(r, (24, 40), (24,), (1, 40), "weight_scale"),
    "gptq": lambda r: files.gptq(r, (24, 64), 4, 16, False),
    "gptq act order": lambda r: files.gptq(r, (16, 48), 4, 20, True),
    "gptq 8 bits": lambda r: files.gptq(r, (12, 32), 8, 32, True),
    "gptq 2 bits": lambda r: files.gptq(r, (16, 32), 2, 8, False),
    "gptq version 2": lambda r: files.gptq(r, (16, 48), 4, 16, True, 2),
    "awq": lambda r: files.awq(r, (24, 40), 8),
    "awq one group": lambda r: files.awq(r, (16, 24), 24),
    "nf4": lambda r: files.bnb4(r, (7, 9), 16, "nf4", False),
    "nf4 nested": lambda r: files.bnb4(r, (40, 70), 8, "nf4", True),
    "nf4 in bytes of another type": lambda r: _stored_as(
        files.bnb4(r, (8, 12), 16, "nf4", False), ml_dtypes.bfloat16
    ),
    "fp4": lambda r: files.bnb4(r, (8, 16), 64, "fp4", False),
    "int8": lambda r: files.int8_rows(r, (9, 14)),
    "packed int4": lambda r: files.pack_quantised(r, (9, 36), 4, 12, False),
    "packed int4 with zeros": lambda r: files.pack_quantised(r, (11, 30), 4, 30, True),
    "packed int8 with zeros": lambda r: files.pack_quantised(r, (9, 36), 8, 12, True),
    "nvfp4": lambda r: files.nvfp4(r, (6, 48), False),
    "nvfp4, divided": lambda r: files.nvfp4(r, (6, 48), True),
}


def _layer(network: Network, path: str = "fc") -> Layer:
    return network.layer_by_path[path]


def _kernel(layer: Layer) -> Weight:
    weight = layer.weight("kernel")
    assert weight is not None
    return weight


def _check(network: Network, case: Case, seed: int = 0) -> None:
    """One weight of the true shape, whole and in rectangles, with its codes."""
    layer, rng = _layer(network), np.random.default_rng(seed)
    weight, flat = _kernel(layer), case.matrix.reshape(-1)
    assert (layer.kind, layer.op, weight.shape) == ("Linear", "Dense", case.matrix.shape)
    assert weight.kind_of_element == case.told
    bias = case.state.get("fc.bias")
    assert layer.parameters == network.parameters == flat.size + (0 if bias is None else bias.size)
    with WeightReader(network) as reader:
        np.testing.assert_array_equal(reader.read(weight), case.matrix)
        for _ in range(6):
            start, stop = (int(n) for n in sorted(rng.integers(0, flat.size + 1, 2)))
            np.testing.assert_array_equal(reader.read_flat(weight, start, stop), flat[start:stop])
            rows = int(rng.integers(1, 6))
            width = int(rng.integers(1, max(flat.size // (2 * rows), 2)))
            stride = int(rng.integers(0, (flat.size - width) // rows + 1))
            first = int(rng.integers(0, flat.size - (rows - 1) * stride - width + 1))
            at = first + np.arange(rows)[:, None] * stride + np.arange(width)
            found = reader.read_rows(weight, first, rows, stride, width)
            np.testing.assert_array_equal(found, flat[at])
            found = reader.read_many(weight, at[:, 0], width)
            np.testing.assert_array_equal(found, flat[at])


@pytest.mark.parametrize("name", CASES)
def test_one_weight_of_the_true_shape_and_numbers(name: str, tmp_path: Path) -> None:
    case = CASES[name](np.random.default_rng(5))
    _check(read(tmp_path, case.state, case.hints), case)


def _drawn(data: st.DataObject, rng: np.random.Generator) -> Case:
    number = st.integers(1, 6)
    scheme = data.draw(st.sampled_from(["gptq", "awq", "bnb4", "packed", "int8", "fp8"]))
    high, wide = data.draw(number), data.draw(number)
    size = data.draw(st.sampled_from([8, 16, 32, 64]))
    if scheme == "gptq":
        bits = data.draw(st.sampled_from([4, 8]))
        n = 32 // bits
        order = data.draw(st.booleans())
        group = data.draw(st.integers(1, n * wide)) if order else n * wide
        return files.gptq(rng, (n * high, n * wide), bits, group, order)
    if scheme == "awq":
        return files.awq(rng, (8 * high, size * wide), size)
    if scheme == "bnb4":
        kind = data.draw(st.sampled_from(["nf4", "fp4"]))
        return files.bnb4(rng, (3 * high, 7 * wide), size, kind, data.draw(st.booleans()))
    if scheme == "packed":
        bits = data.draw(st.sampled_from([4, 8]))
        return files.pack_quantised(rng, (3 * high, 9 * wide), bits, size, data.draw(st.booleans()))
    if scheme == "int8":
        return files.int8_rows(rng, (high, wide))
    shape = (5 * high + 1, 7 * wide)
    return files.fp8(rng, shape, tuple(-(-n // size) for n in shape), (size, size))


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 999))
def test_any_shape_and_group(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject,
                             seed: int) -> None:  # fmt: skip
    case = _drawn(data, np.random.default_rng(seed))
    folder = tmp_path_factory.getbasetemp() / "any_shape"
    folder.mkdir(exist_ok=True)
    _check(read(folder, case.state, case.hints), case, seed)


@pytest.mark.parametrize("name", ["gptq act order", "awq", "nf4 nested", "fp8 in blocks"])
def test_edges_are_those_of_the_dequantised_matrix(name: str, tmp_path: Path) -> None:
    case = CASES[name](np.random.default_rng(8))
    state = _embedded(case)
    network = read(tmp_path, state, case.hints)
    with OpenModel(network) as model:
        found = edges_json(model, "embed_tokens", "up_proj", top=20)
    strongest = np.argsort(-np.abs(case.matrix).reshape(-1), kind="stable")[:20]
    expected = np.abs(case.matrix).reshape(-1)[strongest].astype(np.float64)
    assert found["total_weights"] == case.matrix.size
    np.testing.assert_allclose([e["magnitude"] for e in found["edges"]], expected, rtol=1e-6)
    for edge in found["edges"]:
        number = case.matrix[edge["to_unit"], edge["from_unit"]]
        np.testing.assert_allclose(edge["signed_mean"], number, rtol=1e-6)


def _embedded(case: Case) -> files.State:
    """A matrix as the first of a block of a transformer."""
    out, inside = case.matrix.shape
    state = {f"model.layers.0.mlp.up_proj{k[2:]}": v for k, v in case.state.items()}
    down = np.random.default_rng(9).normal(size=(inside, out)).astype(np.float32)
    return state | {"model.layers.0.mlp.down_proj.weight": down,
                    "model.embed_tokens.weight": np.ones((5, inside), np.float32)}  # fmt: skip


def test_experts_of_gpt_oss_are_matrices_of_their_own(tmp_path: Path) -> None:
    case = files.mxfp4(np.random.default_rng(2), 3, (8, 64))
    state = {f"model.layers.0.mlp.{k}": v for k, v in case.state.items()}
    network = read(tmp_path, state, case.hints)
    bias = case.state["experts.gate_up_proj_bias"]
    assert network.parameters == case.matrix.size + bias.size
    with WeightReader(network) as reader:
        for expert in range(3):
            layer = _layer(network, f"model/layers/0/mlp/experts/{expert}/gate_up_proj")
            weight = _kernel(layer)
            assert weight.name == f"model.layers.0.mlp.experts.gate_up_proj_blocks[{expert}]"
            np.testing.assert_array_equal(reader.read(weight), case.matrix[expert])
            found = layer.weight("bias")
            assert found is not None
            np.testing.assert_array_equal(reader.read(found), bias[expert])


def test_gate_and_up_of_gpt_oss_take_turns(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    up, down = files.mxfp4(rng, 2, (64, 32)), files.mxfp4(rng, 2, (32, 32))
    state = {f"model.layers.0.mlp.{k}": v for k, v in up.state.items()}
    state |= {
        f"model.layers.0.mlp.{k.replace('gate_up', 'down')}": v for k, v in down.state.items()
    }
    state |= {"model.embed_tokens.weight": np.ones((5, 32), np.float32),
              "model.layers.0.mlp.router.weight": np.ones((2, 32), np.float32)}  # fmt: skip
    with OpenModel(read(tmp_path, state, up.hints)) as model:
        place = "model/layers/0/mlp/experts/1"
        found = edges_json(model, f"{place}/gate_up_proj", f"{place}/down_proj", top=4000)
    for edge in found["edges"]:  # units 2 n and 2 n + 1 are multiplied to unit n
        number = down.matrix[1][edge["to_unit"], edge["from_unit"] // 2]
        np.testing.assert_allclose(edge["signed_mean"], number, rtol=1e-6)
    assert {e["from_unit"] for e in found["edges"]} == set(range(64))
    assert found["total_weights"] == down.matrix[1].size


def test_a_quantised_model_is_compared_with_its_floats(tmp_path: Path) -> None:
    case = CASES["gptq act order"](np.random.default_rng(4))
    (tmp_path / "old").mkdir()
    state = _embedded(case)
    floats = {k: v for k, v in state.items() if not k.startswith("model.layers.0.mlp.up_proj")}
    moved = case.matrix + np.float32(0.25)
    floats["model.layers.0.mlp.up_proj.weight"] = np.ascontiguousarray(moved)
    older, newer = read(tmp_path / "old", floats), read(tmp_path, state, case.hints)
    comparison = compare_networks(older, newer)
    with OpenModel(comparison.network, comparison=comparison) as model:
        found = edges_json(model, "embed_tokens", "up_proj", top=10)
    np.testing.assert_allclose([e["signed_mean"] for e in found["edges"]], -0.25, atol=1e-6)


@pytest.mark.parametrize("name", ["gptq act order", "awq", "nf4", "packed int4"])
def test_codes_are_those_in_the_file(name: str, tmp_path: Path) -> None:
    case = CASES[name](np.random.default_rng(6))
    network = read(tmp_path, case.state, case.hints)
    weight = _kernel(_layer(network))
    with WeightReader(network) as reader:
        assert reader.code_count(weight) == 16
        codes = reader.read_codes(weight, 0, weight.size).reshape(weight.shape)
        part = reader.read_codes(weight, 3, weight.size - 5)
    np.testing.assert_array_equal(part, codes.reshape(-1)[3:-5])
    assert set(codes.reshape(-1).tolist()) <= set(reader.code_range(weight))
    per_row = [{c: set(row[line == c].tolist()) for c in set(line.tolist())}
               for row, line in zip(case.matrix, codes, strict=True)]  # fmt: skip
    groups = 4 if name.startswith(("gptq", "packed")) else 6
    assert all(len(numbers) <= groups for row in per_row for numbers in row.values())


def test_a_large_matrix_is_measured_as_it_is(tmp_path: Path) -> None:
    """Large enough to be read in pieces; the strongest are found without being told where."""
    rng = np.random.default_rng(3)
    case = files.gptq(rng, (2056, 2080), 4, 128, True)
    state = _embedded(case)
    state.pop("model.layers.0.mlp.down_proj.weight")
    network = read(tmp_path, state, case.hints)
    weight = _kernel(_layer(network, "model/layers/0/mlp/up_proj"))
    flat = case.matrix.reshape(-1)
    with WeightReader(network) as reader:  # near each other, and far apart
        for count in (3000, 2):
            starts = np.append(rng.integers(0, flat.size - 70, count), [0, flat.size - 70])
            parts = flat[starts[:, None] + np.arange(70)]
            np.testing.assert_array_equal(reader.read_many(weight, starts, 70), parts)
    with OpenModel(network) as model:
        found = edges_json(model, "embed_tokens", "up_proj", top=30)
    assert case.matrix.size > WHOLE
    flat = np.abs(case.matrix).reshape(-1)
    expected = np.sort(flat)[::-1][:30]
    np.testing.assert_allclose([e["magnitude"] for e in found["edges"]], expected, rtol=1e-6)
    share = np.sum(np.square(expected, dtype=float)) / np.sum(np.square(flat, dtype=float))
    np.testing.assert_allclose(found["total_weights"], flat.size)
    np.testing.assert_allclose(found["shown_share_of_sum_sq"], share, rtol=1e-4)


def test_floats_of_four_bits_that_are_a_type_of_the_file(tmp_path: Path) -> None:
    case = files.nvfp4(np.random.default_rng(3), (6, 48), False)
    header = {"alone": {"dtype": "F4", "shape": [6, 48], "data_offsets": [0, 144]}}
    data, at = case.state["fc.weight"].tobytes() * 2, 288
    header["fc.weight"] = {"dtype": "F4", "shape": [6, 48], "data_offsets": [144, 288]}
    for name, dtype in (("fc.weight_scale", "F8_E4M3"), ("fc.weight_scale_2", "F32")):
        array = case.state[name]
        span = [at, at + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": span}
        data, at = data + array.tobytes(), span[1]
    told = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(told).to_bytes(8, "little") + told + data)
    network = files.reread(path)
    weight = _kernel(_layer(network))
    alone = next(w for la in network.layers for w in la.weights if w.name == "alone")
    bytes_ = case.state["fc.weight"]
    codes = np.stack([bytes_ & 15, bytes_ >> 4], axis=-1).reshape(6, 48)
    with WeightReader(network) as reader:
        np.testing.assert_array_equal(reader.read(weight), case.matrix)
        np.testing.assert_array_equal(reader.read(alone), files.E2M1[codes])


def test_files_of_pytorch_too(tmp_path: Path) -> None:
    import torch

    case = CASES["gptq act order"](np.random.default_rng(7))
    state = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in case.state.items()}
    torch.save(state, tmp_path / "pytorch_model.bin")
    _check(files.reread(tmp_path / "pytorch_model.bin"), case)


# What does not fit.


def _broken(name: str, **changes: Any) -> tuple[files.State, dict[str, Any]]:
    case = CASES[name](np.random.default_rng(1))
    state = dict(case.state)
    for leaf, array in changes.items():
        key = f"fc.{leaf.replace('__', '.', 2)}"
        if array is None:
            del state[key]
        else:
            state[key] = array
    return state, case.hints


STATE = "weight__quant_state__bitsandbytes__nf4"
BROKEN: dict[str, tuple[files.State, dict[str, Any]]] = {
    "scales of another width": _broken("gptq", scales=np.ones((4, 23), np.float16)),
    "zeros of another height": _broken("gptq", qzeros=np.ones((3, 3), np.int32)),
    "an index of another length": _broken("gptq act order", g_idx=np.ones(13, np.int32)),
    "no zeros": _broken("gptq", qzeros=None),
    "integers as scales": _broken("gptq", scales=np.ones((4, 24), np.int32)),
    "three bits": _broken("gptq", qweight=np.ones((6, 24), np.int32), g_idx=np.ones(64, np.int32)),
    "no groups": _broken("awq", scales=np.ones((0, 24), np.float16), qzeros=np.ones((0, 3), "i4")),
    "too many groups": _broken("awq", scales=np.ones((41, 24), np.float16),
                               qzeros=np.ones((41, 3), np.int32)),
    "another order": (_broken("awq")[0], {"quant_method": "awq", "version": "gemv"}),
    "scales of a stranger": _broken("fp8 in blocks", weight_scale_inv=np.ones((99, 3), "f4")),
    "scales with three axes": _broken("fp8 in blocks", weight_scale_inv=np.ones((5, 3, 1), "f4")),
    "few scales": _broken("nf4", weight__absmax=np.ones(3, np.float32)),
    "few levels": _broken("nf4", weight__quant_map=np.ones(15, np.float32)),
    "a state that is no JSON": _broken("nf4", **{STATE: np.full(9, 123, np.uint8)}),
    "an impossible shape": _broken("nf4", **{STATE: np.frombuffer(json.dumps(
        {"quant_type": "nf4", "blocksize": 1 << 70, "shape": [1 << 60, 9]}).encode(), np.uint8)}),
    "an offset that is no number": _broken("nf4 nested", **{STATE: np.frombuffer(json.dumps(
        {"quant_type": "nf4", "blocksize": 8, "shape": [40, 70], "nested_blocksize": 256,
         "nested_offset": 1e99}).encode(), np.uint8)}),
    "rows of another matrix": _broken("int8", SCB=np.ones(8, np.float32)),
    "a processor's order": _broken("int8", weight_format=np.array(2, np.uint8)),
    "a shape of its own": _broken("packed int4", weight_shape=np.array([9, 1 << 50], np.int64)),
    "a negative shape": _broken("packed int4", weight_shape=np.array([-9, 36], np.int64)),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_shown_as_packed(name: str, tmp_path: Path) -> None:
    state, hints = BROKEN[name]
    network = read(tmp_path, state, hints)
    layer = _layer(network)
    assert layer.kind == "Packed"
    packed = [w for w in layer.weights if w.role.startswith("packed_")]
    assert packed
    assert all("packed" in w.kind_of_element and not is_number(w) for w in packed)
    others = [w for w in layer.weights if w not in packed]
    assert not {w.role for w in others} & {"kernel", "packed_weight", "weight", "qweight"}
    assert all(w.dtype in FLOATS for w in others)
    assert [note for note in network.notes if note.startswith("packed codes of ")]
    assert not any(connections_of(layer) for layer in network.layers)


@pytest.mark.parametrize("group", [-1, 3, 1 << 30])
def test_a_group_that_does_not_exist_is_told_in_one_line(group: int, tmp_path: Path) -> None:
    case = CASES["gptq act order"](np.random.default_rng(1))
    case.state["fc.g_idx"][5] = group
    network = read(tmp_path, case.state, case.hints)
    wrong = pytest.raises(ModelError, match="group index names scales that do not exist")
    with WeightReader(network) as reader, wrong:
        reader.read(_kernel(_layer(network)))


def test_absurd_hints_are_not_followed(tmp_path: Path) -> None:
    for hints in ({"bits": 10**30, "group_size": 1 << 90, "quant_method": ["x"]},
                  {"bits": "4", "group_size": -1}, {"weight_block_size": [0, -3]}):  # fmt: skip
        for name in ("gptq act order", "fp8 in blocks", "packed int8 with zeros"):
            case = CASES[name](np.random.default_rng(1))
            _check(read(tmp_path, case.state, hints), case)


@pytest.mark.parametrize(("stored", "zero"), [(7, 8), (8, 8), (3, 4)])
def test_zero_points_without_a_configuration(stored: int, zero: int, tmp_path: Path) -> None:
    case = CASES["gptq act order"](np.random.default_rng(1))
    zeros = np.full((3, 2), stored * 0x11111111, np.uint32).view(np.int32)
    state = case.state | {"fc.scales": np.ones((3, 16), np.float16), "fc.qzeros": zeros}
    network = read(tmp_path, state)
    weight = _kernel(_layer(network))
    with WeightReader(network) as reader:
        codes = reader.read_codes(weight, 0, weight.size)
        np.testing.assert_array_equal(reader.read(weight).reshape(-1), codes.astype(int) - zero)


def test_schemes_that_are_known_by_name_alone(tmp_path: Path) -> None:
    state = {"fc.W_q": np.ones((8, 4), np.uint8), "fc.scale": np.ones((8, 1), np.float16),
             "fc.zero": np.ones((8, 1), np.float16)}  # fmt: skip
    network = read(tmp_path, state, {"quant_method": "hqq"})
    (weight,) = (w for w in _layer(network).weights if w.dtype == "uint8")
    assert weight.kind_of_element == "uint8 (packed, HQQ)"
