"""Paths as a trie of words: ``decoder``, ``/block``, ``_7``, ``/attention``, ``_query``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from explorer.network import Network

MOST_WORDS = 30  # of a path below the scopes that are recorded; what follows counts as one word
SEPARATORS = re.compile(r"[_./-]+")
_DIMENSIONS = re.compile(r"(conv|pool|pooling|padding|dropout|sampling|cropping|norm)[123]d\Z")


@dataclass(frozen=True, eq=False)
class LastWords:
    """Where the last words of paths begin, one entry for each; get it from `last_words`.

    Attributes
    ----------
    separator, slash : int64 array
        Place of the last separator, and of the last ``/``; -1 where there is none.
    stem : int64 array
        Place behind the last character that is no digit.
    initial : uint8 array
        First character behind the slash, a small letter where it is one; ``?`` if not ASCII.
    counted : bool array
        The path may end with a digit.
    odd : bool array
        The path may have a beginning that the separators do not tell: see `Trie.beginning`.
    """

    separator: NDArray[np.int64]
    slash: NDArray[np.int64]
    stem: NDArray[np.int64]
    initial: NDArray[np.uint8]
    counted: NDArray[np.bool_]
    odd: NDArray[np.bool_]


def _flags(characters: bytes) -> NDArray[np.bool_]:
    found = np.zeros(256, bool)
    found[np.frombuffer(characters, np.uint8)] = True
    return found


_LOWER, _DIGIT = _flags(b"?abcdefghijklmnopqrstuvwxyz"), _flags(b"?0123456789")
_SEPARATOR, _SLASH = _flags(b"_./-"), _flags(b"/")
_OTHER = ~_flags(b"0123456789")


def last_words(paths: Sequence[str]) -> LastWords:
    """Look at the ends of all paths at once.

    Parameters
    ----------
    paths : sequence of str
    """
    # One byte for each character, whatever it is; what is not ASCII becomes "?".
    codes = np.frombuffer("".join([*paths, "?"]).encode("ascii", "replace"), np.uint8)
    length = np.fromiter(map(len, paths), np.int64, len(paths))
    stop = np.cumsum(length)
    start = stop - length

    def last(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        places = np.append(-1, np.flatnonzero(which[codes]))
        found = places[np.searchsorted(places, stop) - 1] - start
        return np.asarray(np.maximum(found, -1))

    separator, slash, letter = last(_SEPARATOR), last(_SLASH), last(_OTHER)
    end = codes[np.maximum(stop - 1, 0)]
    # A separator at the end, block2 and a letter, or several separators in a row.
    odd = _SEPARATOR[end] | (_LOWER[end] & _DIGIT[codes[np.maximum(stop - 2, 0)]])
    odd |= _SEPARATOR[codes[np.maximum(start + separator - 1, 0)]]
    initial = codes[start + slash + 1]
    capital = (initial >= ord("A")) & (initial <= ord("Z"))
    small = initial + 32 * capital.astype(np.uint8)
    return LastWords(separator, slash, letter + 1, small, _DIGIT[end], odd)


class Trie:
    """Words of paths; row 0 is the empty path, parents stand before children."""

    def __init__(self, network: Network) -> None:
        self.scopes = {scope.path for scope in network.scopes}
        self.row = {"": 0}  # a scope that is recorded has a slash behind its path
        self.path = [""]
        self.parent = [-1]
        self.counter = [False]  # the word is a plain number
        self.behind = [""]  # separators before the words that follow, joined
        self.words = [0]  # since the innermost recorded scope
        self.scope = [0]  # 1 + row of the recorded scope; 0 for none
        for at, scope in enumerate(network.scopes):
            if scope.path:
                self.scope[self.add(scope.path + "/", recorded=True)] = at + 1

    def add(self, path: str, recorded: bool = False) -> int:
        """Row of a path, made with all its beginnings."""
        known = self.row.get(path)
        if known is not None and not (recorded and self.path[known] != path):
            return known
        missing = [path]
        while (known := self.row.get(beginning := self.beginning(missing[-1]))) is None:
            missing.append(beginning)
            if len(missing) > 2 * MOST_WORDS:  # hostile: look at the first words alone
                ends = [m.start() for m in SEPARATORS.finditer(path, 1)]
                missing = [path, *(path[:end] for end in reversed(ends[:MOST_WORDS]))]
                known = 0
                break
        at = known
        for beginning in reversed(missing):
            here = self.row.get(beginning)
            if self.words[at] >= MOST_WORDS - 1 and not (recorded and beginning == path):
                self.row[beginning] = at
            elif here is not None and self.path[here] == beginning:
                at = here
            else:
                at = self._child(at, beginning)
        if recorded:
            self.words[at] = 0
        return at

    def beginning(self, path: str) -> str:
        """A path without its last word; with a slash behind it where it is a recorded scope."""
        if path[-1:] == "/" and path[:-1] in self.scopes:
            return path[:-1]
        if path[-1:].islower() and path[-2:-1].isdigit() and not _DIMENSIONS.search(path):
            return path[:-1]  # block2 of block2a, block2b
        cut = max(path.rfind("_"), path.rfind("/"), path.rfind("."), path.rfind("-"))
        if cut <= 0:
            return ""
        if path[cut] == "/" and path[:cut] in self.scopes:
            return path[: cut + 1]
        beginning = path[:cut].rstrip("_./-")
        if len(beginning) < cut:  # several separators: one may end the path of a scope
            folder = path[:cut].rpartition("/")[0]
            if len(folder) >= len(beginning) and folder in self.scopes:
                return folder + "/"
        return beginning

    def _child(self, parent: int, path: str) -> int:
        word = path[len(self.path[parent]) :]
        bare = word.lstrip("_./-")
        if bare:
            self.behind[parent] += word[: len(word) - len(bare)][:4]
        self.row[path] = len(self.path)
        self.path.append(path)
        self.parent.append(parent)
        self.counter.append(bare.isdigit())
        self.behind.append("")
        self.words.append(self.words[parent] + 1)
        self.scope.append(0)
        return len(self.path) - 1
