"""What a file is that no format here reads: named, with what to do about it.

Told by content, as the formats are; the name of the file helps only where there is nothing else.
Magic numbers are those of the projects themselves and of ``file`` (github.com/file/file).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Collection

from explorer.formats.containers.protobuf import BYTES, VARINT, fields
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.plain_text import clean

_HEAD = 4096
_UNKNOWN = "not a model file of a known kind"
_UNPACK = "unpack it and open what is in it"

# Offset, bytes, what such a file is. Models of other software first.
_MODELS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"ftrt", "a TensorRT engine"), (0, b"ptrt", "a TensorRT engine"),
    (4, b"ORTM", "a model of ONNX Runtime's own format (.ort); the ONNX file it was made from is"
                 " read"),
    (4, b"ET12", "an ExecuTorch program (.pte)"),
    (0, b"\x12\x01\0\0\0\0\0\0", "parameters of MXNet"),
    (0, b"RKNN", "a model of Rockchip's NPU (.rknn)"), (0, b"CBM1", "a CatBoost model"),
    (0, b"7767517\n", "a model of ncnn"), (0, b"tree\nversion=", "a LightGBM model"),
    (0, b"lmgg", "a GGML file of before GGUF; llama.cpp's convert_llama_ggml_to_gguf.py makes one"
                 " that is read"),
    (0, b"fmgg", "a GGML file of before GGUF; convert it to GGUF with llama.cpp"),
    (0, b"tjgg", "a GGML file of before GGUF; convert it to GGUF with llama.cpp"),
    (0, b"algg", "a GGML adapter of before GGUF; convert it to GGUF with llama.cpp"),
)  # fmt: skip
_OTHERS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x93NUMPY", "a NumPy array (.npy), which is no model"),
    (0, b"RDX", "data of R"), (0, b"RDA", "data of R"), (0, b"X\n\0\0\0", "data of R (.rds)"),
    (0, b"MATLAB 5", "data of MATLAB"), (0, b"PAR1", "a Parquet table"),
    (0, b"SQLite format 3", "a SQLite database"), (0, b"\x7fELF", "a program"),
    (0, b"MZ", "a program of Windows"), (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"), (0, b"GIF8", "a GIF picture"),
    (8, b"WEBP", "a WebP picture"), (8, b"WAVE", "a sound"), (4, b"ftyp", "a film"),
    (0, b"II*\0", "a TIFF picture"), (0, b"MM\0*", "a TIFF picture"), (0, b"BM", "a BMP picture"),
    (0, b"%PDF", "a PDF document"), (0, b"{\\rtf", "a document"),
    (257, b"ustar", f"a tar archive; {_UNPACK}"), (0, b"BZh", f"a bzip2 archive; {_UNPACK}"),
    (0, b"\xfd7zXZ\0", f"an xz archive; {_UNPACK}"),
    (0, b"(\xb5/\xfd", f"a zstd archive; {_UNPACK}"),
    (0, b"7z\xbc\xaf'\x1c", f"a 7-Zip archive; {_UNPACK}"), (0, b"Rar!", f"an archive; {_UNPACK}"),
    (0, b"\x04\"M\x18", f"an LZ4 archive; {_UNPACK}"),
)  # fmt: skip
# Whose objects a pickle holds, by a name in its first bytes.
_PICKLED = (
    (b"joblib", "scikit-learn (joblib)"), (b"sklearn", "scikit-learn"), (b"xgboost", "XGBoost"),
    (b"lightgbm", "LightGBM"), (b"keras", "Keras"), (b"torch", "PyTorch, not saved by torch.save"),
    (b"jax", "JAX"), (b"pandas", "pandas"), (b"numpy", "NumPy"),
)  # fmt: skip
_TEXTS: tuple[tuple[bytes, str], ...] = (
    (rb"(?i)<!doctype html|<html", "a web page, not the file (log in, or download it again)"),
    (rb"<net\b[^>]*\bversion=", "an OpenVINO model, which is not read; open the model that it was"
                                " made from"),
    (rb"<PMML\b", "a PMML model, which is not read"),
    (rb"<Error>.*<Code>", "a server's error message, not the file"),
    (rb"(?m)^\s*\[(net|network)\]\s*$", "a Darknet configuration (.cfg), which is not read"),
    (rb"(?m)^\s*layers?\s*\{", "a Caffe network (.prototxt), which is not read"),
    (rb"(?m)^\s*(node|meta_graphs)\s*\{", "a TensorFlow graph as text, which is not read; save it"
                                          " as .pb"),
    (rb"(?m)^ir_version:", "an ONNX model as text, which is not read; save it as .onnx"),
    (rb'"arg_nodes"|"node_row_ptr"', "a network of MXNet, which is not read"),
    (rb'"learner"|"gradient_booster"', "an XGBoost model, which is not read"),
    (rb'"architectures"|"model_type"', "the configuration of a model, which holds no weights; open"
                                       " the folder that it lies in"),
    (rb'"class_name"', "the configuration of a Keras model, which holds no weights"),
    (rb'"_class_name"|"_diffusers_version"', "the configuration of a pipeline; open one of the"
                                             " folders beside it"),
    (rb'"added_tokens"|"merges"|"vocab"', "a tokenizer, which is no model"),
)  # fmt: skip
# Members of archives that tell what it is an archive of.
_MEMBERS: tuple[tuple[str, str], ...] = (
    (r"\.npy$", "a NumPy archive (.npz) of arrays, which is no model"),
    (r"^coefficients\.bin$", "a model of Deeplearning4j, which is not read"),
    (r"^schema\.json$", "a skops archive of scikit-learn, which is not read"),
    (r"(^|/)Data/com\.apple\.CoreML/", "a Core ML package, which is not read; open the model that"
                                       " it was made from"),
    (r"^MAR-INF/", f"an archive of TorchServe (.mar); {_UNPACK}"),
    (r"^\[Content_Types\]\.xml$", "a document of an office program"),
    (r"^META-INF/MANIFEST\.MF$", "a Java archive"), (r"^AndroidManifest\.xml$", "an Android app"),
    (r"\.dist-info/METADATA$", "a Python package"),
)  # fmt: skip
_MODEL_FILE = re.compile(
    r"(^|/)[^/]*\.(keras|h5|hdf5|safetensors|gguf|onnx|pt|pth|pt2|bin|tflite|pb)$"
)
# Names of a folder's contents that tell what it is; all of a row must be there.
_FOLDERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Manifest.json", "Data"), "a Core ML package, which is not read; open the model that it was"
                                " made from"),
    (("coremldata.bin",), "a compiled Core ML model, which is not read"),
    (("manifest.ocdbt",), "a checkpoint of Orbax (JAX), which is not read; save the parameters as"
                          " safetensors"),
    (("_CHECKPOINT_METADATA",), "a checkpoint of Orbax (JAX), which is not read; save the"
                                " parameters as safetensors"),
    (("_METADATA", "checkpoint"), "a checkpoint of Orbax (JAX), which is not read"),
    (("blobs", "snapshots"), "the cache of a model of Hugging Face; open the folder inside its"
                             " folder snapshots"),
    (("model_index.json",), "a pipeline of several models; open one of the folders in it"),
    (("__model__",), "a model of PaddlePaddle, which is not read"),
    (("config.json",), "a folder with the configuration of a model and no weights that are read:"
                       " neither *.safetensors nor pytorch_model.bin nor model.weights.h5"),
)  # fmt: skip


def told_file(source: Source) -> str:
    """Why a file is no model that is read: one line."""
    head = source.pread(0, _HEAD)
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return f"{_UNKNOWN}: {_lfs_pointer(head)}"
    what = _model(source, head)
    if what:
        kind, mark, advice = what.partition(";")
        return what if "not read" in kind else f"{kind}, which is not read{mark}{advice}"
    what = _other(head)
    return f"{_UNKNOWN}; it looks like {what}" if what else _UNKNOWN


def told_archive(names: Collection[str]) -> str:
    """What a zip archive holds that is no Keras model, as the end of a sentence; or nothing."""
    for pattern, what in _MEMBERS:
        if any(re.search(pattern, name) for name in names):
            return f"it looks like {what}"
    model = next((name for name in names if _MODEL_FILE.search(name)), None)
    if model is not None:
        return f"there is {clean(model, 80)!r} in it: unpack it and open that"
    return ""


def told_folder(names: Collection[str]) -> str:
    """What a folder without a model file is, by the names in it; or nothing."""
    for needed, what in _FOLDERS:
        if all(name in names for name in needed):
            return what
    if any(name.endswith(".pdmodel") for name in names):
        return "a model of PaddlePaddle, which is not read"
    return ""


def _model(source: Source, head: bytes) -> str:
    """A model of other software."""
    for offset, magic, what in _MODELS:
        if head[offset : offset + len(magic)] == magic:
            return what
    pickled = _pickle(head)
    if pickled:
        return pickled
    if head[:1] in (b"\x81", b"\x82", b"\x83", b"\x84") and re.match(rb".[\xa1-\xbf][a-z_]", head):
        return "parameters of Flax (msgpack); save them as safetensors"
    if head[:16] == bytes(16) and len(head) > 24 and head[20] == 0x08 and head[16]:
        return "parameters of PaddlePaddle (.pdiparams)"
    if source.name.endswith(".weights") and len(head) > 20:
        major, minor, _ = struct.unpack_from("<iii", head)
        if (major, minor) in ((0, 1), (0, 2), (1, 0)):
            return "weights of Darknet, which tell no layers"
    return _message(source)


def _message(source: Source) -> str:
    """A model of other software in a protocol buffer, by the numbers of its fields."""
    found: list[tuple[int, int]] = []
    first = None
    try:
        for field in fields(source, 0, source.size):
            first = first or field
            found.append((field.number, field.wire))
            if len(found) > 50:
                break
    except UnreadableError:
        if len(found) < 2:
            return ""
    numbers = {number for number, _ in found}
    if found[:1] == [(1, VARINT)] and any(200 <= n <= 3000 for n in numbers) and 2 in numbers:
        return "a Core ML model (.mlmodel); open the model that it was made from"
    if 100 in numbers and numbers <= {1, 2, 3, 4, 5, 6, 7, 8, 100}:
        return "weights of Caffe (.caffemodel)"
    if first is not None and (first.number, first.wire) == (1, BYTES):
        try:
            inside = [
                (f.number, f.wire)
                for f, _ in zip(fields(source, first.start, first.stop), range(3), strict=False)
            ]
        except UnreadableError:
            return ""
        if inside == [(1, VARINT), (2, VARINT), (3, BYTES)]:
            return "a program of PaddlePaddle (.pdmodel)"
    return ""


def _pickle(head: bytes) -> str:
    """Whose objects a pickle holds."""
    binary = len(head) > 2 and head[0] == 0x80 and head[1] in range(2, 6)
    text = re.match(rb"c[\w.]{1,80}\n\w{1,80}\n|\(dp\d+\n|\(lp\d+\n|\(i[\w.]+\n", head)
    if not binary and not text:
        return ""
    owner = next((name for mark, name in _PICKLED if mark in head), "")
    of = f" of objects of {owner}" if owner else ""
    return f"a Python pickle{of}, which is not read: it is a program, and is not run"


def _other(head: bytes) -> str:
    """What else a file looks like."""
    for offset, magic, what in _OTHERS:
        if head[offset : offset + len(magic)] == magic:
            return what
    if head.startswith(b"\x1f\x8b"):
        return _gzip(head)
    if head[:2] in (b"x\x9c", b"x\x01", b"x\xda") and _inflated(head, 15):
        return "compressed data (joblib, or another program's)"
    if len(head) == _HEAD and not any(head):
        return "zeros: its first bytes are all 0 (a download that was not finished?)"
    return _text(head)


def _gzip(head: bytes) -> str:
    inside = _inflated(head, 31)
    if inside[257:262] == b"ustar":
        return f"a tar archive (.tar.gz); {_UNPACK}"
    if inside.startswith((b"RDX", b"RDA", b"X\n")):
        return "data of R, which is no model that is read"
    return f"a gzip archive; {_UNPACK}"


def _inflated(head: bytes, bits: int) -> bytes:
    """The first bytes of compressed data."""
    try:
        return zlib.decompressobj(bits).decompress(head, 512)
    except zlib.error:
        return b""


def _text(head: bytes) -> str:
    """What a text is; of a short one, which may be a server's answer, how it begins."""
    plain = head.removeprefix(b"\xef\xbb\xbf")
    if not plain or any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in plain):
        return ""
    for pattern, what in _TEXTS:
        if re.search(pattern, plain, re.DOTALL):
            return what
    try:
        words = plain.decode() if len(plain) < _HEAD else plain.decode("utf-8", "ignore")
    except UnicodeDecodeError:
        return ""
    kind = "JSON" if words.lstrip()[:1] in ("{", "[") else "text"
    return f"{kind} ({clean(' '.join(words.split()), 60)!r})"


def _lfs_pointer(head: bytes) -> str:
    """What to do about the few lines that Git LFS leaves in the place of a large file."""
    size = re.search(rb"^size (\d{1,19})$", head, re.MULTILINE)
    of = f" of {int(size[1]):,} bytes".replace(",", " ") if size else ""
    return f"this is a Git LFS pointer to a file{of}, not the file; run git lfs pull"
