"""Files that lie about sizes, counts and depths, and names that are no names, in any format."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import onnx
import pytest
import torch
from format_samples import Samples, write_tfjs
from keras import layers as kl
from onnx import TensorProto
from safetensors.torch import save_file
from tensorflow.core.framework import graph_pb2
from test_formats_attacks import ended, external_model, refused
from test_formats_contract import copied, reason_of
from test_formats_mistakes import message

from explorer.formats import open_network
from explorer.formats.containers import archive
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.report import network_json, network_text

pytestmark = pytest.mark.usefixtures("quick_reading")


# -- archives --------------------------------------------------------------------------------------


def _rezipped(good: Path, path: Path, **more: bytes) -> Path:
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        for name, data in more.items():
            new.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["keras", "pytorch", "pt2"])
def test_archives_that_lie(name: str, samples: Samples, tmp_path: Path) -> None:
    path = tmp_path / "x"
    for member in ("../x", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "a\\..\\..\\x"):
        refused(_rezipped(samples[name], path, **{member: b"x"}), "member with the name")
    data = bytearray(_rezipped(samples[name], path).read_bytes())
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 4)
    end = data.rindex(b"PK\x05\x06")
    changes: dict[str, tuple[int, bytes]] = {
        "stored size": (first + 20, struct.pack("<I", 2**31)),
        "real size": (first + 24, struct.pack("<I", 2**31)),
        "zip64 sizes without an entry": (first + 20, struct.pack("<II", 2**32 - 1, 2**32 - 1)),
        "zip64 offset without an entry": (first + 42, struct.pack("<I", 2**32 - 1)),
        "the place of another": (second + 42, data[first + 42 : first + 46]),
        "a place within another": (second + 42, struct.pack("<I", 31)),
        "encrypted": (first + 8, b"\x01\0"), "an unknown method": (first + 10, b"\x63\0"),
        "length of the name": (first + 28, b"\xff\xff"), "extra": (first + 30, b"\xff\xff"),
        "count": (end + 8, b"\xff\xff\xff\xff"), "length of the list": (end + 12, b"\xff" * 4),
        "place of the list": (end + 16, struct.pack("<I", 2**31)),
        "comment": (end + 20, b"\xff\xff"),
        "local name": (26, b"\xff\xff"), "local mark": (0, b"PK\x03\x05"),
    }  # fmt: skip
    for change, (at, new) in changes.items():
        bad = bytearray(data)
        bad[at : at + len(new)] = new
        path.write_bytes(bad)
        assert "more time" not in reason_of(path), change
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**62, 2**62, 2**62, 2**61
    )
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    path.write_bytes(data[:end] + record + locator + data[end:])
    refused(path)


def test_bombs_in_archives(samples: Samples, tmp_path: Path) -> None:
    bomb = bytes(70 << 20)
    for name, member in (("keras", "config.json"), ("pytorch", "m/data.pkl"),
                         ("pt2", "m/models/model.json")):  # fmt: skip
        path = tmp_path / name
        with zipfile.ZipFile(samples[name]) as old, zipfile.ZipFile(path, "w") as new:
            for each in old.namelist():
                if each == member:
                    new.writestr(each, bomb, zipfile.ZIP_DEFLATED, 1)
                else:
                    new.writestr(each, old.read(each))
        assert path.stat().st_size < 3 << 20
        refused(path, "large")


def test_archives_of_very_many_members(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MOST_MEMBERS", 20)
    path = _rezipped(samples["pytorch"], tmp_path / "x", **{f"m/{i}": b"" for i in range(20)})
    with path.open("rb") as file, pytest.raises(UnreadableError, match="too many members"):
        archive.Archive(Source(str(path), file.fileno()))


# -- texts and messages ----------------------------------------------------------------------------

JSONS = {
    "twice": b'{"a": 1, "a": 2}', "NaN": b'{"a": NaN}', "infinite": b'{"a": -Infinity}',
    "digits": b'{"a": ' + b"9" * 100_000 + b"}", "power": b'{"a": 1e99999}',
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a": ' * 50_000 + b"1" + b"}" * 50_000, "cut": b'{"a": ',
    "bytes": b'{"a": "\xff\xfe"}', "half a letter": b'{"a": "\\ud800"}',
}  # fmt: skip


@pytest.mark.parametrize("name", JSONS)
def test_json_that_is_none(name: str, samples: Samples, tmp_path: Path) -> None:
    """In every place where a format reads JSON."""
    text = JSONS[name]
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(path)
    for end in (b".safetensors", b".bin", b".weights.h5"):
        (tmp_path / "i.json").write_bytes(text[:-1] + b', "weight_map": {"a": "b' + end + b'"}}')
        refused(tmp_path / "i.json")
    told = b', "format": "layers-model", "modelTopology": {}, "weightsManifest": []}'
    (tmp_path / "model.json").write_bytes(b'{"format": "x", "b": ' + text + told)
    refused(tmp_path / "model.json")
    for kind, member in (("keras", "config.json"), ("pt2", "m/models/model.json")):
        with zipfile.ZipFile(samples[kind]) as old, zipfile.ZipFile(tmp_path / kind, "w") as new:
            for each in old.namelist():
                new.writestr(each, text if each == member else old.read(each))
        refused(tmp_path / kind)
    for place in ("keras_folder", "hub_folder"):
        folder = copied(samples[place], tmp_path / place)
        (folder / "config.json").write_bytes(text)
        ended(folder)


def _nested(inner: bytes, numbers: tuple[int, ...], depth: int) -> bytes:
    """A message in a message, `depth` times through fields of these numbers."""
    parts: list[bytes] = []
    size = len(inner)
    for i in range(depth):
        number = numbers[i % len(numbers)]
        head = message((number, b""))[:-1]
        length = message((1, size))[1:]
        parts.append(head + length)
        size += len(head) + len(length)
    return b"".join(reversed(parts)) + inner


def test_messages_in_messages(tmp_path: Path) -> None:
    """A graph in an attribute of a node of a graph, and so on; functions; lists; types."""
    path = tmp_path / "x"
    for numbers in ((6, 5, 1), (11, 5, 1), (5, 5, 1), (2,), (9, 1), (4, 1)):
        for depth in (90, 3_000, 60_000):
            deep = _nested(b"", numbers, depth)
            path.write_bytes(message((1, 8), (7, deep + message((2, b"g")))))
            ended(path)
            node = message((1, b"n"), (2, b"Op")) + message((5, message((1, b"a"), (2, deep))))
            path.write_bytes(message((1, node), (2, deep)))
            ended(path)
            path.write_bytes(message((1, 1), (2, message((2, deep), (5, deep), (7, deep)))))
            ended(path)


def test_counts_of_everything(tmp_path: Path) -> None:
    """2^62 of whatever is counted, in a small file."""
    path = tmp_path / "x"
    for count in (2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1):
        eight, four = struct.pack("<Q", count), struct.pack("<I", count & 0xFFFFFFFF)
        for at in range(2):
            numbers = [struct.pack("<Q", 1)] * 2
            numbers[at] = eight
            path.write_bytes(b"GGUF" + struct.pack("<I", 3) + b"".join(numbers) + bytes(64))
            refused(path)
        path.write_bytes(eight + b'{"a":{}}')
        ended(path)
        for at in range(16, 60, 4):  # a vector or a table of TFLite in an odd place
            data = bytearray(struct.pack("<I4s", 16, b"TFL3") + bytes(52))
            data[at : at + 4] = four
            path.write_bytes(data)
            ended(path)
    for dims in ([2**62], [2**40, 2**40], [-1], [2**31] * 8, [0, 2**62], [1] * 100_000):
        tensor = TensorProto(name="w", data_type=1, dims=dims, raw_data=b"\0" * 8)
        model = external_model("x")
        model.graph.initializer[0].CopyFrom(tensor)
        onnx.save(model, path)
        refused(path)
        graph = graph_pb2.GraphDef()
        node = graph.node.add(name="w", op="Const")
        node.attr["value"].tensor.dtype = 1
        for n in dims:
            node.attr["value"].tensor.tensor_shape.dim.add(size=n)
        node.attr["value"].tensor.tensor_content = b"\0" * 8
        graph.node.add(name="y", op="MatMul", input=["w", "w"])
        path.write_bytes(graph.SerializeToString())
        ended(path)


def test_very_many_tensors(tmp_path: Path) -> None:
    """More than a model has, each of no size."""
    path = tmp_path / "x"
    header = b'{"__metadata__":{}' + b"".join(
        b',"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(300_001)
    )
    path.write_bytes(struct.pack("<Q", len(header) + 1) + header + b"}")
    refused(path, "impossibly large")
    entry = struct.pack("<Q1sIQIQ", 1, b"a", 1, 1, 24, 0)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 300_001, 0) + entry * 300_001)
    refused(path, "impossibly large")


# -- what is shown ---------------------------------------------------------------------------------

NAMES = ["\x1b[31mred\x07", "a\u202eb\u2066c", "a\nb\r\tc", "<script>alert(1)</script>", "../../x",
         "", "x" * 1_000_000, "/" * 5000, "\u200b\ufeff", "a\0b", "name[0]", "ü\u0301" * 50_000,
         ".".join("abcdefgh" * 4000), "\U000e0041"]  # fmt: skip


def _shown(path: Path) -> None:
    """All that is told of a model can be shown as it is, and is not long."""
    if reason_of(path):
        return
    network = open_network(path)
    text = network_text(network)
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) < 6000
    assert json.dumps(network_json(network), ensure_ascii=False).isprintable()


def test_names_of_a_stranger_are_cleaned_in_every_format(tmp_path: Path) -> None:
    path = tmp_path / "x"
    arrays = {f"{name}.weight": torch.ones(2, 2) for name in NAMES}
    torch.save(arrays, path)
    _shown(path)
    save_file({k: v for k, v in arrays.items() if "\0" not in k}, path)
    _shown(path)
    for name in NAMES:
        raw = name.encode()
        entry = struct.pack("<Q", len(raw)) + raw + struct.pack("<IQIQ", 1, 4, 0, 0)
        data = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry
        path.write_bytes(data + bytes(-len(data) % 32) + bytes(16))
        _shown(path)
        graph = graph_pb2.GraphDef()
        graph.node.add(name=f"{name}x", op="Placeholder").attr["dtype"].type = 1
        graph.node.add(name="y", op="Relu", input=[f"{name}x"])
        path.write_bytes(graph.SerializeToString())
        _shown(path)
        model = external_model("x")
        model.graph.initializer[0].CopyFrom(
            onnx.numpy_helper.from_array(np.ones((4, 4), "f4"), name)
        )
        model.graph.node[0].input[1] = name
        model.graph.node[0].name = model.graph.name = name
        model.graph.node[0].op_type, model.graph.node[0].domain = name or "MatMul", name
        model.doc_string = name
        onnx.save(model, path)
        _shown(path)
    entries = {name: np.ones(2, np.float32) for name in NAMES}
    topology = {"class_name": "Sequential", "config": {"name": NAMES[0], "layers": [
        {"class_name": NAMES[1], "config": {"name": name, "units": 3, name: name}}
        for name in NAMES]}}  # fmt: skip
    _shown(write_tfjs(tmp_path / "js", topology, entries) / "model.json")


def test_a_model_of_keras_with_such_names(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    x = keras.Input((3,), name="x")
    keras.Model(x, kl.Dense(2, name="dense")(x)).save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        group = file["model_weights"]
        for name in NAMES[:4]:
            config["config"]["layers"][1]["config"]["name"] = name
            config["config"]["layers"][1]["name"] = name
            config["config"]["output_layers"] = [[name, 0, 0]]
            file.attrs["model_config"] = json.dumps(config)
            group.attrs["layer_names"] = ["x", name]
            file.flush()
            _shown(tmp_path / "m.h5")
