"""The ends of all paths at once against a look at each."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from explorer.network import Layer, Network
from explorer.tree.words import Trie, last_words

PATHS = st.lists(st.text("abQ12²_./-é?", max_size=8), max_size=6)


@given(PATHS)
def test_last_separators_are_found(paths: list[str]) -> None:
    words = last_words(paths)
    assert words.separator.tolist() == [max(p.rfind(c) for c in "_./-") for p in paths]
    assert words.slash.tolist() == [p.rfind("/") for p in paths]
    assert words.stem.tolist() == [len(p.rstrip("0123456789")) for p in paths]


@given(PATHS)
def test_what_the_last_separator_does_not_tell_is_odd(paths: list[str]) -> None:
    trie = Trie(Network("", "", (Layer("a", "Dense"),)))
    words = last_words(paths)
    for path, cut, odd in zip(paths, words.separator.tolist(), words.odd.tolist(), strict=True):
        assert odd or trie.beginning(path) == path[: max(cut, 0)]


def test_a_tidy_path_is_not_odd() -> None:
    words = last_words(["decoder/block_7/attention_query", "stage4_unit_conv2", "dense"])
    assert not words.odd.any()
    assert words.counted.tolist() == [False, True, False]


@given(PATHS)
def test_initials_and_counters_are_never_missed(paths: list[str]) -> None:
    words = last_words(paths)
    for path, initial, counted in zip(paths, words.initial, words.counted, strict=True):
        name = path.rpartition("/")[2]
        if name:
            assert chr(initial) in ("?", name[0].lower())
        if path and path[-1].isdigit():
            assert counted
