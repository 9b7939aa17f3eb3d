"""Layers renamed in the configuration alone: Keras loads weights by counting, not by name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras
import pytest
from keras import layers as kl
from keras_models import assert_same_weights, fill, save

from explorer.formats import open_network

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def branched() -> keras.Model:
    """Equal layers in parallel and in a row, and operations that are no layers."""
    x = keras.Input((6,), name="x")
    inner = keras.Sequential([kl.Dense(6, name="p"), kl.ReLU(name="r"), kl.Dense(6, name="q")])
    a, b = kl.Dense(6, name="a")(x), kl.Dense(6, name="b")(x)
    joined = kl.Add(name="sum")([a, b])
    return keras.Model(x, kl.Dense(6, name="c")(inner(joined)))


def with_operations() -> keras.Model:
    x = keras.Input((6,), name="x")
    y = kl.Dense(6, name="b")(keras.ops.add(kl.Dense(6, name="a")(x), 1.0))
    return keras.Model(x, kl.Dense(6, name="c")(keras.ops.relu(y)))


def rewritten(path: Path, names: dict[str, str]) -> Path:
    """The same file with other names in its configuration."""
    other = path.with_name("renamed.keras")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "config.json":
                text = data.decode()
                for old in names:
                    assert f'"{old}"' in text
                    text = text.replace(f'"{old}"', f'"\0{old}"')
                for old, new in names.items():
                    text = text.replace(f'"\0{old}"', f'"{new}"')
                data = json.dumps(json.loads(text)).encode()
            target.writestr(name, data)
    return other


@pytest.mark.parametrize(
    "names",
    [
        {"a": "first"},
        {"a": "b", "b": "a"},
        {"a": "c", "b": "a", "c": "b"},
        {"p": "q", "q": "p"},
        {"p": "z", "x": "entry", "sum": "plus"},
    ],
)
def test_renamed_layers_keep_the_weights_that_keras_loads(
    tmp_path: Path, names: dict[str, str]
) -> None:
    save(fill(branched()), tmp_path / "m.keras")
    path = rewritten(tmp_path / "m.keras", names)
    assert_same_weights(open_network(path), keras.saving.load_model(path))


def test_operations_do_not_shift_the_count(tmp_path: Path) -> None:
    model = fill(with_operations())
    assert_same_weights(save(model, tmp_path / "m.keras"), model)
    path = rewritten(tmp_path / "m.keras", {"b": "other"})
    assert_same_weights(open_network(path), keras.saving.load_model(path))
