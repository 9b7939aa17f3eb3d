"""What a stranger may send in any format: nothing is run, followed, or shown as it came.

Every model here is read by a fork that is watched (see `fork_server`): it ends, and the test fails,
when it writes, runs or connects to anything, or opens a file outside the folder of the model.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from format_samples import CONFIG, Samples, write_shards, write_tfjs
from onnx import TensorProto, helper
from test_formats_contract import copied, reason_of

from explorer.formats import open_network
from explorer.report import network_json

SECRET = "a secret of this machine"


pytestmark = pytest.mark.usefixtures("quick_reading")


def refused(path: Path, *says: str) -> None:
    """One clear line, and not because a limit had to end it."""
    reason = reason_of(path)
    assert reason
    assert "more time or memory" not in reason
    assert not says or any(words in reason for words in says), reason


def ended(path: Path) -> None:
    """One clear line or a sound network, and not because a limit had to end it."""
    assert "more time or memory" not in reason_of(path)


# -- pickles ---------------------------------------------------------------------------------------


def _torch_zip(path: Path, program: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        out.writestr("x/data.pkl", program)
        for name, data in members.items():
            out.writestr(f"x/{name.replace('__', '/')}", data)
    return path


def _reducing(protocol: int) -> bytes:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("touch /tmp/neuronaut-must-not-exist",)

    return pickle.dumps({"weight": Runs()}, protocol)


_CALL = b"S'touch /tmp/neuronaut-must-not-exist'\n"
PROGRAMS = {
    **{f"REDUCE by protocol {n}": _reducing(n) for n in range(6)},
    "GLOBAL": b"cos\nsystem\n(" + _CALL + b"tR.",
    "INST": b"(" + _CALL + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + _CALL + b"o.",
    "NEWOBJ": b"\x80\x02csubprocess\nPopen\n" + _CALL + b"\x85\x81.",
    "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n" + _CALL + b"\x85}\x92.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + _CALL + b"\x85R.",
    "STACK_GLOBAL with dots": b"\x80\x04\x8c\x0ctorch._utils\x8c\x1a_rebuild_parameter.__globals__"
                              b"\x93.",
    "BUILD of a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}(S'__globals__'\n}ub.",
    "BUILD of slots": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}(S'__code__'\nK\x01u\x86b.",
    "BUILD of a type": b"\x80\x02ccollections\nOrderedDict\nN}(S'__new__'\nK\x01u\x86b.",
    "a class as a storage": b"\x80\x02(S'storage'\ncos\nsystem\nS'0'\nS'cpu'\nK\x04tQ.",
    "EXT1": b"\x80\x02\x82\x01.", "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.", "PERSID": b"Pos.system\n.",
    "BINPERSID": b"\x80\x02(cos\nsystem\n" + _CALL + b"tQ.",
    "getattr": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\nS'x'\ntR.",
    "an eval by a rebuilt type": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n"
                                 b"(cbuiltins\neval\nN(S'1'\ntNtR.",
    "a buffer of another process": b"\x80\x05\x97.", "a buffer of a terabyte":
    b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".",
    "a text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b".",
    "a frame of a terabyte": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b".",
    "a number of a megabyte": b"\x80\x02\x8b" + struct.pack("<i", 1 << 20) + bytes(1 << 20) + b".",
    "a memo index": b"\x80\x02]r" + struct.pack("<I", 0xFFFFFFFF) + b".",
    "a dict in itself": b"\x80\x02}q\x00h\x00h\x00s.", "a list in itself": b"\x80\x02]q\x00h\x00a.",
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_pickle_calls_is_not_called(name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    ended(_torch_zip(tmp_path / "zip.pt", program))
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    (tmp_path / "legacy.pt").write_bytes(magic + pickle.dumps(1001, 2) + program * 3)
    ended(tmp_path / "legacy.pt")
    assert not Path("/tmp/neuronaut-must-not-exist").exists()


def test_a_pickle_in_an_archive_in_an_archive_is_left_alone(tmp_path: Path) -> None:
    inner = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, inner)
    sound = pickle.dumps({"a": 1}, 2)
    evil = _reducing(2)
    path = _torch_zip(tmp_path / "x.pt", sound, data__0=inner.getvalue(), constants_pkl=evil,
                      **{"code__data.pkl": evil})  # fmt: skip
    refused(path, "holds no tensors")


# -- Keras -----------------------------------------------------------------------------------------


def _keras(path: Path, change: Callable[[dict[str, Any]], None], good: Path) -> Path:
    """A model of Keras with the configuration of a layer changed."""
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        config = json.loads(old.read("config.json"))
        change(config["config"]["layers"][1])
        for name in old.namelist():
            told = json.dumps(config).encode() if name == "config.json" else old.read(name)
            new.writestr(name, told)
    return path


HARMFUL: dict[str, dict[str, Any]] = {
    "Lambda": {"class_name": "Lambda", "config": {"name": "first", "function": {
        "class_name": "__lambda__", "config": {"code": "4wAAAAAA" * 900, "defaults": None}}}},
    "TFSMLayer": {"class_name": "TFSMLayer", "config": {"name": "first", "filepath": "/etc"}},
    "TorchModuleWrapper": {"class_name": "TorchModuleWrapper", "module": "keras.layers",
                           "config": {"name": "first", "module": {
                               "class_name": "__bytes__", "config": {"value": "gAJjb3M="}}}},
    "StringLookup": {"class_name": "StringLookup",
                     "config": {"name": "first", "vocabulary": "/etc/passwd"}},
    "a vocabulary in the net": {"class_name": "TextVectorization",
                                "config": {"name": "first", "vocabulary": "http://localhost:9/x"}},
    "registered_name": {"class_name": "Dense", "module": "os", "registered_name": "os>system",
                        "config": {"name": "first", "units": 5}},
    "module": {"class_name": "system", "module": "os", "registered_name": None,
               "config": {"name": "first", "command": "id"}},
    "an initializer": {"class_name": "Dense", "config": {"name": "first", "units": 5,
                       "kernel_initializer": {"module": "subprocess", "class_name": "Popen",
                                              "config": {"args": ["id"]}}}},
    "huge units": {"class_name": "Dense", "config": {"name": "first", "units": 2**62}},
    "a huge shape": {"class_name": "Reshape", "config": {"name": "first",
                                                         "target_shape": [2**31] * 8}},
    "many cells": {"class_name": "StackedRNNCells",
                   "config": {"name": "first", "cells": [{}] * 5000}},
    "wrapped deep": {"class_name": "TimeDistributed", "config": {"name": "first", "layer": {
        "class_name": "TimeDistributed", "config": {"name": "first", "layer": 3}}}},
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_nothing_in_a_configuration_of_keras_is_made_or_opened(
    name: str, samples: Samples, tmp_path: Path
) -> None:
    path = _keras(tmp_path / "x.keras", lambda layer: layer.update(HARMFUL[name]), samples["keras"])
    if not (reason := reason_of(path)):
        told = json.dumps(network_json(open_network(path)))
        assert "root:" not in told
        assert HARMFUL[name]["class_name"] in told
        assert len(told) < 40_000
    assert "more time" not in reason


def test_models_that_hold_one_another_deep(tmp_path: Path) -> None:
    config: dict[str, Any] = {"class_name": "Dense", "config": {"name": "d", "units": 1}}
    for depth in range(40):
        config = {"class_name": "Sequential", "config": {"name": f"m{depth}", "layers": [config]}}
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as out:
        out.writestr("config.json", json.dumps(config))
        out.writestr("model.weights.h5", b"")
    ended(tmp_path / "x.keras")


# -- names of other files --------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path) -> tuple[Path, list[str]]:
    """A folder with things in and beside it that no model may name, and their names."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_text(SECRET * 40)
    (folder / "link").symlink_to("../outside")
    (folder / "far").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to("loop")
    (folder / "circle").symlink_to(".", target_is_directory=True)
    (folder / "up").symlink_to("..", target_is_directory=True)
    (folder / "zero").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")
    names = ["../outside", str(tmp_path / "outside"), "link", "far", "loop", "zero", "pipe", "sub",
             "up/outside", "./../outside", "sub/../../outside", "..\\outside", "C:\\outside",
             "outside\0", "\0", "", ".", "..", "/dev/zero", "/proc/self/environ", "file:///x",
             "https://localhost/x", "~/.ssh/id_rsa", "$HOME", "sub/" * 9 + "x", "x" * 70_000,
             "\u202e", "circle/circle/circle/circle/x"]  # fmt: skip
    return folder, names


def external_model(location: str, *more: tuple[str, str]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    tensor = TensorProto(name="w", data_type=1, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    for key, told in (("location", location), *more):
        tensor.external_data.add(key=key, value=told)
    ends = [value("x", 1, [1, 4])], [value("y", 1, [1, 4])]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", *ends, [tensor])
    return helper.make_model(graph, ir_version=9)


def test_external_data_of_onnx(odd: tuple[Path, list[str]]) -> None:
    folder, names = odd
    for name in names:
        onnx.save(external_model(name.replace("\0", "\ufffd")), folder / "m.onnx")
        refused(folder / "m.onnx", "part", "missing")
    data = external_model("AAA").SerializeToString()  # the package itself writes no NUL
    (folder / "m.onnx").write_bytes(data.replace(b"AAA", b"a\0b"))
    refused(folder / "m.onnx", "outside its own folder")
    (folder / "w").write_bytes(bytes(64))
    for key, told in (("offset", "-1"), ("length", "-64"), ("offset", str(2**63)),
                      ("length", str(2**63)), ("offset", "0x10"), ("offset", "1e3"),
                      ("length", "63"), ("offset", "٣"), ("location", "../outside"),
                      ("length", "9" * 5000)):  # fmt: skip
        onnx.save(external_model("w", (key, told)), folder / "m.onnx")
        refused(folder / "m.onnx")
    # Keys that a loader once took for attributes of its own object (CVE-2026-34445 and others).
    extra = [(key, "../outside") for key in ("__class__", "basepath", "__dict__", "file", "path")]
    onnx.save(external_model("w", *extra), folder / "m.onnx")
    assert reason_of(folder / "m.onnx") == ""
    # A hard link lies in the folder like any other file: who can make one has the file already.
    os.link(folder / "w", folder / "hard")
    onnx.save(external_model("hard"), folder / "m.onnx")
    assert reason_of(folder / "m.onnx") == ""


@pytest.mark.parametrize("suffix", ["safetensors", "bin", "weights.h5"])
def test_indices_of_shards(suffix: str, odd: tuple[Path, list[str]]) -> None:
    folder, names = odd
    stem = {"safetensors": "model.safetensors.index", "bin": "pytorch_model.bin.index",
            "weights.h5": "model.weights"}[suffix]  # fmt: skip
    index = folder / f"{stem}.json"
    for name in names:
        for end in (name, f"{name}.{suffix}", f"{name}/x.{suffix}"):
            told = {"weight_map": {"layers/dense/vars": end, "b": f"b.{suffix}"}}
            index.write_text(json.dumps(told))
            refused(index)
    for bad in ([], {"a": 3}, {"a": None}, {"a": ["x"] * 5000}, {}, "x", {"a": {}}, {"a": [[]]}):
        index.write_text(json.dumps({"weight_map": bad, "x": f"y.{suffix}"}))
        refused(index)


def test_files_of_tensorflow(odd: tuple[Path, list[str]], samples: Samples, tmp_path: Path) -> None:
    folder, names = odd
    entries = {"a": np.ones(4, np.float32)}
    sound = json.loads((write_tfjs(tmp_path / "js", {}, entries) / "model.json").read_text())
    for name in names:
        sound["weightsManifest"][0]["paths"] = [name]
        (folder / "model.json").write_text(json.dumps(sound))
        refused(folder / "model.json")
        # A checkpoint that calls another the latest.
        check = folder / "checkpoint"
        text = name.replace("\0", "")[:400]
        check.write_text(f'model_checkpoint_path: "{text}"\nall_model_checkpoint_paths: "{text}"\n')
        refused(folder)
    for target in ("../../../model/zero", "/dev/zero", "/etc/passwd"):
        saved = copied(samples["savedmodel_module"], tmp_path / f"copy of {len(target)}")
        part = saved / "variables" / "variables.data-00000-of-00001"
        part.unlink()
        part.symlink_to(target)
        refused(saved, "link that leads out")
        shutil.rmtree(saved / "variables")
        (saved / "variables").symlink_to("/etc", target_is_directory=True)
        ended(saved)


def test_odd_things_in_folders(odd: tuple[Path, list[str]], samples: Samples) -> None:
    """Links, circles and pipes beside a model are passed over; in its place they are refused."""
    folder, _ = odd
    shutil.copy(samples["gguf"], folder / "m.gguf")
    assert reason_of(folder) == ""
    (folder / "m.gguf").unlink()
    for name in ("model.safetensors", "pytorch_model.bin", "config.json", "saved_model.pb",
                 "m-00001-of-00002.gguf", "x.weights.json", "m.keras", "m.index",
                 "m.data-00000-of-00001"):  # fmt: skip
        for target in ("/etc/passwd", "/dev/zero", "pipe", "loop", "sub", "circle", "/nowhere"):
            (folder / name).symlink_to(target)
            refused(folder)
            (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder)
        (folder / name).unlink()


def test_a_configuration_beside_a_model_leads_nowhere(samples: Samples, tmp_path: Path) -> None:
    write_shards(tmp_path, {"model.layers.0.mlp.up_proj.weight": torch.ones(4, 4)}, 1)
    harmful: dict[str, Any] = {
        "auto_map": {"AutoModel": "evil--code.Model"}, "custom_pipelines": {"x": {"impl": "os"}},
        "_name_or_path": "../../etc/passwd", "num_attention_heads": 2**62, "head_dim": -1,
        "num_hidden_layers": 2**62, "num_key_value_heads": 0, "hidden_size": "4",
        "quantization_config": {"quant_method": "gptq", "bits": 10**9, "group_size": 0},
    }  # fmt: skip
    for key, value in harmful.items():
        for odd in (value, None, [], {}, "x", -1, 0, 1.5, 10**300, True):
            (tmp_path / "config.json").write_text(json.dumps({**CONFIG, key: odd}))
            assert reason_of(tmp_path) == ""
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    ended(tmp_path)
