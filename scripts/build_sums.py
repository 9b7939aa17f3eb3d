"""Builds the compiled sums, explorer/pyramid/_sums.so, from explorer/pyramid/sums.c.

Installing the package does this where a C compiler is found; without one numpy does the same
sums, bit for bit, in several times the time. After a change of the source run

    python scripts/build_sums.py
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ROOT = Path(__file__).resolve().parent.parent
_SOURCE = _ROOT / "explorer" / "pyramid" / "sums.c"
_LIBRARY = _SOURCE.with_name("_sums.so")
_FLAGS = ("-O3", "-std=c11", "-ffp-contract=off", "-fPIC", "-shared")
_SYSTEMS = ("linux", "darwin")


def build() -> str:
    """Build the library in its place.

    Returns
    -------
    str
        Why it could not be built; empty when it is there.
    """
    if not sys.platform.startswith(_SYSTEMS):
        return f"there are no rules for {sys.platform}"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    # The same digest as explorer.pyramid.compiled.digest, which need not be importable here.
    mark = hashlib.blake2b(_SOURCE.read_bytes(), digest_size=16).hexdigest()
    reason = ""
    with tempfile.TemporaryDirectory(dir=_LIBRARY.parent, prefix=".sums-") as folder:
        made = Path(folder) / "sums.so"
        for plain in ((), ("-DPLAIN",)):  # not every C library lets the processor choose
            order = [*compiler, *_FLAGS, *plain, f'-DSOURCE="{mark}"', str(_SOURCE), "-o"]
            try:
                done = subprocess.run([*order, str(made)], capture_output=True, text=True)
            except OSError as error:
                return f"{compiler[0]}: {error.strerror}"
            if done.returncode == 0:
                made.replace(_LIBRARY)
                return ""
            reason = (done.stderr.strip() or "the compiler failed").splitlines()[0]
    return reason


class SumsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Has the library built and packed with the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it, and name what system the package is for if it holds it."""
        reason = build()
        if reason:
            self.app.display_warning(f"explorer/pyramid/sums.c was not compiled: {reason}")
        elif version != "editable":
            build_data["force_include"][str(_LIBRARY)] = "explorer/pyramid/_sums.so"
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"


if __name__ == "__main__":
    sys.exit(build() or 0)
