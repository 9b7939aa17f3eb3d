"""Settings for all tests, made before anything heavy is imported."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile

# The cache of the person who runs the tests is neither read nor written, here and in what is
# started from here.
_CACHE = tempfile.mkdtemp(prefix="neuronaut-cache-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = _CACHE

# TensorFlow reads these when it is first imported: no log lines, no search for a GPU.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"

from hypothesis import settings  # noqa: E402

# Times are measured by the benchmarks; a busy machine must not fail a property. The examples are
# the same in every run, so that a change is judged by what it changed; new ones are looked for
# with `pytest --hypothesis-profile=explore`.
settings.register_profile("neuronaut", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=500)
settings.load_profile("neuronaut")

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
from forked_reading import Server  # noqa: E402
from format_samples import Samples  # noqa: E402


def pytest_collection_finish() -> None:
    """What importing the frameworks left is there to the end: it need not be looked through."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _names_from_the_start() -> None:
    """The names that Keras counts up are those of a file that runs alone."""
    naming = sys.modules.get("keras.src.utils.naming")
    if naming is not None:
        naming.reset_uids()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """A small model in every kind of every format, by name."""
    return Samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def _fork_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def quick_reading(_fork_server: Server) -> Iterator[Server]:
    """Models are read by watched forks, without the start of a child process for each."""
    _fork_server.peak = 0
    with _fork_server.patched():
        yield _fork_server
    assert _fork_server.peak < 1 << 30  # bytes of memory, whatever was read
