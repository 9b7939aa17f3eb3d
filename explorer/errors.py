"""The one error that a person sees: a line that names the thing and the reason."""


class NeuronautError(Exception):
    """A wrong input, told in one line.

    Raised for everything a person can mend: a file that is not a model, a node that does not
    exist, an impossible size. The command line prints it to stderr and exits with code 2; the page
    shows it as a message; no traceback is ever shown for it.
    """


class ModelError(NeuronautError):
    """A model file that cannot be opened or read; the text names the file and the reason."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = str(path)
        self.reason = reason


class UnknownNameError(NeuronautError):
    """A node, layout or overlay that does not exist; the text offers the nearest names.

    Parameters
    ----------
    what : str
        The sort of thing looked for, for example ``"node"``.
    name : str
        What was asked for.
    known : iterable of str
        All names that exist.
    """

    def __init__(self, what: str, name: str, known: object) -> None:
        from difflib import get_close_matches
        from itertools import islice

        # Comparing costs len(name) * len(names): both are bounded, both may come from a stranger.
        names = [str(k)[:200] for k in islice(known, 20_000)]  # type: ignore[call-overload]
        short = name if len(name) <= 80 else name[:77] + "…"
        near = get_close_matches(name[:200], names, n=3, cutoff=0.4) or sorted(names)[:3]
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"no {what} called {short!r}{hint}")
