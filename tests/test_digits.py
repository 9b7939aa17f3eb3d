"""The bundled network: trained as its card says, measured again by Keras."""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STORED = ROOT / "scenes" / "digits.keras"


@pytest.mark.slow
def test_the_stored_network_reads_the_test_scans_as_well_as_its_card_says() -> None:
    import keras

    spec = importlib.util.spec_from_file_location("train_digits", ROOT / "scripts/train_digits.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    x_train, x_test, y_train, y_test = script.load()
    assert len(x_train) == len(y_train) == 1347
    model = keras.models.load_model(STORED)
    wrong = int((model.predict(x_test, verbose=0).argmax(axis=1) != y_test).sum())
    accuracy = 1 - wrong / len(y_test)
    assert accuracy >= 0.97
    card = (ROOT / "scenes" / "digits.md").read_text(encoding="utf-8")
    told = re.search(r"test scans: ([\d.]+)% \((\d+) wrong\)", card)
    assert told is not None
    assert (float(told[1]), int(told[2])) == (pytest.approx(100 * accuracy, abs=0.3), wrong)
    assert [layer.name for layer in model.layers] == [layer.name for layer in script.build().layers]


def test_the_file_is_small_and_holds_no_training_state() -> None:
    assert STORED.stat().st_size < 1_000_000
    with zipfile.ZipFile(STORED) as archive:
        config = json.loads(archive.read("config.json"))
        weights = archive.read("model.weights.h5")
    assert not config["compile_config"]
    assert b"optimizer" not in weights
