"""The command line: runs a command and turns whatever goes wrong into one line.

Heavy parts are imported by the command that needs them, so that ``info`` never waits for VTK.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from explorer.commands import exporting, index, looking, telling
from explorer.commands.app import app
from explorer.errors import NeuronautError

__all__ = ["app", "exporting", "index", "looking", "main", "telling"]


def main() -> None:
    """Run the command line; a wrong input ends in one line on stderr and exit code 2."""
    try:
        app(standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:  # a closed pipe (``| head``) is no error
        # Only what is printed may end so. The signal itself stays ignored, as Python has it: a
        # browser that goes away while the page is sent must not end the server.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except NeuronautError as error:
        _fail(str(error))
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        print("neuronaut: stopped", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # click's usage errors
        if usage is not None:
            _fail(f"{usage()} (see neuronaut --help)" if usage() else "see neuronaut --help")
        if os.environ.get("NEURONAUT_TRACEBACK"):
            raise
        told = f"{type(error).__name__}: {error}"
        _fail(f"a fault of this software: {told} (NEURONAUT_TRACEBACK=1 shows where)", code=1)


def _fail(message: str, code: int = 2) -> NoReturn:
    print(f"neuronaut: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
