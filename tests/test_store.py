"""What is kept between runs is whole and true, or it is not there."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import stat
import struct
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import PLAN, Totals, model_file, network, sections

from explorer.network import Network
from explorer.pyramid.storage import cache
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.storage.store import Store

Made = dict[str, tuple[Totals, bytes]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return model_file(tmp_path)


def build(of: Network, made: Made, order: list[str] | None = None) -> Store:
    with Journal.open(of, PLAN) as journal:
        assert journal.reason == ""
        for key in order or list(made):
            journal.append(key, *made[key])
        store = journal.finish(list(made))
        assert journal.reason == ""
    assert store is not None
    return store


def assert_holds(store: Store | None, made: Made) -> None:
    assert store is not None
    with store:
        assert store.totals == {key: totals for key, (totals, _) in made.items()}
        assert list(store.totals) == list(made)
        for key, (_, payload) in made.items():
            assert store.section(key) == payload
        assert store.section("no such key") is None


def store_file(folder: Path) -> Path:
    (path,) = folder.glob("*.safetensors")
    return path


# -- the whole way ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2, 37])
def test_what_was_appended_is_found_again(model: Path, folder: Path, count: int) -> None:
    of, made = network(model), sections(count)
    assert Store.open(of, PLAN) is None
    assert_holds(build(of, made), made)
    assert_holds(Store.open(of, PLAN), made)
    names = sorted(p.name for p in folder.iterdir())
    assert [n.rsplit(".", 1)[1] for n in names] == ["lock", "safetensors"]
    assert all(n.startswith("model-") for n in names)


def test_the_bytes_do_not_depend_on_the_order_of_appending(model: Path, folder: Path) -> None:
    of, made = network(model), sections(9)
    found = set()
    for seed in range(6):
        order = list(made)
        random.Random(seed).shuffle(order)
        build(of, made, order + order[:3]).close()
        found.add(store_file(folder).read_bytes())
        store_file(folder).unlink()
    assert len(found) == 1


def test_the_store_is_a_valid_safetensors_file(model: Path, folder: Path) -> None:
    of, made = network(model), sections(5)
    build(of, made).close()
    raw = store_file(folder).read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    meta = header.pop("__metadata__")
    assert all(isinstance(v, str) for v in meta.values())
    at = 0
    payloads = [payload for _, payload in made.values()]
    for tensor in header.values():
        first, stop = tensor["data_offsets"]
        assert (tensor["dtype"], tensor["shape"], first) == ("U8", [stop - first], at)
        at = stop
    assert 8 + length + at == len(raw)
    data = raw[8 + length :]
    first = header["section_0"]["data_offsets"][0]
    assert data[first:].startswith(b"".join(payloads))
    assert length % 8 == 0


FLOATS = st.floats()
WHOLE = st.integers(0, 2**62)
ENTRIES = st.dictionaries(
    st.text(st.characters(), max_size=30),  # lone surrogates too
    st.tuples(st.tuples(FLOATS, FLOATS, FLOATS, FLOATS, WHOLE, WHOLE), st.binary(max_size=200)),
    max_size=12,
)


@settings(max_examples=40)
@given(made=ENTRIES, order=st.randoms(use_true_random=False))
def test_any_sections_come_back_from_store_and_journal(made: Made, order: random.Random) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", place)
        of = network(model_file(Path(place)))
        keys = list(made)
        order.shuffle(keys)
        half = len(keys) // 2
        for part in (keys[:half], keys[half:]):  # in two runs
            with Journal.open(of, PLAN) as journal:
                for key in part:
                    journal.append(key, *made[key])
        with Journal.open(of, PLAN) as journal:
            assert repr(journal.totals) == repr({key: made[key][0] for key in keys})
            assert {key: journal.section(key) for key in keys} == {k: made[k][1] for k in keys}
            store = journal.finish(made)
        assert store is not None
        with store:
            assert repr(store.totals) == repr({key: totals for key, (totals, _) in made.items()})
            assert [store.section(key) for key in made] == [p for _, p in made.values()]


ODD = [
    "", "a/b\0kernel", "../../etc/passwd\0k", "🧠/🧠\0kernel", "\ud800 alone", "__metadata__",
    "x" * 70_000, 'quote " and \\ and \n', "\u202e turned",
]  # fmt: skip


def test_keys_may_be_any_text(model: Path, folder: Path) -> None:
    of = network(model)
    made = dict(zip(ODD, sections(len(ODD)).values(), strict=True))
    with Journal.open(of, PLAN) as journal:
        for key in ODD:
            journal.append(key, *made[key])
    with Journal.open(of, PLAN) as journal:
        assert journal.totals == {key: made[key][0] for key in ODD}
        assert [journal.section(key) for key in ODD] == [made[key][1] for key in ODD]
        assert_holds(journal.finish(ODD), made)
    assert_holds(Store.open(of, PLAN), made)
    assert {p.parent for p in folder.iterdir()} == {folder}


def test_odd_numbers_come_back_as_they_were(model: Path) -> None:
    totals = (float("inf"), -0.0, 5e-324, 1.7976931348623157e308, 2**62, 0)
    with build(network(model), {"k": (totals, b"")}) as store:
        assert repr(store.totals["k"]) == repr(totals)


def test_5000_sections_open_in_one_read_each(model: Path) -> None:
    of, made = network(model), sections(5000, most=200)
    build(of, made).close()
    best = min(_seconds_to_open(of) for _ in range(5))
    print(f"opened 5 000 sections in {best * 1e3:.1f} ms")
    assert_holds(Store.open(of, PLAN), made)


def _seconds_to_open(of: Network) -> float:
    start = time.perf_counter()
    store = Store.open(of, PLAN)
    took = time.perf_counter() - start
    assert store is not None
    store.close()
    return took


def test_a_model_of_several_files_has_one_store(tmp_path: Path) -> None:
    one, two = model_file(tmp_path, "a.bin"), model_file(tmp_path, "b.bin")
    made = sections(3)
    build(network(one, two), made).close()
    assert_holds(Store.open(network(two, one), PLAN), made)
    assert Store.open(network(one), PLAN) is None
    two.write_bytes(b"other weights")
    assert Store.open(network(one, two), PLAN) is None


def test_a_link_to_the_model_finds_the_same_store(tmp_path: Path, model: Path) -> None:
    link = tmp_path / "link.keras"
    link.symlink_to(model)
    made = sections(3)
    build(network(link), made).close()
    assert_holds(Store.open(network(model), PLAN), made)


def test_names_of_models_stay_inside_the_folder(tmp_path: Path, folder: Path) -> None:
    names = ["..keras", "-rf.keras", "ü 🧠.keras", "n" * 200 + ".keras", "[a]*?.keras"]
    made = sections(2)
    for name in names:
        build(network(model_file(tmp_path, name)), made).close()
    for name in names:
        assert_holds(Store.open(network(tmp_path / name), PLAN), made)
    files = list(folder.iterdir())
    assert len({p.stem for p in files}) == len(names)
    assert all(p.name[0] not in ".-" and p.name.isascii() and len(p.name) < 100 for p in files)


def test_the_folder_is_for_its_owner_alone(model: Path, folder: Path) -> None:
    build(network(model), sections(1)).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_others_can_write_is_not_believed(model: Path, folder: Path) -> None:
    build(network(model), sections(1)).close()
    folder.chmod(0o777)
    assert Store.open(network(model), PLAN) is None
    Journal.open(network(model), PLAN).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_that_depends_on_where_one_stands_is_not_believed(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, made = network(model), sections(1)
    build(of, made).close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: Path("cache/neuronaut"))
    assert cache_folder().is_dir()
    assert Store.open(of, PLAN) is None


# -- outdated --------------------------------------------------------------------------------------


def test_a_rewritten_model_has_no_store(tmp_path: Path, model: Path) -> None:
    build(network(model), sections(3)).close()
    status = model.stat()
    model.write_bytes(b"WEIGHTS")
    os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert Store.open(network(model), PLAN) is None
    # The same size and time, but another file.
    other = model_file(tmp_path, "other")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(model)
    assert Store.open(network(model), PLAN) is None


def test_a_network_of_a_file_that_changed_since_has_neither(model: Path) -> None:
    of, made = network(model), sections(2)
    build(of, made).close()
    model.write_bytes(b"rewritten after it was opened")
    assert Store.open(of, PLAN) is None
    with Journal.open(of, PLAN) as journal:
        assert "changed" in journal.reason
    model.unlink()
    assert Store.open(of, PLAN) is None
    assert Store.open(Network("none", "made", ()), PLAN) is None
    with Journal.open(Network("none", "made", ()), PLAN) as journal:
        assert journal.reason


def test_another_plan_or_schema_is_no_store(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of, made = network(model), sections(2)
    build(of, made).close()
    assert Store.open(of, "another plan") is None
    monkeypatch.setattr(cache, "SCHEMA", "0")
    assert Store.open(of, PLAN) is None
    with Journal.open(of, PLAN) as journal:
        journal.append("k", *made[next(iter(made))])
    monkeypatch.undo()
    with Journal.open(of, PLAN) as journal:
        assert journal.totals == {}


def test_a_model_rewritten_during_the_build_is_not_stored(model: Path, folder: Path) -> None:
    of, made = network(model), sections(3)
    journal = Journal.open(of, PLAN)
    for key, entry in made.items():
        journal.append(key, *entry)
    model.write_bytes(b"rewritten")
    assert journal.finish(made) is None
    assert "rewritten" in journal.reason
    journal.close()
    assert [p.suffix for p in folder.iterdir()] == [".lock"]
    with Journal.open(network(model), PLAN) as journal:
        assert journal.reason == ""
        assert journal.totals == {}


# -- damaged ---------------------------------------------------------------------------------------


def flipped(raw: bytes, bit: int) -> bytes:
    out = bytearray(raw)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def test_a_flipped_bit_anywhere_is_never_a_wrong_number(model: Path, folder: Path) -> None:
    of, made = network(model), sections(3, most=120)
    build(of, made).close()
    path = store_file(folder)
    raw = path.read_bytes()
    absent = lost = 0
    for byte in range(len(raw)):
        path.write_bytes(flipped(raw, 8 * byte + byte % 8))
        store = Store.open(of, PLAN)
        if store is None:
            absent += 1
            continue
        with store:
            assert store.totals == {key: totals for key, (totals, _) in made.items()}
            found = [store.section(key) for key in made]
        wrong = [f for f, (_, payload) in zip(found, made.values(), strict=True) if f != payload]
        assert wrong == [None]
        assert not path.exists()  # so that it is made anew
        lost += 1
    payload = sum(len(p) for _, p in made.values())
    assert (absent, lost) == (len(raw) - payload, payload)


def test_a_truncated_or_longer_store_is_none(model: Path, folder: Path) -> None:
    of, made = network(model), sections(3, most=120)
    build(of, made).close()
    path = store_file(folder)
    raw = path.read_bytes()
    for length in [*range(0, len(raw), 7), len(raw) - 1]:
        path.write_bytes(raw[:length])
        assert Store.open(of, PLAN) is None, length
    for longer in (raw + b"\0", raw + raw, raw[:8] + b"{}" * (len(raw) // 2)):
        path.write_bytes(longer)
        assert Store.open(of, PLAN) is None
    path.write_bytes(raw)
    assert_holds(Store.open(of, PLAN), made)


NOTHING = [
    b'{"__metadata__":', b'{"__metadata__":{}}', b'{"__metadata__":[]}', b'{"__metadata__":null',
    b'{"__metadata__":' + b"[" * 100_000, b'{"__metadata__":' + b"9" * 10_000,
    b'{"__metadata__":{"fingerprint":"[]","sections":"0","index_bytes":"99999999999999999999"}}',
    b'{"__metadata__":{"fingerprint":"{}","sections":"0","index_bytes":"-1"}}',
    b'{"__metadata__":\xff', b'{"__metadata__":{"fingerprint":"{}","sections":"-1"}}',
]  # fmt: skip


@pytest.mark.parametrize("header", NOTHING)
def test_a_header_that_fits_its_hash_and_says_nothing_is_no_store(
    model: Path, folder: Path, header: bytes
) -> None:
    of = network(model)
    build(of, sections(1)).close()
    start = len(header).to_bytes(8, "little")
    told = hashlib.blake2b(start + header, digest_size=16).digest()
    store_file(folder).write_bytes(start + header + told)
    assert Store.open(of, PLAN) is None


def test_a_store_cut_short_while_it_is_open_gives_nothing_wrong(model: Path, folder: Path) -> None:
    of, made = network(model), sections(6)
    build(of, made).close()
    with Store.open(of, PLAN) or pytest.fail("none") as store:
        path = store_file(folder)
        os.truncate(path, path.stat().st_size // 2)
        for key, (_, payload) in made.items():
            assert store.section(key) in (None, payload)
        assert store.section(list(made)[-1]) is None


def test_a_store_that_replaced_a_damaged_one_stays(model: Path, folder: Path) -> None:
    of, made = network(model), sections(2)
    made["k"] = ((0.0, 0.0, 0.0, 0.0, 0, 0), b"needle")
    build(of, made).close()
    path = store_file(folder)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"needle", b"poodle"))
    with Store.open(of, PLAN) or pytest.fail("none") as damaged:
        (folder / "new").write_bytes(raw)
        (folder / "new").replace(path)
        assert damaged.section("k") is None
    assert_holds(Store.open(of, PLAN), made)


def test_something_else_in_the_place_of_the_store(model: Path, folder: Path) -> None:
    of, made = network(model), sections(2)
    build(of, made).close()
    path = store_file(folder)
    path.unlink()
    path.mkdir()
    assert Store.open(of, PLAN) is None
    path.rmdir()
    os.mkfifo(path)
    assert Store.open(of, PLAN) is None
    path.unlink()
    path.symlink_to(path)
    assert Store.open(of, PLAN) is None


def test_a_closed_store_gives_nothing(model: Path) -> None:
    of, made = network(model), sections(4)
    store = build(of, made)
    store.close()
    store.close()
    assert [store.section(key) for key in made] == [None] * 4


def test_a_flipped_bit_in_the_journal_is_never_a_wrong_number(model: Path, folder: Path) -> None:
    of, made = network(model), sections(4, most=60)
    with Journal.open(of, PLAN) as journal:
        for key, entry in made.items():
            journal.append(key, *entry)
    (path,) = folder.glob("*.journal")
    raw = path.read_bytes()
    for byte in range(len(raw)):
        path.write_bytes(flipped(raw, 8 * byte + byte % 8))
        with Journal.open(of, PLAN) as journal:
            assert journal.reason == ""
            for key, totals in journal.totals.items():
                assert totals == made[key][0]
                assert journal.section(key) in (None, made[key][1])
            if byte % 16 == 0:
                for key in made:
                    if journal.section(key) is None:
                        journal.append(key, *made[key])
                assert_holds(journal.finish(made), made)


def test_a_torn_journal_goes_on_where_it_was_whole(model: Path, folder: Path) -> None:
    of, made = network(model), sections(4, most=60)
    with Journal.open(of, PLAN) as journal:
        for key, entry in made.items():
            journal.append(key, *entry)
    (path,) = folder.glob("*.journal")
    raw = path.read_bytes()
    seen = set()
    for length in range(len(raw) + 1):
        path.write_bytes(raw[:length])
        with Journal.open(of, PLAN) as journal:
            assert journal.reason == ""
            left = list(journal.totals)
            assert left == list(made)[: len(left)]
            assert [journal.section(key) for key in left] == [made[key][1] for key in left]
            seen.add(len(left))
            if length % 16 == 0:
                for key in list(made)[len(left) :]:
                    journal.append(key, *made[key])
                assert_holds(journal.finish(made), made)
    assert seen == {0, 1, 2, 3, 4}


def test_a_section_damaged_in_the_journal_is_measured_anew_by_the_next_run(
    model: Path, folder: Path
) -> None:
    of, made = network(model), sections(4, most=60)
    made["big"] = ((1.0, 2.0, 3.0, 4.0, 5, 6), b"needle" * 9)
    with Journal.open(of, PLAN) as journal:
        for key, entry in made.items():
            journal.append(key, *entry)
    (path,) = folder.glob("*.journal")
    path.write_bytes(path.read_bytes().replace(b"needleneedle", b"needlepoodle", 1))
    with Journal.open(of, PLAN) as journal:
        assert journal.finish(made) is None
        assert "damaged" in journal.reason
    with Journal.open(of, PLAN) as journal:
        assert set(journal.totals) == set(made) - {"big"}
        journal.append("big", *made["big"])
        assert_holds(journal.finish(made), made)


def test_a_journal_without_all_sections_makes_no_store(model: Path, folder: Path) -> None:
    of, made = network(model), sections(4)
    with Journal.open(of, PLAN) as journal:
        for key in itertools.islice(made, 3):
            journal.append(key, *made[key])
        assert journal.finish(made) is None
        assert journal.reason
    assert not list(folder.glob("*.safetensors"))


def test_a_journal_without_sections_leaves_no_file(model: Path, folder: Path) -> None:
    Journal.open(network(model), PLAN).close()
    assert [p.suffix for p in folder.iterdir()] == [".lock"]
