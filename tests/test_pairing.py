"""What is the same in two pictures, against the plainest way to find it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from explorer.drawing.draw_list import NodePaths
from explorer.drawing.pairing import merged_nodes, paired

KEYS = st.lists(st.integers(0, 6), max_size=30)
LAYERS = ("a", "b/c", "d")


@given(KEYS, KEYS)
def test_the_nth_of_a_key_pairs_with_the_nth(a, b):
    in_a, in_b, only_a, only_b = (x.tolist() for x in paired(np.array(a, int), np.array(b, int)))
    taken = set()
    pairs = []
    for j, key in enumerate(b):
        i = next((i for i, k in enumerate(a) if k == key and i not in taken), None)
        if i is not None:
            taken.add(i)
            pairs.append((i, j))
    assert list(zip(in_a, in_b, strict=True)) == pairs
    assert only_a == [i for i in range(len(a)) if i not in taken]
    assert only_b == [j for j in range(len(b)) if j not in in_b]


@st.composite
def paths(draw):
    """Nodes of a picture: each layer is closed with units hidden in it, or open."""
    shown, layer, unit = [""], [], []
    for number, name in enumerate(LAYERS):
        shown.append(name)
        units = draw(st.lists(st.integers(0, 5), unique=True, max_size=4))
        if draw(st.booleans()):
            shown += [f"{name}[{u}]" for u in units]
        else:
            layer += [number] * len(units)
            unit += units
    return NodePaths(tuple(shown), LAYERS, np.array(layer, np.int64), np.array(unit, np.int64))


@given(paths(), paths())
def test_every_path_has_one_row_in_the_merged_nodes(a, b):
    merged, rows_a, rows_b = merged_nodes(a, b)
    names = list(merged)
    assert len(set(names)) == len(names)
    assert set(names) == {*a, *b}
    assert [names[r] for r in rows_a] == list(a)
    assert [names[r] for r in rows_b] == list(b)


@given(st.sets(st.sampled_from("pqrstu")), st.sets(st.sampled_from("pqrstu")))
def test_plain_lists_of_paths_merge_too(a, b):
    merged, rows_a, rows_b = merged_nodes(tuple(a), tuple(b))
    assert set(merged) == a | b
    assert [merged[r] for r in rows_a] == list(a)
    assert [merged[r] for r in rows_b] == list(b)
