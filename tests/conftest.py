"""Settings for all tests, made before anything heavy is imported."""

from __future__ import annotations

import os

# TensorFlow reads these when it is first imported: no log lines, no search for a GPU.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"

from hypothesis import settings

# Times are measured by the benchmarks; a busy machine must not fail a property.
settings.register_profile("neuronaut", deadline=None)
settings.load_profile("neuronaut")
