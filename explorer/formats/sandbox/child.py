"""The child process that parses an untrusted file and writes a manifest to its output.

Started by `explorer.formats.sandbox.isolation`; limits itself before it looks at a single byte.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import warnings
from types import ModuleType

_MOST_FILES = 1024  # open at once: a large model has some 200 parts


def limit(memory: int, seconds: int) -> None:
    """Cap this process: address space in bytes, processor time in seconds, no new files.

    Address space is what is limited because it is what the kernel enforces at once: a shape bomb
    meets `MemoryError` before a page of it exists.
    """
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_FILES, _MOST_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def parse(path: str, descriptor: int) -> bytes:
    """The manifest of an open file after a ``+``; or the reason why there is none after a ``-``."""
    from explorer.formats import formats
    from explorer.formats.containers.source import Source
    from explorer.formats.foreign import told_file
    from explorer.formats.record import UnreadableError
    from explorer.formats.sandbox.folders import only_model
    from explorer.formats.sandbox.manifest import Part, encode
    from explorer.plain_text import clean

    try:
        source = file = Source(path, descriptor)
        chosen = next((f for f in formats() if f.matches(source)), None)
        if chosen is None and source.is_folder:
            chosen, file = only_model(source, formats())
        if chosen is None:
            raise UnreadableError(told_file(source))
        network = chosen.read(file)
        parts = {p.path: Part(name, p.size, p.mtime_ns) for name, p in source.parts.items()}
        return b"+" + encode(network, parts)
    except UnreadableError as error:
        reason = str(error)
    except MemoryError:
        reason = "reading it would take more memory than a model's description may"
    except RecursionError:
        reason = "it is nested too deeply"
    except Exception as error:
        reason = f"it is damaged ({type(error).__name__}: {clean(error, 80)})"
    return b"-" + clean(reason, 400).encode()


class _Absent:
    """Stands for a class that is imported and never used."""


def _leave_out() -> None:
    """Keep pyfive from loading what only remote files and decoding need.

    The file systems of fsspec (with asyncio and ssl) and the codecs of numcodecs are half of the
    child's start; the child opens nothing and decodes no chunk.
    """
    remote, utilities, codecs = (ModuleType(n) for n in ("fsspec", "fsspec.utils", "numcodecs"))
    remote.utils = utilities  # type: ignore[attr-defined]
    codecs.Fletcher32 = _Absent  # type: ignore[attr-defined]
    for module in (remote, utilities, codecs):
        sys.modules[module.__name__] = module


def main(arguments: list[str]) -> None:
    """Parse the file on the descriptor that was handed over."""
    from explorer.formats import formats

    path, descriptor, memory, seconds = arguments
    formats()  # before the limits, which would keep compiled modules from being stored
    _leave_out()
    limit(int(memory), int(seconds))
    warnings.simplefilter("ignore")
    gc.disable()  # what is read is all kept, and this process does not live long
    data = parse(path, int(descriptor))
    with os.fdopen(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(data)
    os._exit(0)  # nothing to tidy up, and tidying up is not free
