"""A thousand mutations of a file of each format: read or refused, nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from format_samples import SAMPLES, Samples

ROOT = Path(__file__).parents[1]
KINDS: dict[str, list[str]] = {}
for _name, _sample in SAMPLES.items():
    KINDS.setdefault(_sample.format, []).append(_name)


@pytest.mark.parametrize("form", KINDS)
def test_a_thousand_mutations(form: str, samples: Samples) -> None:
    """No hang, no crash, no exception but a refusal; time-boxed, at least 300 cases anywhere."""
    # The SavedModel of Keras is ten times as large as a plain one, and says nothing else.
    kinds = [name for name in KINDS[form] if name != "savedmodel"]
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_formats.py")]
    command += [str(samples[name]) for name in kinds]
    command += ["--cases", str(-(-1000 // len(kinds))), "--seconds", str(60 / len(kinds))]
    done = subprocess.run(command, capture_output=True, timeout=200, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counts: Counter[str] = Counter()
    for line in done.stdout.splitlines():
        counts.update({key: n for key, n in json.loads(line).items() if key != "file"})
    assert sum(counts.values()) >= 300, counts
    assert counts["read"], counts
    assert counts["refused"], counts
