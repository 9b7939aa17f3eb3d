"""What a person opens by mistake is called by its name, in one line."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_samples import SAMPLES, Samples
from PIL import Image
from test_formats_contract import copied

from explorer.errors import ModelError
from explorer.formats import formats, open_network
from explorer.formats.containers.source import Source

pytestmark = pytest.mark.usefixtures("quick_reading")


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_network(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) - len(str(path)) < 400
    return caught.value.reason


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protocol buffer."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
        else:
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return out


def _zip(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), data)
    return out.getvalue()


def _written(write: Callable[[Any], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def _picture(kind: str) -> bytes:
    return _written(lambda out: Image.new("RGB", (9, 9)).save(out, kind))


def _tar(mode: str) -> bytes:
    def write(out: Any) -> None:
        with tarfile.open(fileobj=out, mode=mode) as archive:
            archive.addfile(tarfile.TarInfo("model.safetensors"), io.BytesIO())

    return _written(write)


def _sklearn() -> bytes:
    from sklearn.linear_model import LinearRegression

    return pickle.dumps(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]))


def _joblib() -> bytes:
    import joblib
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(np.eye(40), np.arange(40.0))
    return _written(lambda out: joblib.dump(model, out))


def _caffe() -> bytes:
    layer = message((1, b"conv1"), (2, b"Convolution"), (7, message((5, bytes(40)))))
    return message((1, b"CaffeNet"), (100, layer), (100, layer))


def _coreml() -> bytes:
    return message((1, 4), (2, message((1, message((1, b"x"))))), (10, 0), (500, bytes(50)))


def _paddle() -> bytes:
    variable = message((1, b"feed"), (2, message((1, 9))), (3, 1))
    return message((1, message((1, 0), (2, 2**32 - 1), (3, variable))), (4, message((1, 0))))


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    # Models of other software.
    "m.mlmodel": (_coreml, "Core ML model.* not read; open the model that it was made from"),
    "m.engine": (lambda: b"ftrt" + bytes(range(99)), "TensorRT engine, which is not read"),
    "m.ort": (lambda: b"\x18\0\0\0ORTM" + bytes(40), r"ONNX Runtime's .* not read; the ONNX file"),
    "m.pte": (lambda: b"\x18\0\0\0ET12" + bytes(40), "ExecuTorch"),
    "m.xml": (lambda: b'<?xml version="1.0"?>\n<net name="m" version="11"><layers/></net>',
              "OpenVINO model, which is not read"),
    "m.pdmodel": (_paddle, "program of PaddlePaddle"),
    "m.pdiparams": (lambda: bytes(16) + struct.pack("<i", 4) + message((1, 5), (2, 3)) + bytes(12),
                    "parameters of PaddlePaddle"),
    "yolo.cfg": (lambda: b"# a comment\n[net]\nbatch=1\n\n[convolutional]\nfilters=3\n",
                 "Darknet configuration"),
    "yolo.weights": (lambda: struct.pack("<iiiq", 0, 2, 5, 32013312) + bytes(400), "of Darknet"),
    "m.prototxt": (lambda: b'name: "x"\nlayer {\n  name: "conv"\n  type: "Convolution"\n}\n',
                   "Caffe network"),
    "m.caffemodel": (_caffe, "weights of Caffe"),
    "m.pbtxt": (lambda: b'node {\n  name: "x"\n  op: "Placeholder"\n}\n', "graph as text"),
    "m.params": (lambda: struct.pack("<QQQ", 0x112, 0, 1) + bytes(80), "parameters of MXNet"),
    "symbol.json": (lambda: json.dumps({"nodes": [{"op": "null", "name": "data"}],
                                        "arg_nodes": [0], "heads": [[0, 0, 0]]}).encode(),
                    "network of MXNet"),
    "flax_model.msgpack": (lambda: b"\x81\xa6params\x82\xa4bias\xc4\x04" + bytes(4),
                           "parameters of Flax"),
    "m.ggml": (lambda: struct.pack("<I", 0x67676D6C) + bytes(80),
               "before GGUF, which is not read; llama.cpp"),
    "m.ggmf": (lambda: struct.pack("<I", 0x67676D66) + bytes(80), "before GGUF"),
    "m.ggjt": (lambda: struct.pack("<I", 0x67676A74) + bytes(80), "before GGUF"),
    "m.pmml": (lambda: b'<?xml version="1.0"?>\n<PMML version="4.4"></PMML>', "PMML"),
    "m.cbm": (lambda: b"CBM1" + bytes(90), "CatBoost"),
    "m.lgb": (lambda: b"tree\nversion=v4\nnum_class=1\n", "LightGBM"),
    "m.xgb.json": (lambda: b'{"learner": {"gradient_booster": {}}}', "XGBoost"),
    "m.param": (lambda: b"7767517\n3 3\nInput data 0 1\n", "ncnn"),
    "m.rknn": (lambda: b"RKNN" + bytes(90), "Rockchip"),
    # Pickles.
    "model.pkl": (_sklearn, "pickle of objects of scikit-learn, which is not read: .* not run"),
    "model.joblib": (_joblib, "pickle of objects of scikit-learn"),
    "old.pkl": (lambda: pickle.dumps({"a": os.path.join}, 0), "a Python pickle"),
    "any.pkl": (lambda: pickle.dumps({"a": [1, 2]}, 4), "a Python pickle, which is not read"),
    "packed.joblib": (lambda: zlib.compress(_sklearn()), r"compressed data \(joblib"),
    # Arrays and data.
    "m.npy": (lambda: _written(lambda out: np.save(out, np.eye(3))), r"NumPy array \(\.npy\)"),
    "m.npz": (lambda: _written(lambda out: np.savez(out, a=np.eye(3))), r"NumPy archive \(\.npz"),
    "m.RData": (lambda: gzip.compress(b"RDX3\nX\n" + bytes(80)), "data of R"),
    "m.mat": (lambda: b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(90), "data of MATLAB"),
    "m.parquet": (lambda: b"PAR1" + bytes(90), "Parquet"),
    # Archives.
    "m.tar": (lambda: _tar("w"), "a tar archive; unpack it and open what is in it"),
    "m.tar.gz": (lambda: _tar("w:gz"), r"a tar archive \(\.tar\.gz\); unpack it"),
    "m.onnx.gz": (lambda: gzip.compress(b"\x08\x07" + bytes(90)), "a gzip archive; unpack it"),
    "m.bz2": (lambda: bz2.compress(bytes(90)), "a bzip2 archive; unpack it"),
    "m.xz": (lambda: lzma.compress(bytes(90)), "an xz archive; unpack it"),
    "m.zip": (lambda: _zip(folder__model_DOT_onnx=b"x"), r"'folder/model\.onnx' in it: unpack it"),
    "m.mlpackage.zip": (lambda: _zip(m__Data__com_DOT_apple_DOT_CoreML__model=b"x"), "Core ML"),
    "m.docx": (lambda: _zip(**{"[Content_Types]_DOT_xml": b"x"}), "document of an office"),
    "m.skops": (lambda: _zip(schema_DOT_json=b"{}"), "skops archive"),
    # Downloads that went wrong, and what else lies about.
    "pointer": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64
                + b"\nsize 1234567\n", "pointer to a file of 1 234 567 bytes, .*run git lfs pull"),
    "page.onnx": (lambda: b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title>", "a web page"),
    "denied": (lambda: b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
               "a server's error message"),
    "gone.gguf": (lambda: b"Entry not found", r"text \('Entry not found'\)"),
    "error.bin": (lambda: b'{"error": "Repository\\nnot found"}', r"JSON \('\{\"error\""),
    "bell": (lambda: "Nicht gefunden: größte \u202eDatei\x1b[31m".encode(), "text .'Nicht gefund"),
    "zeros": (lambda: bytes(9000), "zeros: .*a download that was not finished"),
    "config.json": (lambda: json.dumps({"architectures": ["X"], "model_type": "llama"}).encode(),
                    "configuration of a model, .* open the folder"),
    "arch.json": (lambda: b'{"class_name": "Functional", "config": {}}', "of a Keras model"),
    "tokenizer.json": (lambda: b'{"version": "1.0", "added_tokens": []}', "a tokenizer"),
    "p.png": (lambda: _picture("PNG"), "a PNG picture"),
    "p.jpg": (lambda: _picture("JPEG"), "a JPEG picture"),
    "p.gif": (lambda: _picture("GIF"), "a GIF picture"),
    "p.webp": (lambda: _picture("WEBP"), "a WebP picture"),
    "p.bmp": (lambda: _picture("BMP"), "a BMP picture"),
    "p.tiff": (lambda: _picture("TIFF"), "a TIFF picture"),
    "p.pdf": (lambda: b"%PDF-1.7\n" + bytes(90), "a PDF document"),
    "notes.txt": (lambda: b"Dear Sir or Madam,\nthis is the model.\n", "text .'Dear Sir or"),
    "noise": (lambda: np.random.default_rng(1).bytes(5000), "not a model file of a known kind"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named(name: str, tmp_path: Path) -> None:
    make, says = FILES[name]
    path = tmp_path / name
    path.write_bytes(make())
    with path.open("rb") as file:
        source = Source(str(path), file.fileno())
        matching = [form.name for form in formats() if form.matches(source)]
    assert matching == (["keras"] if path.read_bytes()[:2] == b"PK" else [])
    reason = refused(path)
    assert re.search(says, reason), reason


def _folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"some bytes")
    return path


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), "Core ML package"),
        (("coremldata.bin", "model.mil"), "compiled Core ML"),
        (("_METADATA", "checkpoint", "d/0"), "Orbax"),
        (("_CHECKPOINT_METADATA", "default/manifest.ocdbt"), "Orbax"),
        (("manifest.ocdbt", "d/0"), "Orbax"),
        (("blobs/aa", "refs/main", "snapshots/r/config.json"), "inside its folder snapshots"),
        (("model_index.json", "unet/config.json"), "pipeline of several models; open one"),
        (
            ("config.json", "tokenizer.json", "README.md"),
            r"no weights that are read: .*safetensors",
        ),
        (("inference.pdmodel", "inference.pdiparams"), "PaddlePaddle"),
        (("README.md", "train.py"), r"of README\.md, train\.py none is of a kind.*gguf.*onnx"),
        (("a/x", "b/y"), "if one lies in a folder below, open that: a, b"),
        (("notes.txt", "a/x"), r"of notes\.txt none .*; if one lies in a folder below, .*: a"),
        ((".gitattributes",), "without a file"),
    ],
)
def test_a_folder_without_a_model_tells_what_was_looked_for(
    names: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    reason = refused(_folder(tmp_path / "folder", *names))
    assert re.search(says, reason), reason


def test_a_folder_of_pointers_and_one_of_several_models(samples: Samples, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n")
    assert "model.onnx is not a model" in refused(tmp_path)
    assert "run git lfs pull" in refused(tmp_path)
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(samples["onnx"].read_bytes())
    assert "several models: a.onnx, b.onnx; open one of them" in refused(tmp_path)


def _cut(path: Path, by: int = 100) -> tuple[int, int]:
    """How long a file was, and is."""
    size = path.stat().st_size
    os.truncate(path, size - by)
    return size, size - by


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("safetensors", ""),
        ("gguf", ""),
        ("h5", ""),
        ("weights_h5", ""),
        ("hub_folder", "model-00002-of-00003.safetensors"),
        ("safetensors_index", "model-00002-of-00002.safetensors"),
        ("gguf_split", ""),
        ("onnx_external", "m.data"),
        ("checkpoint", "m.data-00000-of-00001"),
        ("savedmodel", "variables/variables.data-00000-of-00001"),
        ("tfjs_layers", "group1-shard4of4.bin"),
    ],
)
def test_a_partial_download_tells_both_sizes(
    name: str, file: str, samples: Samples, tmp_path: Path
) -> None:
    path = copied(samples[name], tmp_path)
    part = path
    if file:
        part = (path if path.is_dir() else path.parent) / file
    elif path.is_dir():
        part = sorted(path.iterdir())[-1]
    expected, there = _cut(part, 60)
    reason = refused(path).replace("\u202f", " ")
    numbers = [int(n.replace(" ", "")) for n in _numbers(reason)]
    if name == "tfjs_layers":  # of the files of a group together
        rest = sum(p.stat().st_size for p in part.parent.glob("*.bin")) - there
        expected, there = expected + rest, there + rest
    assert there in numbers, reason
    assert any(there < n <= expected for n in numbers), reason
    assert "partial download" in reason


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d{1,3}(?: \d{3})+|\d+", text)


@pytest.mark.parametrize("name", ["keras", "pytorch", "pt2", "torchscript", "onnx", "graphdef",
                                  "tflite", "pytorch_before_1_6"])  # fmt: skip
def test_other_partial_downloads_are_told(name: str, samples: Samples, tmp_path: Path) -> None:
    """Where the format does not tell how long a file is."""
    path = tmp_path / samples[name].name
    data = samples[name].read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        assert "partial download" in refused(path), share


@pytest.mark.parametrize("name", ["hub_folder", "pytorch_index", "keras_shards", "gguf_split",
                                  "checkpoint", "tfjs_graph", "onnx_external"])  # fmt: skip
def test_a_missing_part_is_named(name: str, samples: Samples, tmp_path: Path) -> None:
    path = copied(samples[name], tmp_path)
    folder = path if path.is_dir() else path.parent
    parts = sorted(p for p in folder.iterdir() if p != path and p.suffix not in (".json", ".index"))
    parts[0].unlink()
    assert parts[0].name in refused(path)
    assert "missing" in refused(path)


@pytest.mark.parametrize("name", ["m.engine", "model.pkl", "pointer", "m.xml", "symbol.json"])
def test_the_command_line_says_so_and_ends_with_2(name: str, tmp_path: Path) -> None:
    make, says = FILES[name]
    (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-m", "explorer", "info", str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"neuronaut: {tmp_path / name}: ")
    assert re.search(says, line)


def test_every_sample_is_no_foreign_file(samples: Samples) -> None:
    """What is read is never called unreadable, should the formats be asked in vain."""
    from explorer.formats.foreign import told_file

    for name in SAMPLES:
        path = samples[name]
        if path.is_file() and name != "pytorch_before_1_6":  # a pickle
            with path.open("rb") as file:
                assert "not read" not in told_file(Source(str(path), file.fileno())), name
