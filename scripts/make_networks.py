"""Build the networks that Neuronaut is tried on, with reproducible random weights, and save them.

    python scripts/make_networks.py [FOLDER] [--only NAME ...] [--format keras|h5]

Needs TensorFlow. Four networks of ``keras.applications`` (built with ``weights=None``, so nothing
is downloaded) and five small ones that between them use every way Keras has of wiring layers: a
sequence, branches, a shared layer, nested models, attention, and a subclassed model. What already
exists is skipped.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
from keras import layers as kl

SEED = 20240229


def application(name: str) -> Callable[[], Any]:
    """A maker of one of Keras' own architectures with random weights."""
    return lambda: getattr(keras.applications, name)(weights=None)


def bilstm() -> Any:
    """A stacked bidirectional LSTM text classifier: 120 tokens of 8 000 words, 5 classes."""
    return keras.Sequential(
        [
            keras.Input((120,), name="tokens"),
            kl.Embedding(8000, 64, name="embedding"),
            kl.Bidirectional(kl.LSTM(64, return_sequences=True), name="bilstm_1"),
            kl.Bidirectional(kl.LSTM(48, return_sequences=True), name="bilstm_2"),
            kl.Bidirectional(kl.LSTM(32), name="bilstm_3"),
            kl.Dropout(0.3, name="dropout"),
            kl.Dense(64, activation="relu", name="hidden"),
            kl.Dense(5, activation="softmax", name="topic"),
        ],
        name="text_classifier",
    )


def encoder_block(x: Any, index: int, width: int, heads: int) -> Any:
    """Self-attention and a feed-forward part, each with its residual and normalisation."""
    prefix = f"block{index}"
    attention = kl.MultiHeadAttention(heads, width // heads, name=f"{prefix}_attention")
    mixed = attention(query=x, value=x, key=x)
    x = kl.Add(name=f"{prefix}_attention_add")([x, mixed])
    x = kl.LayerNormalization(epsilon=1e-6, name=f"{prefix}_attention_norm")(x)
    y = kl.Dense(4 * width, activation="gelu", name=f"{prefix}_ffn_up")(x)
    y = kl.Dense(width, name=f"{prefix}_ffn_down")(y)
    y = kl.Dropout(0.1, name=f"{prefix}_ffn_dropout")(y)
    x = kl.Add(name=f"{prefix}_ffn_add")([x, y])
    return kl.LayerNormalization(epsilon=1e-6, name=f"{prefix}_ffn_norm")(x)


def transformer() -> Any:
    """A small encoder: 64 tokens of 4 000 words, width 128, 4 heads, 3 blocks, 6 classes."""
    tokens = keras.Input((64,), name="tokens")
    positions = keras.Input((64,), name="positions")
    words = kl.Embedding(4000, 128, name="word_embedding")(tokens)
    places = kl.Embedding(64, 128, name="position_embedding")(positions)
    x = kl.Add(name="embedding_add")([words, places])
    for index in range(1, 4):
        x = encoder_block(x, index, 128, 4)
    x = kl.GlobalAveragePooling1D(name="pool")(x)
    outputs = kl.Dense(6, activation="softmax", name="head")(x)
    return keras.Model([tokens, positions], outputs, name="transformer_encoder")


def branches() -> Any:
    """A residual branch, a concatenation, a shared layer, nested models, two inputs and outputs."""
    inner_in = keras.Input((8, 8, 16), name="features")
    y = kl.Conv2D(16, 3, padding="same", activation="relu", name="conv")(inner_in)
    y = kl.BatchNormalization(name="norm")(y)
    inner = keras.Model(inner_in, kl.Add(name="skip")([inner_in, y]), name="refine")
    squeeze = keras.Sequential(
        [kl.Conv2D(12, 1, activation="relu", name="one"), kl.MaxPooling2D(name="pool")],
        name="squeeze",
    )
    left, right = keras.Input((16, 16, 3), name="left"), keras.Input((16, 16, 3), name="right")
    shared = kl.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="shared_stem")
    a, b = shared(left), shared(right)
    residual = kl.Conv2D(16, 3, padding="same", name="residual_conv")(a)
    a = kl.Add(name="residual_add")([a, residual])
    a, b = inner(a), inner(b)
    joined = kl.Concatenate(name="join")([a, b, kl.SeparableConv2D(8, 3, padding="same")(a)])
    flat = kl.Flatten(name="flatten")(squeeze(joined))
    digit = kl.Dense(10, activation="softmax", name="digit")(flat)
    same = kl.Dense(1, activation="sigmoid", name="same")(flat)
    return keras.Model([left, right], [digit, same], name="branches")


@keras.saving.register_keras_serializable("examples")
class Block(kl.Layer):  # type: ignore[misc]
    """Two dense layers with a residual, as a person would write it by hand."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = units
        self.up = kl.Dense(2 * units, activation="relu")
        self.down = kl.Dense(units)
        self.norm = kl.LayerNormalization()

    def call(self, x: Any) -> Any:
        """Add what the two dense layers make of `x`, and normalise."""
        return self.norm(x + self.down(self.up(x)))

    def get_config(self) -> dict[str, Any]:
        """What it takes to make the layer again."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("examples")
class Subclassed(keras.Model):  # type: ignore[misc]
    """A model written as a class: its file records what it holds and not how it is wired."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.stem = kl.Dense(32, activation="relu", name="stem")
        self.blocks = [Block(32, name=f"block_{i}") for i in range(3)]
        self.head = kl.Dense(4, name="head")

    def call(self, x: Any) -> Any:
        """Classify a batch."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def subclassed() -> Any:
    """The subclassed model, built by calling it once."""
    model = Subclassed(name="subclassed")
    model(keras.ops.zeros((2, 20)))
    return model


def zoo() -> Any:
    """One layer of most kinds, small, in two branches that meet: images and sequences."""
    image = keras.Input((24, 24, 4), name="image")
    x = kl.ZeroPadding2D(1, name="pad")(image)
    x = kl.Conv2D(8, 3, name="conv2d")(x)
    x = kl.Conv2D(16, 3, groups=4, padding="same", name="conv2d_grouped")(x)
    x = kl.BatchNormalization(scale=False, name="batch_norm")(x)
    x = kl.ReLU(name="relu")(x)
    x = kl.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = kl.SeparableConv2D(12, 3, use_bias=False, name="separable")(x)
    x = kl.GroupNormalization(groups=4, name="group_norm")(x)
    x = kl.AveragePooling2D(2, name="average_pool")(x)
    x = kl.Conv2DTranspose(6, 3, strides=2, padding="same", name="conv2d_transpose")(x)
    x = kl.Cropping2D(2, name="crop")(x)
    x = kl.UpSampling2D(2, name="up")(x)
    x = kl.Permute((3, 1, 2), name="permute")(x)
    x = kl.Reshape((6, -1), name="reshape")(x)
    x = kl.EinsumDense("abc,cd->abd", output_shape=(6, 20), bias_axes="d", name="einsum")(x)
    x = kl.PReLU(name="prelu")(x)

    volume = keras.Input((6, 6, 6, 2), name="volume")
    v = kl.Conv3D(4, 3, name="conv3d")(volume)
    v = kl.MaxPooling3D(2, name="max_pool3d")(v)
    v = kl.Flatten(name="flatten")(v)

    sequence = keras.Input((20, 5), name="sequence")
    s = kl.Conv1D(10, 3, padding="causal", name="conv1d")(sequence)
    s = kl.SimpleRNN(7, return_sequences=True, name="simple_rnn")(s)
    s = kl.GRU(9, return_sequences=True, name="gru")(s)
    s = kl.TimeDistributed(kl.Dense(20), name="time_dense")(s)
    s = kl.Bidirectional(kl.GRU(10, reset_after=False, return_sequences=True), name="bigru")(s)
    s = kl.LayerNormalization(name="layer_norm")(s)
    seen = kl.MultiHeadAttention(2, 6, value_dim=5, name="attention")(x, s)
    x = kl.Subtract(name="subtract")([x, seen])
    x = kl.GlobalMaxPooling1D(name="global_max")(x)
    s = kl.LSTM(11, name="lstm")(s)
    joined = kl.Concatenate(name="join")([x, s, v])
    return keras.Model(
        [image, volume, sequence], kl.Dense(3, activation="tanh", name="out")(joined), name="zoo"
    )


NETWORKS: dict[str, Callable[[], Any]] = {
    "branches": branches,
    "bilstm": bilstm,
    "transformer": transformer,
    "subclassed": subclassed,
    "zoo": zoo,
    "mobilenetv2": application("MobileNetV2"),
    "resnet50": application("ResNet50"),
    "inceptionv3": application("InceptionV3"),
    "vgg16": application("VGG16"),
}


def build(name: str) -> Any:
    """The named network with weights that depend only on the name.

    Biases and other zeros are replaced by small random numbers, so that a reader which forgot one
    would be seen.
    """
    import numpy as np

    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    model = NETWORKS[name]()
    rng = np.random.default_rng(SEED)
    for variable in model.weights:
        value = np.asarray(variable)
        if value.dtype.kind == "f" and value.ndim and np.ptp(value) == 0:
            variable.assign(value + rng.uniform(0, 0.05, value.shape).astype(value.dtype))
    return model


def formats_of(name: str, wanted: str | None) -> list[str]:
    """File suffixes to write; a subclassed model has no legacy form."""
    known = ["keras"] if name == "subclassed" else ["keras", "h5"]
    return [suffix for suffix in known if wanted in (None, suffix)]


def save(model: Any, path: Path) -> None:
    """Write under another name and rename, so that a stopped run leaves no half file."""
    partial = path.with_name(f"partial.{path.name}")
    model.save(partial)
    os.replace(partial, path)


def main() -> None:
    """Build what the command line asks for and does not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("out/networks"))
    parser.add_argument("--only", nargs="+", choices=sorted(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--format", choices=["keras", "h5"])
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        paths = [options.folder / f"{name}.{s}" for s in formats_of(name, options.format)]
        missing = [path for path in paths if not path.exists()]
        if not missing:
            continue
        model = build(name)
        for path in missing:
            save(model, path)
            print(f"{path}  {path.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
