"""Settings for all tests, made before anything heavy is imported."""

from __future__ import annotations

import os

# TensorFlow reads these when it is first imported: no log lines, no search for a GPU.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
# trame reads the arguments of the process, which are pytest's here; and opens no browser.
os.environ["TRAME_ARGS"] = ""
os.environ["TRAME_SERVER"] = "1"
