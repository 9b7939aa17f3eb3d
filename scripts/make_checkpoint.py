"""Write a checkpoint of any size: a decoder-only language model, or one huge matrix.

    python scripts/make_checkpoint.py FILE.keras [--gigabytes 16] [--seed 0] [--non-finite N]
    python scripts/make_checkpoint.py FILE.keras --matrix 32768 [--dtype float32]

The file is what Keras itself would write: a small twin of the model is built and saved by Keras,
and every length in its configuration and in its weights file is replaced by the length wanted.
Needs TensorFlow for that. The weights are those of `made_weights`, the same for the same seed,
written as a stream: memory stays below 500 MB at any size.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import resource
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any

from made_weights import Checkpoint, Decoder, Sizes, Statistics, Tensor, decoder_of

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
DATE = (2024, 1, 1, 0, 0, 0)
METADATA = "metadata.json"
TWIN = {"vocabulary": 1009, "dim": 61, "head_dim": 67, "mlp": 71, "units": 73}
"""Lengths of the twin: primes that mean nothing else in a configuration."""


def build_decoder(sizes: Decoder, lengths: Sizes) -> Any:
    """The Keras model: embedding, blocks of attention and feed-forward, norm, head."""
    import keras
    from keras import layers as kl

    dim = lengths["dim"]
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = kl.Embedding(lengths["vocabulary"], dim, name="token_embedding")(tokens)
    for block in range(sizes.blocks):
        at = f"block_{block}"
        y = kl.RMSNormalization(epsilon=1e-5, name=f"{at}_attention_norm")(x)
        attention = kl.GroupQueryAttention(
            lengths["head_dim"], sizes.heads, sizes.kv_heads, use_bias=False, name=f"{at}_attention"
        )
        y = attention(y, y, use_causal_mask=True)
        x = kl.Add(name=f"{at}_attention_add")([x, y])
        y = kl.RMSNormalization(epsilon=1e-5, name=f"{at}_mlp_norm")(x)
        gate = kl.Dense(lengths["mlp"], activation="silu", use_bias=False, name=f"{at}_mlp_gate")(y)
        up = kl.Dense(lengths["mlp"], use_bias=False, name=f"{at}_mlp_up")(y)
        y = kl.Multiply(name=f"{at}_mlp_product")([gate, up])
        y = kl.Dense(dim, use_bias=False, name=f"{at}_mlp_down")(y)
        x = kl.Add(name=f"{at}_mlp_add")([x, y])
    x = kl.RMSNormalization(epsilon=1e-5, name="final_norm")(x)
    head = kl.Dense(lengths["vocabulary"], use_bias=False, name="head")(x)
    return keras.Model(tokens, head, name="decoder")


def build_matrix(units: int) -> Any:
    """The Keras model of one Dense layer without a bias."""
    import keras

    layer = keras.layers.Dense(units, use_bias=False, name="matrix")
    return keras.Sequential([keras.Input((units,), name="input"), layer], name="matrix")


def save_twin(path: str, sizes: Decoder | None, dtype: str) -> None:
    """Save the twin of a decoder, or of a matrix; run in a process of its own."""
    import keras

    keras.config.set_dtype_policy(dtype)
    model = build_matrix(TWIN["units"]) if sizes is None else build_decoder(sizes, TWIN)
    model.save(path)
    keras.config.set_dtype_policy("float32")


def resized(value: Any, lengths: Sizes) -> Any:
    """A configuration or a shape of the twin with its lengths replaced."""
    if isinstance(value, dict):
        return {key: resized(item, lengths) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resized(item, lengths) for item in value]
    if type(value) is int:
        known = {TWIN[name]: length for name, length in lengths.items()}
        return known.get(value, value)
    return value


def configuration(text: bytes, lengths: Sizes) -> bytes:
    """The configuration of the twin as that of its big sibling, the same every time.

    Keras marks objects that several layers share with their addresses; here they are counted.
    """
    numbers: dict[str, str] = {}

    def counted(found: re.Match[str]) -> str:
        return found[1] + numbers.setdefault(found[2], str(1 + len(numbers)))

    made = json.dumps(resized(json.loads(text), lengths))
    return re.sub(r'("shared_object_id": )(\d+)', counted, made).encode()


def lay_out(twin: Path, path: Path, lengths: Sizes) -> list[Tensor]:
    """Write the weights file of the twin's big sibling without its data, as a file with holes.

    Parameters
    ----------
    twin : Path
        Weights file that Keras wrote.
    path : Path
        To be made; every dataset has its place in it and nothing is written there.
    lengths : dict

    Returns
    -------
    list of Tensor
        In the order of their offsets.
    """
    import h5py

    made: list[tuple[str, str, Any]] = []

    def copy(source: Any, target: Any, layer: str) -> None:
        for key, value in source.attrs.items():
            target.attrs[key] = value
        name = source.attrs.get("name", layer)
        if source.name.count("/") == 3 and source.name.endswith("/vars"):
            layer = str(name)
        for key, item in source.items():
            if isinstance(item, h5py.Group):
                copy(item, target.create_group(key), layer)
                continue
            shape = tuple(resized(item.shape, lengths))
            plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            plan.set_obj_track_times(False)
            space = h5py.h5s.create_simple(shape)
            h5py.h5d.create(target.id, key.encode(), item.id.get_type(), space, plan)
            for attribute, value in item.attrs.items():
                target[key].attrs[attribute] = value
            made.append((target[key].name, layer, target[key]))

    with h5py.File(twin) as source, h5py.File(path, "w") as target:
        copy(source, target, "")
        tensors = [Tensor(p, la, d.shape, d.id.get_offset()) for p, la, d in made]
    return sorted(tensors, key=lambda tensor: tensor.offset)


def stream(
    skeleton: Path, tensors: list[Tensor], made: Statistics, done: Callable[[int], None]
) -> Iterator[bytes]:
    """The bytes of the weights file: what lies between the tensors is that of the skeleton."""
    item = 2 if made.dtype == "bfloat16" else 4
    with skeleton.open("rb") as file:
        at = 0
        for tensor in tensors:
            file.seek(at)
            yield file.read(tensor.offset - at)
            yield from made.chunks(tensor)
            at = tensor.offset + prod(tensor.shape) * item
            done(at)
        file.seek(at)
        yield file.read()


def write(path: Path, twin: Path, what: Checkpoint, done: Callable[[int], None]) -> None:
    """Write the big sibling of a twin under `path`, whole or not at all.

    Parameters
    ----------
    path, twin : Path
        ``.keras`` files: to be made, and as `save_twin` saved it.
    what : Checkpoint
    done : callable (int) -> None
        Told how many bytes are written, after each tensor.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        skeleton, whole = Path(folder) / "holes.h5", Path(folder) / "whole"
        with zipfile.ZipFile(twin) as small:
            config, metadata = small.read(CONFIG), json.loads(small.read(METADATA))
            small.extract(WEIGHTS, folder)
        tensors = lay_out(Path(folder) / WEIGHTS, skeleton, what.lengths)
        statistics = Statistics(what, tensors)
        metadata["date_saved"] = "2024-01-01@00:00:00"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(METADATA, DATE), json.dumps(metadata))
            archive.writestr(zipfile.ZipInfo(CONFIG, DATE), configuration(config, what.lengths))
            with archive.open(zipfile.ZipInfo(WEIGHTS, DATE), "w", force_zip64=True) as member:
                for data in stream(skeleton, tensors, statistics, done):
                    member.write(data)
        whole.replace(path)


def make(path: Path, what: Checkpoint, done: Callable[[int], None] = lambda n: None) -> None:
    """Have Keras save the twin, and `write` its big sibling."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        twin = Path(folder) / "twin.keras"
        # Keras and TensorFlow take more memory than all the rest, so they run elsewhere and end.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            pool.apply(save_twin, (str(twin), what.sizes, what.dtype))
        write(path, twin, what, done)


def main() -> int:
    """Write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("path", type=Path, help="the .keras file to be made")
    parser.add_argument("--gigabytes", type=float, default=16.0, help="size of the decoder, 10⁹")
    parser.add_argument("--matrix", type=int, metavar="N", help="one N × N matrix instead")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32",
                        help="of the matrix; a decoder is in bfloat16")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--non-finite", type=int, default=0, help="weights that are not finite")
    options = parser.parse_args()
    started = time.perf_counter()

    def done(nbytes: int) -> None:
        if sys.stderr.isatty():
            rate = nbytes / 1e6 / (time.perf_counter() - started)
            print(f"\r{nbytes / 1e9:7.2f} GB, {rate:4.0f} MB/s ", end="", file=sys.stderr)

    sizes = None if options.matrix else decoder_of(options.gigabytes)
    dtype = options.dtype if options.matrix else "bfloat16"
    what = Checkpoint(sizes, options.matrix or 0, dtype, options.seed, options.non_finite)
    make(options.path, what, done)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{options.path}: {options.path.stat().st_size / 1e9:.2f} GB in"
        f" {time.perf_counter() - started:.0f} s, peak memory {peak / 1e6:.0f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
