"""Train the bundled network on scans of handwritten digits and store it in scenes/.

Run as ``python scripts/train_digits.py`` with the extra ``test`` (or ``tensorflow`` and
scikit-learn) installed; it takes about a minute on two cores. The seed, the split and the order of
the batches are fixed; another processor may round differently, yet the result stays above the
accuracy that `main` demands, else nothing is written.

The network has few filters, so that each of them can be seen in the scene.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

SCENES = Path(__file__).resolve().parent.parent / "scenes"
SEED = 7
EPOCHS = 60
LEAST_ACCURACY = 0.97

CARD = """# digits.keras

A convolutional network that reads handwritten digits, trained by `scripts/train_digits.py`.

- Data: 1 797 scans of 8 × 8 pixels with 17 grey levels, "Optical Recognition of Handwritten
  Digits" (E. Alpaydin, C. Kaynak, 1998, UCI Machine Learning Repository,
  https://doi.org/10.24432/C50P49), licensed under CC BY 4.0, in the copy that scikit-learn brings
  along (`sklearn.datasets.load_digits`). The scans themselves are not in this folder.
- Split: {train} scans to train, {test} to test, drawn by digit with seed {seed}. Scans of one
  writer may be on both sides, as in scikit-learn's own examples.
- Input: (8, 8, 1), grey levels divided by 16. Output: ten probabilities, digits 0 to 9.
- Accuracy on the {test} test scans: {accuracy:.2%} ({wrong} wrong). The last weights of the run are
  stored; the test scans chose nothing.
- Parameters: {parameters}.
- Licence of the weights: the same as the software's, see LICENSE.

To make it again: `python scripts/train_digits.py`.
"""


def load() -> tuple[Any, Any, Any, Any]:
    """The scans and digits to train and to test on.

    Returns
    -------
    x_train, x_test : float32 array, shape (n, 8, 8, 1)
        Grey levels in 0..1.
    y_train, y_test : int array, shape (n,)
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    x = (digits.images / 16.0).astype("float32")[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        x, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    return x_train, x_test, y_train, y_test


def build() -> Any:
    """The network, not yet trained: a `keras.Model` with about 9 000 parameters."""
    from keras import Input, Sequential, layers

    return Sequential(
        [
            Input((8, 8, 1), name="scan"),
            layers.Conv2D(8, 3, padding="same", activation="relu", name="conv_1"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_2"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(name="flatten"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits",
    )


def train(x: Any, y: Any) -> Any:
    """Train on scans of shape (n, 8, 8, 1), each shifted by up to one pixel in every epoch.

    The learning rate falls along a cosine to zero, so that the last weights are settled ones.
    """
    import keras
    import numpy as np

    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = build()
    batches = -(-len(x) // 32)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * batches)
    model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        shifts = rng.integers(0, 3, (len(x), 2))
        moved = np.stack(
            [p[r : r + 8, c : c + 8] for p, (r, c) in zip(padded, shifts, strict=True)]
        )
        history = model.fit(moved[order], y[order], 32, shuffle=False, verbose=0).history
        loss = history["loss"][0]
        print(f"\repoch {epoch + 1:2} of {EPOCHS}, loss {loss:.4f}", end="", flush=True)
    print()
    return model


def main() -> int:
    """Train, measure, store; exit code 1 and nothing written below `LEAST_ACCURACY`."""
    x_train, x_test, y_train, y_test = load()
    model = train(x_train, y_train)
    wrong = int((model.predict(x_test, verbose=0).argmax(axis=1) != y_test).sum())
    accuracy = 1.0 - wrong / len(y_test)
    print(f"test accuracy {accuracy:.2%} ({wrong} of {len(y_test)} wrong)")
    if accuracy < LEAST_ACCURACY:
        print(f"below {LEAST_ACCURACY:.0%}: nothing written", file=sys.stderr)
        return 1
    SCENES.mkdir(exist_ok=True)
    # A fresh copy without the training's state: only the architecture and the weights are stored.
    plain = build()
    plain.set_weights(model.get_weights())
    temporary = SCENES / ".digits.tmp.keras"
    plain.save(temporary)
    os.replace(temporary, SCENES / "digits.keras")
    (SCENES / "digits.md").write_text(
        CARD.format(
            train=len(y_train),
            test=len(y_test),
            seed=SEED,
            accuracy=accuracy,
            wrong=wrong,
            parameters=f"{plain.count_params():,}".replace(",", " "),
        ),
        encoding="utf-8",
    )
    print(f"written: {SCENES / 'digits.keras'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
