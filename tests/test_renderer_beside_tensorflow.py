"""Drawing and TensorFlow in one process, whichever comes first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from explorer.bundled import scenes_folder

DRAW = f"""
import explorer
with explorer.open_network({str(scenes_folder() / "digits.keras")!r}) as view:
    view.shot("picture.png", (320, 180))
"""
LEARN = """
import tensorflow as tf
assert float(tf.reduce_sum(tf.ones((9, 9)))) == 81
f = tf.function(lambda x: tf.matmul(x, x), jit_compile=True)
assert float(f(tf.eye(4))[0, 0]) == 1
assert tf.__spec__.loader.get_filename("tensorflow") == tf.__file__
"""


@pytest.mark.parametrize(
    "order", [DRAW + LEARN + DRAW, LEARN + DRAW + LEARN], ids=["draw", "learn"]
)
def test_neither_ends_the_other(order, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", order],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "picture.png").stat().st_size > 5000
