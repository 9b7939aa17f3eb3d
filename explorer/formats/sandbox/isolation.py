"""Parse a file in a child process that cannot hang, exhaust memory, or reach anything else.

Parsers meet files that send them into endless loops or ask for terabytes. The child has a limit on
wall-clock time, processor time, memory and output, no input, one open file, and is killed whatever
way the parent leaves, Ctrl-C included.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from explorer.errors import ModelError


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use.

    Attributes
    ----------
    seconds : int
        Processor time: what a parser in an endless loop spends, however busy the machine is.
    patience : float
        Wall-clock seconds, for one that waits for something that does not come.
    memory : int
        Bytes of address space.
    output : int
        Bytes of manifest.
    """

    seconds: int = 8
    patience: float = 60.0
    memory: int = 900 << 20
    output: int = 48 << 20


# The package is entered by its folder, so that `explorer/__init__.py` (and with it whatever the
# front door imports) is not run: the child starts in a fraction of the time.
_START = """
import sys, types
sys.path[:] = sys.argv[2].split(chr(10))
package = types.ModuleType("explorer")
package.__path__ = [sys.argv[1]]
sys.modules["explorer"] = package
from explorer.formats.sandbox.child import main
main(sys.argv[3:])
"""


class Child:
    """A process that parses an open file, from its start; `stop` it whatever comes of it.

    Parameters
    ----------
    path : str
        Named in messages and in the manifest.
    descriptor : int
        An open file descriptor, handed over.
    limits : Limits
    """

    def __init__(self, path: str, descriptor: int, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._process = _started(path, descriptor, limits)

    def manifest(self) -> bytes:
        """What the child has found; waits for it.

        Raises
        ------
        ModelError
            With the child's reason, or when a limit was met.
        """
        data = _collect(self._process, self._path, self._limits)
        if data.startswith(b"+"):
            return data[1:]
        if data.startswith(b"-"):
            raise ModelError(self._path, data[1:].decode("utf-8", "replace"))
        raise ModelError(self._path, _died(self._process.returncode))

    def stop(self) -> None:
        """End the child, if it has not ended; may be called again."""
        process = self._process
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _started(path: str, descriptor: int, limits: Limits) -> subprocess.Popen[bytes]:
    package = str(Path(__file__).resolve().parents[2])
    search = "\n".join(entry for entry in sys.path if entry)
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", _START]
    arguments = [package, search, path, str(descriptor)]
    arguments += [str(limits.memory), str(limits.seconds)]
    threads = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {k: v for k, v in os.environ.items() if k in ("LD_LIBRARY_PATH", "SYSTEMROOT")}
    return subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        env={**kept, **dict.fromkeys(threads, "1")},
        start_new_session=True,  # Ctrl-C goes to the parent alone, which then kills the child
        cwd="/",
    )


def _collect(process: subprocess.Popen[bytes], path: str, limits: Limits) -> bytes:
    """Everything the child writes, until it ends or meets a limit; its time runs from here."""
    assert process.stdout is not None
    deadline = time.monotonic() + limits.patience
    chunks: list[bytes] = []
    total = 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise ModelError(
                    path, f"reading it took longer than {limits.patience:g} s, so it was stopped"
                )
            data = os.read(process.stdout.fileno(), 1 << 20)
            if not data:
                break
            chunks.append(data)
            total += len(data)
            if total > limits.output:
                raise ModelError(path, "its description is impossibly large")
    try:
        process.wait(max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        process.kill()
    return b"".join(chunks)


def _died(code: int | None) -> str:
    if code is not None and -code in (signal.SIGXCPU, signal.SIGKILL):
        return "reading it took more time or memory than allowed, so it was stopped"
    return "its reader stopped before the end (damaged file?)"
