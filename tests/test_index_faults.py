"""A real build that is killed, has no room, is not alone, or whose model changes under it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import index_worker
import keras
import numpy as np
import pytest

LAYERS = [*[400] * 24, 1600, 1300]


def model_of(path: Path, seed: int) -> dict[str, np.ndarray]:
    """Save a chain of 26 layers, some 27 MB; its kernels."""
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(n, name=f"dense_{i}") for i, n in enumerate(LAYERS)]
    keras.Sequential([keras.Input((400,)), *layers], name="chain").save(path)
    return {layer.name: np.asarray(layer.kernel) for layer in layers}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model")


@pytest.fixture(scope="module")
def kernels(folder: Path) -> list[dict[str, np.ndarray]]:
    """Of two models of one architecture that lie in the folder."""
    return [
        model_of(folder / name, seed) for seed, name in enumerate(("model.keras", "other.keras"))
    ]


@pytest.fixture(scope="module")
def model(folder: Path, kernels: list[dict[str, np.ndarray]]) -> Path:
    return folder / "model.keras"


def outcome(task: str, model: Path, count: int, tmp_path: Path) -> tuple[dict[str, int], list[Any]]:
    """What a task of the worker saw, and what it told before."""
    done = subprocess.run(
        [sys.executable, index_worker.__file__, task, str(model), str(count)],
        stdout=subprocess.PIPE, text=True, timeout=600, check=False,
        env={**index_worker.os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0
    *told, seen = map(json.loads, done.stdout.splitlines())
    print(task, seen)
    return seen, told


def test_killed_50_times_while_it_builds_the_store_is_absent_or_whole(
    model: Path, tmp_path: Path
) -> None:
    seen, _ = outcome("kill", model, 50, tmp_path)
    assert seen["killed"] == 50
    assert seen["partly"] > 10  # the kills really fell into the builds


def test_a_disk_full_at_any_moment_is_told_and_nothing_else(model: Path, tmp_path: Path) -> None:
    seen, _ = outcome("full", model, 16, tmp_path)
    assert seen["stored"] >= 1
    assert seen["partly"] >= 5
    assert seen["stored"] + seen["refused"] == 16


def test_of_commands_at_once_one_builds(model: Path, tmp_path: Path) -> None:
    seen, _ = outcome("race", model, 4, tmp_path)
    assert seen["built"] >= 1
    assert seen["built"] + seen["refused"] == 4


def test_a_model_rewritten_while_it_is_measured_is_never_mixed(
    model: Path, kernels: list[dict[str, np.ndarray]], tmp_path: Path
) -> None:
    seen, told = outcome("rewrite", model, 10, tmp_path)
    assert seen["refused"] >= 3
    assert len(told) == 10
    for i, found in enumerate(told):
        truth = kernels[(i + 1) % 2]
        assert set(found) == set(truth)
        for name, kernel in truth.items():
            sum_sq, total, sum_abs, largest, count, bad = found[name]
            w = kernel.astype(np.float64)
            np.testing.assert_allclose(
                (sum_sq, sum_abs), (np.square(w).sum(), np.abs(w).sum()), rtol=1e-6
            )
            assert total == pytest.approx(w.sum(), abs=1e-6 * np.abs(w).sum())
            assert (largest, count, bad) == (np.abs(w).max(), w.size, 0)
