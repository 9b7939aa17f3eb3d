"""Builds the compiled sums, explorer/pyramid/sums/_sums.so, from explorer/pyramid/sums/sums.c.

Installing the package does this where a C compiler is found; without one numpy does the same
sums, bit for bit, in several times the time. After a change of the source run

    python scripts/build_sums.py
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by itself: nothing is packed
    BuildHookInterface = object  # type: ignore[misc,assignment]

_SOURCE = Path(__file__).resolve().parent.parent / "explorer" / "pyramid" / "sums" / "sums.c"
_LIBRARY = _SOURCE.with_name("_sums.so")
_FLAGS = ("-O3", "-std=c11", "-ffp-contract=off", "-fPIC", "-shared")
_SYSTEMS = ("linux", "darwin")
_TRY = """
import ctypes, sys
mark = ctypes.CDLL(sys.argv[1]).neuronaut_sums_source
mark.restype = ctypes.c_char_p
sys.exit(mark().decode() != sys.argv[2])
"""


def build(made: Path) -> str:
    """Build the library.

    Parameters
    ----------
    made : Path
        File to make.

    Returns
    -------
    str
        Why it could not be built; empty when it is there.
    """
    if not sys.platform.startswith(_SYSTEMS):
        return f"there are no rules for {sys.platform}"
    try:
        compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        return f"CC: {error}"
    # The same digest as explorer.pyramid.sums.compiled.digest, which need not be importable here.
    mark = hashlib.blake2b(_SOURCE.read_bytes(), digest_size=16).hexdigest()
    reason = ""
    for plain in ((), ("-DPLAIN",)):  # not every C library lets the processor choose
        order = [*compiler, *_FLAGS, *plain, f'-DSOURCE="{mark}"', str(_SOURCE), "-o", str(made)]
        try:
            done = subprocess.run([*order, "-lm"], capture_output=True, text=True)
            if done.returncode == 0:
                done = subprocess.run(
                    [sys.executable, "-I", "-c", _TRY, str(made), mark],
                    capture_output=True, text=True,
                )  # fmt: skip
        except (OSError, UnicodeDecodeError) as error:
            return f"{compiler[0]}: {getattr(error, 'strerror', None) or error}"
        if done.returncode == 0:
            return ""
        lines = done.stderr.strip().splitlines() or ["the compiler failed"]
        reason = next((line for line in lines if "error:" in line), lines[-1])
    return reason


def build_in_place() -> str:
    """Build the library beside its source; returns why that could not be done."""
    with tempfile.TemporaryDirectory(prefix="neuronaut-") as folder:
        made = Path(folder) / _LIBRARY.name
        reason = build(made)
        if reason:
            return reason
        new = _LIBRARY.with_name(f"{_LIBRARY.name}.{os.getpid()}")
        try:
            shutil.copy(made, new)
            new.replace(_LIBRARY)
        except OSError as error:
            return f"{_LIBRARY.parent}: {error.strerror}"
        finally:
            if os.access(new, os.F_OK):
                new.unlink()
    return ""


def _tag() -> str:
    """What the library was built for, as wheels are named by it."""
    from packaging.tags import platform_tags

    tags = list(platform_tags())
    plain = [tag for tag in tags if tag.startswith("linux_")]  # without a promise of how old
    return f"py3-none-{[*plain, *tags][0]}"


class SumsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Has the library built and packed with the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it: in its place when that is where the package runs, else to be packed."""
        self._folder = tempfile.mkdtemp(prefix="neuronaut-")
        made = Path(self._folder) / _LIBRARY.name
        reason = build_in_place() if version == "editable" else build(made)
        if reason:
            self.app.display_warning(f"explorer/pyramid/sums/sums.c was not compiled: {reason}")
        elif version != "editable":
            build_data["force_include"][str(made)] = "explorer/pyramid/sums/_sums.so"
            build_data["pure_python"] = False
            build_data["tag"] = _tag()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was packed."""
        shutil.rmtree(self._folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(build_in_place() or 0)
