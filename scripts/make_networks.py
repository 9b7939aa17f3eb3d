"""Build the networks that Neuronaut is tried on, with reproducible random weights, and save them.

    python scripts/make_networks.py [FOLDER] [--only NAME ...] [--format keras|h5]

Needs TensorFlow. Eight networks of ``keras.applications`` (built with ``weights=None``, so nothing
is downloaded); five small ones that between them use every way Keras has of wiring layers: a
sequence, branches, a shared layer, nested models, attention, and a subclassed model; and three
generated ones that are hard to draw: 2 000 layers in one chain, 300 layers whose names say nothing,
one mask fed to each of 100 blocks. What already exists is skipped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
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


def deep2000() -> Any:
    """2 000 layers in one chain, with the names that Keras gives: dense, norm, activation, …"""
    x = inputs = keras.Input((32,), name="input")
    for at in range(1, 2000):
        if at % 4 == 2:
            x = kl.BatchNormalization()(x)
        elif at % 4 == 3:
            x = kl.Activation("relu")(x)
        elif at % 4 == 0 and at % 16:
            x = kl.Dropout(0.1)(x)
        else:
            x = kl.Dense(32 if at % 500 < 250 else 24)(x)
    return keras.Model(inputs, x, name="deep2000")


def nameless300() -> Any:
    """300 layers with branches and skips; every name is a random number."""
    rng = np.random.default_rng(SEED)
    made = 0

    def layer(kind: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal made
        made += 1
        return kind(*arguments, name=f"{rng.integers(1 << 32):08x}", **options)

    x = inputs = layer(keras.Input, (32, 32, 3))
    x = layer(kl.Conv2D, 16, 3, padding="same")(x)
    width, blocks = 16, 0
    while made < 280:
        blocks += 1
        if blocks % 8 == 0:  # a transition: half the size, twice the width
            width = min(2 * width, 64)
            x = layer(kl.Conv2D, width, 3, strides=2, padding="same")(x)
        skip = x
        if blocks % 3 == 0:  # three branches that meet again
            ends = []
            for kernel in (1, 3, 5):
                y = layer(kl.Conv2D, width // 2, 1, padding="same")(x)
                ends.append(layer(kl.Conv2D, width // 2, kernel, padding="same")(y))
            y = layer(kl.Concatenate)(ends)
            y = layer(kl.Conv2D, width, 1)(y)
        else:
            y = layer(kl.DepthwiseConv2D, 3, padding="same")(x)
            y = layer(kl.BatchNormalization)(y)
            y = layer(kl.Conv2D, width, 1, activation="relu")(y)
        x = layer(kl.Add)([skip, y])
    while made < 298:
        x = layer(kl.ReLU)(layer(kl.Conv2D, width, 3, padding="same")(x))
    x = layer(kl.GlobalAveragePooling2D)(x)
    return keras.Model(inputs, layer(kl.Dense, 10, activation="softmax")(x), name="nameless300")


def masked100() -> Any:
    """100 blocks of attention on a sequence, all of which read one mask."""
    tokens = keras.Input((24,), name="tokens")
    mask = keras.Input((24, 24), name="mask")
    x = kl.Embedding(500, 32, name="embedding")(tokens)
    for index in range(1, 101):
        prefix = f"block{index}"
        y = kl.LayerNormalization(epsilon=1e-6, name=f"{prefix}_norm")(x)
        attention = kl.MultiHeadAttention(2, 16, name=f"{prefix}_attention")
        x = kl.Add(name=f"{prefix}_add")([x, attention(y, y, attention_mask=mask)])
        x = kl.Dense(32, activation="gelu", name=f"{prefix}_dense")(x)
    return keras.Model([tokens, mask], kl.Dense(4, name="head")(x), name="masked100")


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
    "nasnetmobile": application("NASNetMobile"),
    "densenet201": application("DenseNet201"),
    "convnexttiny": application("ConvNeXtTiny"),
    "efficientnetb7": application("EfficientNetB7"),
    "deep2000": deep2000,
    "nameless300": nameless300,
    "masked100": masked100,
}
WITH_LEGACY = {"branches", "bilstm", "transformer", "zoo"}
WITH_LEGACY |= {"mobilenetv2", "resnet50", "inceptionv3", "vgg16"}


def build(name: str) -> Any:
    """The named network with weights that depend only on the name.

    Biases and other zeros are replaced by small random numbers, so that a reader which forgot one
    would be seen.
    """
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
    """File suffixes to write; not all networks have a legacy form, or need one."""
    known = ["keras", "h5"] if name in WITH_LEGACY else ["keras"]
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
    sys.setrecursionlimit(50_000)  # Keras walks a chain of layers by recursion
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
