"""Two files compared: every number against numpy on the arrays that Keras itself loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from explorer.change_report import changes_json, changes_text
from explorer.comparing.comparison import compare_networks
from explorer.comparing.pairing import pair_networks
from explorer.crossing.edges import EdgeFinder
from explorer.crossing.rows import Search
from explorer.drawing.themes import THEMES
from explorer.errors import ModelError, NeuronautError
from explorer.formats import open_network
from explorer.network import Layer, Link, Network, Weight
from explorer.open_model import OpenModel
from explorer.pyramid import measuring
from explorer.pyramid.level0 import Level0
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.entries import clear, entries
from explorer.session.session import Session
from explorer.viewing.view_state import ViewState

L = keras.layers


def older() -> Any:
    """Convolutions, a norm, a flattening, an attention, a recurrent layer, dense ones."""
    keras.utils.set_random_seed(1)
    image = L.Input((8, 8, 3), name="image")
    x = L.Conv2D(6, 3, name="first")(image)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Conv2D(5, 3, padding="same", name="gone")(x)
    x = L.DepthwiseConv2D(3, name="depth")(x)
    flat = L.Flatten(name="flat")(x)
    x = L.Dense(12, name="hidden")(flat)
    words = L.Input((7, 6), name="words")
    y = L.MultiHeadAttention(2, 3, name="attend")(words, words)
    y = L.Bidirectional(L.GRU(4), name="both")(y)
    x = L.Concatenate(name="join")([x, y])
    x = L.Dense(9, name="resized")(x)
    return keras.Model([image, words], L.Dense(4, name="out")(x), name="small")


def newer() -> Any:
    """The same without one layer, with another, and one of another size."""
    keras.utils.set_random_seed(2)
    image = L.Input((8, 8, 3), name="image")
    x = L.Conv2D(6, 3, name="first")(image)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Conv2D(5, 1, name="new")(x)
    x = L.DepthwiseConv2D(3, name="depth")(x)
    flat = L.Flatten(name="flat")(x)
    x = L.Dense(12, name="hidden")(flat)
    words = L.Input((7, 6), name="words")
    y = L.MultiHeadAttention(2, 3, name="attend")(words, words)
    y = L.Bidirectional(L.GRU(4), name="both")(y)
    x = L.Concatenate(name="join")([x, y])
    x = L.Dense(11, name="resized")(x)
    return keras.Model([image, words], L.Dense(4, name="out")(x), name="small")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compare")
    a, b = older(), newer()
    random = np.random.default_rng(5)
    for name in ("first", "norm", "depth", "attend", "out"):
        if name != "out":
            b.get_layer(name).set_weights(a.get_layer(name).get_weights())
    kernel, bias = b.get_layer("first").get_weights()
    kernel[0, 1, 2, 3] += 0.25  # one weight of the kernel, all of the bias
    b.get_layer("first").set_weights([kernel, bias + random.normal(size=6).astype(np.float32)])
    paths = folder / "a.keras", folder / "b.keras"
    a.save(paths[0])
    b.save(paths[1])
    return paths


def arrays(path: Path) -> dict[str, list[np.ndarray]]:
    """Weights by layer, in the order of Keras."""
    model = keras.saving.load_model(path)
    return {la.name: [np.asarray(w, np.float64) for w in la.get_weights()] for la in model.layers}


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


def compared(before: Path, after: Path) -> OpenModel:
    return OpenModel.compare(str(before), str(after))


# -- the table ---------------------------------------------------------------------------------


def test_every_number_of_the_table_is_what_numpy_gets(files):
    then, now = map(arrays, files)
    with compared(*files) as model:
        changes = model.comparison.changes.measure_all()
        found = changes_json(model.comparison, changes, 1000)
    rows = {row["path"]: row for row in found["layers"]}
    same = [n for n in then if n in now and n not in ("resized", "out") and now[n]]
    changed = [n for n in same if any(np.any(a != b) for a, b in zip(then[n], now[n], strict=True))]
    assert sorted(changed) == ["both", "first", "hidden"]
    assert set(rows) == set(changed)
    for name in changed:
        a, b = (np.concatenate([w.ravel() for w in side[name]]) for side in (then, now))
        row, d = rows[name], b - a
        assert row["change"] == pytest.approx(rms(d), rel=1e-12)
        assert row["relative"] == pytest.approx(rms(d) / rms(a), rel=1e-12)
        assert row["largest"] == np.abs(d).max()
        assert row["rms_before"] == pytest.approx(rms(a), rel=1e-12)
        assert row["rms_after"] == pytest.approx(rms(b), rel=1e-12)
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert row["cosine"] == pytest.approx(cosine, rel=1e-12)
        assert row["weights_changed"] == np.count_nonzero(d)
        assert row["weights_total"] == d.size
        assert row["non_finite"] == 0
        for part, x, y in zip(row["weights"], then[name], now[name], strict=True):
            assert part["shape"] == list(x.shape)
            assert part["change"] == pytest.approx(rms(y - x), rel=1e-12)
    kernel = rows["first"]["weights"][0]
    assert (kernel["role"], kernel["weights_changed"]) == ("kernel", 1)
    assert kernel["largest"] == pytest.approx(0.25)
    order = [row["change"] for row in found["layers"]]
    assert order == sorted(order, reverse=True)
    assert found["layers_changed"] == 3


def test_added_removed_and_resized_layers_are_told(files):
    with compared(*files) as model:
        changes = model.comparison.changes.measure_all()
        found = changes_json(model.comparison, changes, 1)
        text = changes_text(found)
    assert [row["path"] for row in found["added"]] == ["new"]
    assert [row["path"] for row in found["removed"]] == ["gone"]
    what = {row["path"]: row["what"] for row in found["differs"]}
    assert what["resized"] == ["kernel 20×9 before, 20×11 now", "bias 9 before, 11 now"]
    assert what["out"] == ["kernel 9×4 before, 11×4 now"]
    assert len(found["layers"]) == 1
    for part in ("added: new (Conv2D)", "removed: gone (Conv2D)", "resized: kernel 20×9 before"):
        assert part in text


def test_the_same_file_twice_has_not_changed(files, tmp_path):
    copy = shutil.copy(files[0], tmp_path / "copy.keras")
    for other in (files[0], Path(copy)):
        with compared(files[0], other) as model:
            changes = model.comparison.changes.measure_all()
            assert all(c.sums.changed == 0 and c.sums.rms == 0.0 for c in changes)
            assert all(c.sums.cosine == pytest.approx(1.0) or not c.sums.sum_sq_before
                       for c in changes)  # fmt: skip
            assert changes_json(model.comparison, changes, 99)["layers"] == []
            assert not model.comparison.marks
            session = Session(model)
            session.open("hidden")
            session.wait()
            magnitude = session.draw_list.edges.magnitude
            assert np.all(magnitude[~np.isnan(magnitude)] == 0.0)
            assert np.count_nonzero(~np.isnan(magnitude))
            session.close_session()


def test_a_change_of_what_was_zero_is_infinite_and_a_nan_is_counted(tmp_path):
    def save(name: str, kernel: np.ndarray) -> Path:
        model = keras.Sequential([L.Input((3,)), L.Dense(2, use_bias=False, name="dense")])
        model.layers[0].set_weights([kernel.astype(np.float32)])
        model.save(tmp_path / name)
        return tmp_path / name

    zero, one = save("zero.keras", np.zeros((3, 2))), save("one.keras", np.ones((3, 2)))
    with compared(zero, one) as model:
        found = changes_json(model.comparison, model.comparison.changes.measure_all(), 9)
    assert found["layers"][0]["change"] == 1.0
    assert found["layers"][0]["relative"] is None
    assert found["layers"][0]["cosine"] is None
    assert "∞" in changes_text(found)
    bad = np.ones((3, 2))
    bad[0], bad[1, 1] = np.nan, np.inf
    with compared(one, save("bad.keras", bad)) as model:
        found = changes_json(model.comparison, model.comparison.changes.measure_all(), 9)
    row = found["layers"][0]
    assert (row["non_finite"], row["weights_changed"], row["change"]) == (3, 3, 0.0)
    assert "3 weights are NaN or infinite" in changes_text(found)
    with compared(tmp_path / "bad.keras", tmp_path / "bad.keras") as model:
        row = changes_json(model.comparison, model.comparison.changes.measure_all(), 9)["layers"][0]
    assert (row["non_finite"], row["weights_changed"]) == (3, 0)


# -- edges -------------------------------------------------------------------------------------


def edges(session: Session) -> dict[tuple[str, str], tuple[float, float]]:
    """Change and relative change of the drawn edges that are no strands, by their ends."""
    session.wait()
    placed, crossing = session.placed, session._current()[1].crossing
    rows, paths = crossing.edges, placed.cut.paths
    found = {}
    for i in np.flatnonzero(~rows.strand & (rows.stats.count > 0)):
        ends = paths[rows.source[i]], paths[rows.target[i]]
        found[ends] = float(rows.stats.rms[i]), float(rows.stats.relative[i])
    return found


def test_edges_of_closed_layers_are_the_change_of_their_kernels(files):
    then, now = map(arrays, files)
    with compared(*files) as model:
        session = Session(model)
        session.open_to(9)
        found = edges(session)
        session.close_session()
    for (tail, head), (target, index) in {
        ("image", "first"): ("first", 0),
        ("flat", "hidden"): ("hidden", 0),
        ("new", "depth"): ("depth", 0),
        ("words", "attend/query"): ("attend", 0),
        ("attend/attention_output", "both/backward"): ("both", 3),
    }.items():
        ends = next((k for k in found if k[0].startswith(tail) and k[1].startswith(head)), None)
        assert ends is not None, (tail, head, sorted(found))
        a, b = then[target][index], now[target][index]
        change, relative = found[ends]
        assert change == pytest.approx(rms(b - a), rel=1e-6, abs=1e-12), ends
        assert relative == pytest.approx(rms(b - a) / rms(a), rel=1e-6, abs=1e-12), ends


def units(path: str) -> slice:
    """Units that a path means: all, ``[3]``, ``[4:8]``."""
    if "[" not in path:
        return slice(None)
    first, _, stop = path[path.index("[") + 1 : -1].partition(":")
    return slice(int(first), int(stop or int(first) + 1))


@pytest.mark.parametrize("opened", [("hidden",), ("flat",), ("hidden", "flat")])
def test_edges_of_open_layers_are_the_change_of_their_weights(files, opened):
    then, now = (side["hidden"][0] for side in map(arrays, files))
    with compared(*files) as model:
        session = Session(model)
        session.open_to(9)
        for node in opened:
            session.open(node)
        found = edges(session)
        session.close_session()
    covered = np.zeros(then.shape, int)
    for (tail, head), (change, relative) in found.items():
        if not (tail.startswith("flat") and head.startswith("hidden")):
            continue
        part = units(tail), units(head)
        a, b = then[part], now[part]
        assert change == pytest.approx(rms(b - a), rel=1e-6), (tail, head)
        assert relative == pytest.approx(rms(b - a) / rms(a), rel=1e-6), (tail, head)
        covered[part] += 1
    assert np.all(covered == 1)


def test_a_filter_of_a_flattened_map_has_the_change_of_all_its_places(files):
    then, now = (side["hidden"][0].reshape(-1, 5, 12) for side in map(arrays, files))
    with compared(*files) as model:
        session = Session(model)
        session.open("hidden")
        found = edges(session)
        session.close_session()
    mine = {head: v for (tail, head), v in found.items() if head.startswith("hidden[")}
    assert len(mine) == 12
    for head, (change, relative) in mine.items():
        a, b = then[..., units(head)], now[..., units(head)]
        assert change == pytest.approx(rms(b - a), rel=1e-6)
        assert relative == pytest.approx(rms(b - a) / rms(a), rel=1e-6)


def test_strands_are_the_largest_changes_and_know_what_was_before(files):
    sides = list(map(arrays, files))
    with compared(*files) as model:
        session = Session(model)
        session.wait()
        rows = session._current()[1].crossing.edges
        session.close_session()
    for name, most in (("hidden", 48), ("first", 1)):  # of "first" one weight changed
        then, now = (side[name][0].reshape(-1, *side[name][0].shape[-2:]) for side in sides)
        square = np.sqrt(np.mean((now - then) ** 2, axis=0))
        layer = model.graph.position[name]
        mine = np.flatnonzero(rows.strand & (rows.target_layer == layer))
        assert len(mine) == most
        for i in mine:
            c, u = int(rows.source_unit[i]), int(rows.target_unit[i])
            assert rows.stats.rms[i] == pytest.approx(square[c, u], rel=1e-6)
            assert rows.stats.before[i] == pytest.approx(rms(then[:, c, u]), rel=1e-6)
        least = float(rows.stats.rms[mine].min())
        assert np.count_nonzero(square > least * (1 + 1e-6)) < len(mine)


def test_only_weights_that_changed_are_drawn_singly(files):
    with compared(*files) as model:
        session = Session(model)
        session.open_to(9)
        session.wait()
        rows = session._current()[1].crossing.edges
        assert np.all(rows.stats.sum_sq[rows.strand] > 0)
        layer = model.graph.position["first"]  # one weight of its kernel is another
        assert np.count_nonzero(rows.strand & (rows.target_layer == layer)) == 1
        session.close_session()


# -- the picture -------------------------------------------------------------------------------


def test_boxes_show_the_change_inside_and_marks_show_the_rest(files):
    from explorer.drawing.changed import MARKS, UNCHANGED

    then, now = map(arrays, files)
    with compared(*files) as model:
        session = Session(model)
        session.open_to(9)
        session.wait()
        drawn = session.draw_list
        shown = zip(drawn.solids.node.tolist(), drawn.solids.colors.tolist(), strict=True)
        colors = {drawn.nodes[node]: tuple(color[:3]) for node, color in shown}
        texts = {drawn.nodes[la.node]: la.text for la in drawn.labels if la.node >= 0}
        assert colors["new"] == MARKS["dark"]["added"]
        assert texts["new"].endswith("· added")
        assert colors["gone"] == MARKS["dark"]["removed"]
        assert texts["gone"].endswith("· removed")
        assert colors["resized"] == MARKS["dark"]["differs"]
        assert colors["norm"] == colors["words"] == UNCHANGED["dark"]
        chips = dict(drawn.legend.kinds)
        assert {"added", "removed", "shape differs", "unchanged"} == set(chips)
        # Of the bright end of the scale and of the dark one: in the order of the changes.
        changes = {n: model.comparison.changes.known(n).sums.rms for n in ("first", "hidden")}
        for name in changes:
            a, b = (np.concatenate([w.ravel() for w in side[name]]) for side in (then, now))
            assert changes[name] == pytest.approx(rms(b - a))
        bright = {n: sum(colors[n]) for n in changes}
        assert (bright["first"] > bright["hidden"]) == (changes["first"] > changes["hidden"])
        session.close_session()


def test_a_closed_group_counts_what_was_added_and_removed_inside(tmp_path):
    def save(name: str, inner: list[str]) -> Path:
        keras.utils.set_random_seed(0)
        block = keras.Sequential([L.Dense(8, name=n) for n in inner], name="block")
        model = keras.Sequential([L.Input((8,)), block, L.Dense(3, name="head")])
        model.save(tmp_path / name)
        return tmp_path / name

    a, b = save("a.keras", ["one", "two", "three"]), save("b.keras", ["one", "three", "four"])
    with compared(a, b) as model:
        session = Session(model)
        session.close_all()
        session.wait()
        text = next(la.text for la in session.draw_list.labels if "block" in la.text)
        assert text.endswith(("· 1 removed, 1 added", "· 1 added, 1 removed"))
        session.close_session()


def test_overlays_of_changes_are_offered_only_where_there_are_changes(files):
    with compared(*files) as model:
        session = Session(model)
        assert session.state.overlay == "change"
        for name in ("relative", "direction", "furthest"):
            session.set_overlay(name)
            session.wait()
            assert session.draw_list.legend.title
        with pytest.raises(NeuronautError, match="magnitude"):
            session.set_overlay("magnitude")
        session.close_session()
    with OpenModel.open(str(files[0])) as model:
        session = Session(model)
        with pytest.raises(NeuronautError, match="change"):
            session.set_overlay("change")
        session.close_session()


def test_what_did_not_change_has_no_place_on_the_scale_and_boxes_are_on_it(files):
    ramp = THEMES["dark"].sequential
    with compared(*files) as model:
        session = Session(model)
        session.open_to(9)
        session.set_scale("rank")
        session.wait()
        drawn = session.draw_list
        read = ~np.isnan(drawn.edges.magnitude)
        assert (drawn.edges.magnitude[read] == 0).any()
        bar = drawn.legend.bar
        assert bar.low > 0
        moved = (drawn.solids.colors[:, None, :3] == ramp[None]).all(axis=2).any(axis=1)
        assert moved.any()
        assert not moved.all()
        session.set_range((2 * bar.high, 3 * bar.high))
        low = session.draw_list.solids.colors
        session.set_range((bar.low / 3, bar.low / 2))
        high = session.draw_list.solids.colors
        session.close_session()
    assert (low[moved, :3] == ramp[0]).all()
    assert (high[moved, :3] == ramp[-1]).all()
    assert (low[~moved] == high[~moved]).all()


# -- pairing -----------------------------------------------------------------------------------


def dense(path: str, width: int = 4) -> Layer:
    kernel = Weight(f"{path}/kernel", "kernel", (4, width), "float32", None)
    return Layer(path, "Dense", {}, (), (None, width), (kernel,))


def chain(*layers: Layer) -> Network:
    ends = pairwise(layers)
    return Network("n", "test", layers, (), tuple(Link(a.path, b.path) for a, b in ends))


def paired(a: Network, b: Network) -> tuple[list[tuple[str, str, str]], list[str], list[str]]:
    found = pair_networks(a, b)
    return (
        [(p.before.path, p.after.path, p.by) for p in found.pairs],
        [la.path for la in found.removed],
        [la.path for la in found.added],
    )


def test_layers_of_equal_path_are_the_same_whatever_their_order():
    a, b = chain(dense("x"), dense("y")), chain(dense("y"), dense("x"))
    assert paired(a, b)[0] == [("y", "y", "path"), ("x", "x", "path")]


def test_numbered_names_are_paired_by_order_even_where_some_coincide():
    a = chain(dense("dense"), dense("dense_1"), dense("dense_2"))
    b = chain(dense("dense_1"), dense("dense_2"), dense("dense_3"))
    assert paired(a, b)[0] == [
        ("dense", "dense_1", "order"),
        ("dense_1", "dense_2", "order"),
        ("dense_2", "dense_3", "order"),
    ]


def test_an_added_layer_among_numbered_ones_is_found():
    a = chain(dense("dense", 5), dense("dense_1", 6), dense("dense_2", 7))
    b = chain(dense("dense_7", 5), dense("dense_8", 99), dense("dense_9", 6), dense("dense_10", 7))
    pairs, removed, added = paired(a, b)
    assert [(p, q) for p, q, _ in pairs] == [
        ("dense", "dense_7"), ("dense_1", "dense_9"), ("dense_2", "dense_10"),
    ]  # fmt: skip
    assert (removed, added) == ([], ["dense_8"])


def test_renamed_layers_are_the_same_in_their_place_only():
    a, b = chain(dense("stem"), dense("head")), chain(dense("stem"), dense("classifier"))
    assert paired(a, b)[0][1] == ("head", "classifier", "order")
    other = chain(dense("stem"), dense("classifier", 9))
    assert paired(a, other)[1:] == (["head"], ["classifier"])


def test_nested_names_are_paired_inside_their_parents():
    a = chain(dense("net/dense"), dense("net/dense_1"), dense("head"))
    b = chain(dense("net_3/dense_6"), dense("net_3/dense_7"), dense("head"))
    assert paired(a, b)[0] == [
        ("net/dense", "net_3/dense_6", "order"),
        ("net/dense_1", "net_3/dense_7", "order"),
        ("head", "head", "path"),
    ]


def test_long_lists_are_paired_in_time():
    a = chain(*(dense(f"dense_{i}") for i in range(3000)))
    b = chain(*(dense(f"dense_{i}") for i in range(5000, 8500)))
    pairs, removed, added = paired(a, b)
    assert (len(pairs), len(removed), len(added)) == (3000, 0, 500)


def test_a_removed_layer_stands_where_it_stood_and_links_stay_in_order(files):
    with compared(*files) as model:
        network = model.comparison.network
        place = network.position
        assert place["norm"] < place["gone"] < place["depth"]
        assert {("norm", "gone"), ("gone", "depth")} <= {
            (k.source, k.target) for k in network.links
        }
        for link in network.links:
            assert place[link.source] < place[link.target]
        names = [w.name for la in network.layers for w in la.weights]
        assert len(names) == len(set(names))


# -- bad input ---------------------------------------------------------------------------------


def test_two_networks_with_nothing_in_common_are_one_clear_line(files, tmp_path):
    path = tmp_path / "other.keras"
    keras.Sequential([L.Input((5,)), L.Dense(7, name="else")]).save(path)
    with pytest.raises(NeuronautError, match="cannot be compared: none of") as told:
        compared(files[0], path)
    assert "\n" not in str(told.value)


def test_a_truncated_or_missing_or_odd_second_file_is_one_clear_line(files, tmp_path):
    cut = tmp_path / "cut.keras"
    cut.write_bytes(files[1].read_bytes()[:-2000])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for bad in (cut, pipe, tmp_path / "missing.keras", tmp_path):
        with pytest.raises(ModelError) as told:
            compared(files[0], bad)
        assert str(bad) in str(told.value)
        assert "\n" not in str(told.value)


def test_a_file_that_changes_while_it_is_compared_is_told(files, tmp_path):
    path = tmp_path / "b.keras"
    shutil.copy(files[1], path)
    with compared(files[0], path) as model:
        path.write_bytes(files[0].read_bytes())
        with pytest.raises(ModelError, match="changed"):
            model.comparison.changes.measure_all()


def test_a_network_without_files_is_compared_by_name():
    one = chain(dense("x"))
    with pytest.raises(NeuronautError, match="cannot be compared"):
        compare_networks(one, replace(one, name="other"))


def test_report_is_plain_json(files):
    with compared(*files) as model:
        found = changes_json(
            model.comparison, model.comparison.changes.measure_all(), 5, "relative"
        )
    json.dumps(found, allow_nan=False)
    with pytest.raises(NeuronautError, match="order"):
        changes_json(model.comparison, [], 5, "size")


def test_the_network_read_is_the_newer_one(files):
    with compared(*files) as model:
        new = open_network(files[1])
        kept = [
            la for la in model.network.layers if model.comparison.marks.get(la.path) != "removed"
        ]
        assert [la.path for la in kept] == [la.path for la in new.layers]
        assert model.network.name == "a.keras → b.keras"


# -- quantised against float -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*does not have a `quantize` method:UserWarning")
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantised_file_is_compared_with_the_float_one(tmp_path, mode):
    keras.utils.set_random_seed(3)
    model = keras.Sequential([L.Input((24,)), L.Dense(16, name="wide"), L.Dense(10, name="head")])
    model.save(tmp_path / "float.keras")
    then = {la.name: np.asarray(la.kernel, np.float64) for la in model.layers}
    model.quantize(mode)
    model.save(tmp_path / "quantised.keras")
    # A layer's numbers are what it makes of the unit vectors; its bias is still zero.
    now = {
        la.name: np.asarray(la(np.eye(la.input_spec.axes[-1], dtype=np.float32)), np.float64)
        for la in model.layers
    }
    with compared(tmp_path / "float.keras", tmp_path / "quantised.keras") as opened:
        assert not opened.comparison.marks
        changes = {c.path: c for c in opened.comparison.changes.measure_all()}
        session = Session(opened)
        session.open_to(9)
        found = edges(session)
        session.close_session()
    for name, values in now.items():
        d = values - then[name]
        kernel = next(w for w in changes[name].weights if w.role == "kernel")
        assert kernel.sums.rms == pytest.approx(rms(d), rel=1e-5)
        assert 0 < kernel.sums.relative < (0.02 if mode == "int8" else 0.2)
        assert kernel.sums.largest == pytest.approx(np.abs(d).max(), rel=1e-4)
        change, relative = next(v for (_, head), v in found.items() if head.startswith(name))
        assert change == pytest.approx(rms(d), rel=1e-5)
        assert relative == pytest.approx(rms(d) / rms(then[name]), rel=1e-5)


def test_half_precision_is_compared_with_single(tmp_path):
    keras.utils.set_random_seed(4)
    model = keras.Sequential([L.Input((6,)), L.Dense(5, name="dense")])
    model.save(tmp_path / "single.keras")
    kernel, bias = model.get_weights()
    half = keras.Sequential([L.Input((6,)), L.Dense(5, name="dense", dtype="float16")])
    half.set_weights([kernel, bias])
    half.save(tmp_path / "half.keras")
    with compared(tmp_path / "single.keras", tmp_path / "half.keras") as opened:
        sums = opened.comparison.changes.measure_all()[0].sums
    d = kernel.astype(np.float16).astype(np.float64) - kernel
    assert sums.sum_sq == pytest.approx(float(np.sum(d * d)), rel=1e-12)


# -- surfaces ----------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "explorer", *arguments],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_prints_a_table_and_json_and_draws(files, tmp_path):
    a, b = map(str, files)
    table = run("compare", a, b, "--top", "2")
    assert table.returncode == 0
    assert table.stdout.startswith("a.keras → b.keras · 3 of 7 layers with weights changed")
    picture = tmp_path / "change.png"
    told = run("compare", a, b, "--json", "--by", "relative", "-o", str(picture))
    assert told.returncode == 0, told.stderr
    rows = json.loads(told.stdout)["layers"]
    assert {row["path"] for row in rows} == {"both", "first", "hidden"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    shot = run("shot", a, "--compare", b, "-o", str(picture), "--overlay", "relative")
    assert shot.returncode == 0, shot.stderr


def test_the_command_refuses_in_one_line(files, tmp_path):
    a, b = map(str, files)
    cut = tmp_path / "cut.keras"
    cut.write_bytes(files[1].read_bytes()[:-2000])
    pipe = tmp_path / "pipe.keras"
    os.mkfifo(pipe)
    for bad in (
        (a, str(cut)), (str(cut), b), (a, str(pipe)), (a, str(tmp_path / "none.keras")),
        (a, b, "--by", "size"), (a, b, "-o", str(tmp_path / "x.jpg")), (a,),
    ):  # fmt: skip
        done = run("compare", *bad)
        assert done.returncode == 2, (bad, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stdout == ""


def test_pointing_at_one_weight_tells_both_values(files):
    from explorer.drawing.edge_text import describe_edge

    then, now = (side["hidden"][0] for side in map(arrays, files))
    with compared(*files) as model:
        session = Session(model)
        session.open_to(9)
        session.open("hidden")
        session.open("flat")
        session.wait()
        drawn = session.draw_list
        seen = 0
        for i in range(len(drawn.edges.source)):
            tail, head = (drawn.nodes[int(e[i])] for e in (drawn.edges.source, drawn.edges.target))
            if not (tail.startswith("flat[") and head.startswith("hidden[")):
                continue
            if ":" in tail + head or seen == 5:
                continue
            text = describe_edge(model, drawn, i)
            a, b = (float(w[units(tail), units(head)].item()) for w in (then, now))
            numbers = dict(part.split(" ", 1) for part in text.split(" · ") if "now" in part or
                           "before" in part)  # fmt: skip
            assert float(numbers["before"]) == pytest.approx(a, rel=1e-8)
            assert float(numbers["now"]) == pytest.approx(b, rel=1e-8)
            seen += 1
        assert seen
        session.close_session()


def test_the_panel_tells_both_files_and_the_difference(files):
    from explorer.panel.panel import layer_panel
    from explorer.panel.statistics import weight_statistics

    then, now = (side["hidden"][0] for side in map(arrays, files))
    with compared(*files) as model:
        panel = layer_panel(model, "hidden")
        name = next(w["name"] for w in panel["weights"] if w["role"] == "kernel")
        told = weight_statistics(model, "hidden", name)
        rows = dict(told["compared"])
        assert float(rows["RMS before"]) == pytest.approx(rms(then), rel=1e-5)
        assert float(rows["RMS now"]) == pytest.approx(rms(now), rel=1e-5)
        assert float(rows["RMS of change"]) == pytest.approx(rms(now - then), rel=1e-5)
        assert told["summary"].low == pytest.approx(float((now - then).min()), rel=1e-6)
        assert ("differs", "kernel 20×9 before, 20×11 now") in layer_panel(model, "resized")[
            "facts"
        ]
        assert ("compared", "removed: only in a.keras") in layer_panel(model, "gone")["facts"]
        gone = layer_panel(model, "gone")["weights"][0]["name"]
        with pytest.raises(NeuronautError, match="not in both files"):
            weight_statistics(model, "gone", gone)
        model.comparison.changes.measure_all()
        facts = dict(layer_panel(model, "attend/query")["facts"])
        assert facts["RMS of change"] == "0"


def test_from_python(files, tmp_path):
    import explorer

    with explorer.compare(*files) as view:
        assert view.changes(1)["layers_changed"] == 3
        view.set(overlay="relative").shot(tmp_path / "x.png", (320, 180))
        with pytest.raises(NeuronautError, match="scene"):
            view.save_scene(tmp_path / "x.json")
    with explorer.open_network(files[0]) as view, pytest.raises(NeuronautError, match="compare"):
        view.changes()


def test_of_small_files_nothing_is_kept(files):
    with compared(*files) as model:
        model.keeper.begin(always=False)
        assert not model.keeper.unfinished
        assert not model.keeper.whole


# -- what is kept ------------------------------------------------------------------------------


@pytest.fixture
def keeps(tmp_path, monkeypatch):
    """A cache folder in which two small files are worth keeping."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("explorer.comparing.keeping.WORTH_KEEPING", 0)
    return cache_folder()


def found_in(before: Path, after: Path) -> tuple[dict[str, Any], int, str]:
    """What changed, how many elements were read for it, and why it was not kept."""
    with compared(before, after) as model:
        changes, read = model.comparison.changes, []
        real = changes._sum
        changes._sum = lambda pair, *rest: read.append(pair.after.size) or real(pair, *rest)
        found = changes_json(model.comparison, changes.measure_all(), 1000)
        return found, sum(read), changes.reason


def test_what_was_compared_is_not_read_again(files, keeps, tmp_path):
    here = [Path(shutil.copy(path, tmp_path / path.name)) for path in files]
    first, read, reason = found_in(*here)
    assert read > 0
    assert reason == ""
    assert found_in(*here) == (first, 0, "")
    (entry,) = entries()
    assert str(entry.model) == f"{here[0]} → {here[1]}"
    back, read, _ = found_in(here[1], here[0])  # the other way round is another question
    assert read > 0
    assert {row["path"]: -1 for row in back["layers"]} == {
        row["path"]: -1 for row in first["layers"]
    }
    os.utime(here[0], ns=(1, 1))
    assert found_in(*here)[1] > 0
    for path in keeps.glob("*.safetensors"):
        raw = bytearray(path.read_bytes())
        raw[-30] ^= 1
        path.write_bytes(bytes(raw))
    again, read, _ = found_in(*here)
    assert read > 0
    assert again == first


def test_comparing_works_where_nothing_can_be_kept(files, keeps):
    keeps.parent.mkdir(parents=True)
    keeps.write_bytes(b"in the way")
    found, read, reason = found_in(*files)
    assert found["layers_changed"] == 3
    assert read > 0
    assert "not saved" in reason
    assert str(keeps) in reason


@pytest.fixture
def keeps_all(keeps, monkeypatch):
    """As `keeps`, of what pictures measure, too; bands that were read, each time."""
    monkeypatch.setattr("explorer.pyramid.storage.keeping.WORTH_KEEPING", 0)
    monkeypatch.setattr("explorer.session.background._SMALL", 0)  # all takes long
    real, seen = measuring.measured, []
    monkeypatch.setattr(
        measuring, "measured", lambda pieces, level0: (seen.extend(pieces), real(pieces, level0))[1]
    )
    return seen


def pictured(before: Path, after: Path, overlay: str = "change") -> tuple[list[float], int, str]:
    """Magnitudes of a picture's edges, elements that were read for its boxes, and any trouble."""
    with compared(before, after) as model:
        changes, read = model.comparison.changes, []
        real = changes._sum
        changes._sum = lambda pair, *rest: read.append(pair.after.size) or real(pair, *rest)
        session = Session(model, ViewState(overlay=overlay))
        session.pause_reading()
        session.wait()
        drawn = session.draw_list.edges
        session.close_session()
        assert not model.comparison.changes.missing()
        return drawn.magnitude.tolist(), sum(read), model.keeper.reason


def test_a_picture_of_differences_is_measured_once(files, keeps_all, tmp_path):
    here = [Path(shutil.copy(path, tmp_path / path.name)) for path in files]
    first, read, reason = pictured(*here, "relative")
    assert np.nanmax(first) > 0
    assert reason == ""
    count = len(keeps_all)
    assert count > 0
    assert read > 0
    again, read, _ = pictured(*here, "relative")
    np.testing.assert_array_equal(again, first)
    assert (len(keeps_all), read) == (count, 0)  # nor what they are relative to
    _, read, _ = pictured(here[1], here[0])  # the other way round is another question
    assert len(keeps_all) > count
    assert read > 0
    count = len(keeps_all)
    os.utime(here[0], ns=(1, 1))
    pictured(*here)
    assert len(keeps_all) > count


def test_of_layers_that_are_alike_no_single_weight_is_looked_at(keeps_all, tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.pyramid.search.strongest.FULL_READ", 0)
    layers = [keras.layers.Dense(300, name=name, use_bias=False) for name in ("one", "two")]
    model = keras.Sequential([keras.Input((300,)), *layers])
    paths = tmp_path / "a.keras", tmp_path / "b.keras"
    for path in paths:
        layers[0].set_weights([w * 2.0 for w in layers[0].get_weights()])
        model.save(path)
    with compared(*paths) as model:
        read = set()
        for connection in model.table.connections:
            model.pyramid.build(connection)
        for name in ("read_flat", "read_rows", "read_many"):
            real = getattr(model.reader, name)
            monkeypatch.setattr(
                model.reader, name, lambda w, *a, real=real: (read.add(w.shape), real(w, *a))[1]
            )
        searched = []
        connections = {c.target: c for c in model.table.connections}
        for target in ("one", "two"):
            inside = np.arange(300, dtype=np.int32)
            finder = EdgeFinder(model)
            task = Search(connections[target], 0, model.graph.position[target], inside)
            read.clear()
            model.pyramid.level0 = Level0(model.reader)  # remembers nothing
            finder.search(task)
            strands = model.strands.get(task.key)
            searched.append((len(strands.out) > 0, bool(read)))
        assert searched == [(True, True), (False, False)]


def test_the_two_directions_are_kept_apart(keeps_all, tmp_path):
    """Though the files are alike to the byte but for their numbers."""
    layers = [
        keras.layers.Dense(30, name="one", use_bias=False),
        keras.layers.Dense(20, name="two"),
    ]
    model = keras.Sequential([keras.Input((10,)), *layers])
    paths = tmp_path / "a.keras", tmp_path / "b.keras"
    for path, factor in zip(paths, (1.0, 2.0), strict=True):
        layers[0].set_weights([w * factor for w in layers[0].get_weights()])
        model.save(path)
    kernel = layers[0].get_weights()[0] / 2.0  # what the older file has
    for _ in range(2):
        for order, sign, before in ((paths, 1, kernel), (paths[::-1], -1, 2 * kernel)):
            with compared(*order) as model:
                model.keeper.begin()
                (one, two) = model.table.connections
                assert all(map(model.pyramid.build, (one, two)))
                found = model.pyramid.totals(one), model.pyramid.before.totals(one)
                assert model.pyramid.totals(two).sum_sq == 0.0
            assert found[0].sum == pytest.approx(sign * kernel.sum(dtype=float), rel=1e-4)
            assert found[1].sum_sq == pytest.approx(np.square(before).sum(dtype=float), rel=1e-4)


def test_what_was_compared_when_it_was_closed_is_kept(files, keeps):
    with compared(*files) as model:
        first, *others = model.comparison.changes.missing()
        model.comparison.changes.measure(first)
        assert others
    with compared(*files) as model:
        changes, read = model.comparison.changes, []
        changes._sum = lambda pair, *_: read.append(pair)
        assert changes.measure(first) is not None
        assert not read


def test_differences_without_what_they_are_relative_to_are_not_ready(files):
    class Shelf:
        def __init__(self, model, *kinds):
            names = [n for c in model.table.connections for n in model.pyramid.section_names(c)]
            self.totals = {n: (1.0, 0.0, 1.0, 1.0, 1, 0) for n in names if n.startswith(kinds)}

        def section(self, key):
            return None

    for kinds, ready in (("change",), False), (("before",), False), (("change", "before"), True):
        with compared(*files) as model:
            model.pyramid.attach(Shelf(model, *kinds))
            model.table.refresh()
            assert model.table.ready.all() == model.table.ready.any() == ready


def test_the_store_of_differences_is_whole_or_not_believed(files, keeps_all, keeps):
    with compared(*files) as model:
        model.keeper.begin()
        for connection in model.table.connections:
            assert model.pyramid.build(connection)
        assert model.keeper.finish(model.table.connections), model.keeper.reason
        totals = [
            (model.pyramid.totals(c), model.pyramid.before.totals(c))
            for c in model.table.connections
        ]
    then, now = (side["hidden"][0] for side in map(arrays, files))
    (path,) = keeps.glob("*.safetensors")
    raw = path.read_bytes()
    for damage in (None, raw[:-30] + bytes([raw[-30] ^ 1]) + raw[-29:], raw[: len(raw) // 2], b""):
        if damage is not None:
            path.write_bytes(damage)
        with compared(*files) as model:
            assert len(model.table)
            assert model.keeper.whole == (damage is None)
            for connection in model.table.connections:
                assert model.pyramid.build(connection)
            assert totals == [
                (model.pyramid.totals(c), model.pyramid.before.totals(c))
                for c in model.table.connections
            ]
            hidden = next(c for c in model.table.connections if c.target == "hidden")
            found = model.pyramid.totals(hidden), model.pyramid.before.totals(hidden)
            assert found[0].sum_sq == pytest.approx(np.square(now - then).sum(), rel=1e-5)
            assert found[1].sum_sq == pytest.approx(np.square(then).sum(), rel=1e-5)


def test_what_pictures_keep_is_listed_and_cleared_with_either_file(files, keeps_all, keeps):
    for cleared in files:
        pictured(*files)
        listed = entries()
        assert {str(e.model) for e in listed} == {f"{files[0]} → {files[1]}"}
        assert {e.state for e in listed} == {"complete", "partial"}
        assert len(clear([cleared]).removed) == 2
        assert not list(keeps.iterdir())


def test_pictures_of_differences_do_without_a_place_to_keep_them(files, keeps_all, keeps):
    keeps.parent.mkdir(parents=True)
    keeps.write_bytes(b"in the way")
    magnitudes, _, reason = pictured(*files)
    assert np.nanmax(magnitudes) > 0
    assert "not saved" in reason
