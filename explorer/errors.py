"""The one error that a person sees: a line that names the thing and the reason."""

from __future__ import annotations


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

    def __reduce__(self) -> tuple[type[ModelError], tuple[str, str]]:
        """Pickled by what it was made from, for errors of other processes."""
        return type(self), (self.path, self.reason)


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
        from itertools import islice

        # Comparing costs len(name) * len(names): both are bounded, both may come from a stranger.
        names = [str(k)[:_LONGEST] for k in islice(known, _MOST_NAMES)]  # type: ignore[call-overload]
        short = name if len(name) <= 80 else name[:77] + "…"
        near = _nearest(name[:_LONGEST], list(names))
        hint = f"; did you mean {', '.join(near or names[:1])}?" if near or len(names) == 1 else ""
        if not hint and names:
            all_of_them = len(names) <= _FEW
            told = ", ".join(sorted(names)[: _FEW if all_of_them else 3])
            hint = f"; there are {told}" if all_of_them else f"; there are {told} and others"
        super().__init__(f"no {what} called {short!r}{hint}")


_FEW = 12  # names that are all told where none is near
_LONGEST = 200  # characters of a name
_MOST_NAMES = 20_000  # looked at
_MOST_WEIGHED = 2_500  # of those, compared by the pairs of letters they share
_MOST_COMPARED = 24  # of those, compared letter by letter
_TELLING = 50  # last characters of a name, which tell more than the scopes around it


def _nearest(name: str, names: list[str]) -> list[str]:
    """At most three names like this one, the nearest first; takes some 20 ms at most."""
    from difflib import get_close_matches
    from itertools import pairwise

    def letters(text: str) -> set[tuple[str, str]]:
        text = " " + text[-_TELLING:]
        return set(pairwise(text))

    wanted = letters(name)

    def unlike(other: str) -> float:  # 1 - the coefficient of Dice (1945)
        found = letters(other)
        return 1.0 - 2.0 * len(wanted & found) / (len(wanted) + len(found) or 1)

    if len(names) > _MOST_WEIGHED:
        names.sort(key=lambda n: (name not in n, n[:1] != name[:1], abs(len(n) - len(name))))
        del names[_MOST_WEIGHED:]
    if len(names) > _MOST_COMPARED:
        names = sorted(names, key=unlike)[:_MOST_COMPARED]
    ends = {n[-_TELLING:]: n for n in reversed(names)}
    return [ends[n] for n in get_close_matches(name[-_TELLING:], ends, n=3, cutoff=0.4)]
