"""What is stored can be told and removed, whatever lies in the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from store_helpers import PLAN, model_file, network, sections

from explorer.errors import NeuronautError
from explorer.pyramid.storage.cache import cache_folder
from explorer.pyramid.storage.entries import clear, entries
from explorer.pyramid.storage.journal import Journal
from explorer.pyramid.storage.store import Store


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def begun(path: Path) -> None:
    with Journal.open(network(path, name=f"net {path.stem}"), PLAN) as journal:
        for key, entry in sections(3).items():
            journal.append(key, *entry)


def built(path: Path) -> None:
    of = network(path, name=f"net {path.stem}")
    with Journal.open(of, PLAN) as journal:
        for key, entry in sections(3).items():
            journal.append(key, *entry)
        store = journal.finish(sections(3))
    assert store is not None
    store.close()


def on_disk(folder: Path) -> int:
    return sum(p.lstat().st_size for p in folder.iterdir())


def test_nothing_is_stored_at_first(folder: Path) -> None:
    assert entries() == []
    assert clear() == ([], [], 0)
    assert not folder.exists()


def test_each_state_is_told(tmp_path: Path, folder: Path) -> None:
    paths = {s: model_file(tmp_path, f"{s}.keras") for s in ("complete", "partial", "old", "gone")}
    begun(paths.pop("partial"))
    for path in paths.values():
        built(path)
    paths["old"].write_bytes(b"rewritten, and longer")
    paths["gone"].unlink()
    found = entries()
    assert [(e.name, e.state) for e in found] == [
        ("net complete", "complete"), ("net gone", "model gone"), ("net old", "outdated"),
        ("net partial", "partial"),
    ]  # fmt: skip
    assert [e.model for e in found] == [tmp_path / f"{e.name[4:]}.keras" for e in found]
    assert sum(e.nbytes for e in found) == on_disk(folder)
    assert {e.model_bytes for e in found} == {len(b"weights")}
    assert all(abs(e.time - folder.stat().st_mtime) < 600 for e in found)


def test_a_rewritten_model_that_is_measured_again_is_one_entry(
    tmp_path: Path, folder: Path
) -> None:
    path = model_file(tmp_path)
    built(path)
    path.write_bytes(b"rewritten")
    begun(path)
    (entry,) = entries()
    assert (entry.state, entry.nbytes) == ("partial", on_disk(folder))
    built(path)
    assert [e.state for e in entries()] == ["complete"]


def test_a_build_of_a_rewritten_model_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = model_file(tmp_path)
    begun(path)
    path.write_bytes(b"rewritten")
    assert [e.state for e in entries()] == ["outdated"]
    with Journal.open(network(path), PLAN) as journal:
        assert journal.totals == {}
        journal.append("k", (0.0, 0.0, 0.0, 0.0, 0, 0), b"x")
    assert [e.state for e in entries()] == ["partial"]


def test_what_cannot_be_read_is_told_as_damaged_and_can_be_removed(
    tmp_path: Path, folder: Path
) -> None:
    path = model_file(tmp_path)
    built(path)
    (store,) = folder.glob("*.safetensors")
    store.write_bytes(store.read_bytes()[:-1])
    (folder / "other.journal").write_bytes(b"\xff" * 100)
    (folder / "loop.journal").symlink_to(folder / "loop.journal")
    os.mkfifo(folder / "pipe.safetensors")
    assert {e.state for e in entries()} == {"damaged"}
    assert len(entries()) == 4
    assert [e.name for e in entries([path])] == [store.stem]
    assert len(clear([path]).removed) == 1
    assert len(clear().removed) == 3
    assert list(folder.iterdir()) == []


def test_clear_removes_all_and_what_killed_processes_left(tmp_path: Path, folder: Path) -> None:
    for name in ("a.keras", "b.v2.keras"):
        built(model_file(tmp_path, name))
    (store, _) = sorted(folder.glob("*.safetensors"))
    (folder / f".{store.stem}-0123456789ab.tmp").write_bytes(b"half")
    (folder / "notes.txt").write_text("somebody's own")
    size = on_disk(folder) - (folder / "notes.txt").stat().st_size
    removed, busy, nbytes = clear()
    assert ([e.name for e in removed], busy, nbytes) == (["net a", "net b.v2"], [], size)
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    assert Store.open(network(tmp_path / "a.keras"), PLAN) is None


def test_clear_of_one_model_or_folder_leaves_the_others(tmp_path: Path, folder: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    link = tmp_path / "link.keras"
    one, two, three = (model_file(p, n) for p, n in ((tmp_path, "1"), (inner, "2"), (inner, "3")))
    link.symlink_to(one)
    for path in (one, two, three):
        built(path)
    assert clear([tmp_path / "inne"]).removed == []
    two.unlink()  # gone, and still to be named
    assert [e.model for e in entries([inner])] == [two, three]
    assert [e.model for e in clear([two]).removed] == [two]
    assert [e.model for e in clear([link]).removed] == [one]
    assert [e.model for e in entries()] == [three]


def test_what_is_being_built_is_left_alone(tmp_path: Path, folder: Path) -> None:
    path = model_file(tmp_path)
    other = model_file(tmp_path, "other")
    built(other)
    made = sections(3)
    with Journal.open(network(path), PLAN) as journal:
        for key, entry in made.items():
            journal.append(key, *entry)
        removed, busy, _ = clear()
        assert ([e.model for e in removed], [e.model for e in busy]) == ([other], [path])
        assert busy[0].state == "partial"
        store = journal.finish(made)
    assert store is not None
    store.close()
    assert [e.state for e in clear().removed] == ["complete"]


def test_a_build_after_clear_takes_a_lock_that_others_see(tmp_path: Path, folder: Path) -> None:
    path = model_file(tmp_path)
    built(path)
    clear()
    with Journal.open(network(path), PLAN) as first, Journal.open(network(path), PLAN) as second:
        assert (first.reason, bool(second.reason)) == ("", True)


def test_leftovers_of_a_killed_finish_go_with_the_next_build(tmp_path: Path, folder: Path) -> None:
    path = model_file(tmp_path)
    built(path)
    (store,) = folder.glob("*.safetensors")
    mine = folder / f".{store.stem}-0123456789ab.tmp"
    others = folder / ".other-0123456789ab.tmp"
    mine.touch()
    others.touch()
    begun(path)
    assert not mine.exists()
    assert others.exists()


def test_what_cannot_be_removed_is_told_in_one_line(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "odd.journal").mkdir()
    with pytest.raises(NeuronautError, match="cannot be cleared") as told:
        clear()
    assert "\n" not in str(told.value)
