"""Scene files: what is written comes back; what is foreign or hostile is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from explorer.bundled import scene_names, scene_path
from explorer.errors import NeuronautError
from explorer.scene_file import is_scene, load_scene, resolve_source, save_scene
from explorer.viewing.view_state import Camera, ViewState

STATE = ViewState(
    opened=frozenset({"a", "a/b", "größe"}),
    selected="a/b",
    overlay="signed",
    layout="layered",
    theme="light",
    edge_budget=123,
    camera=Camera((1.0, 2.0, 3.0), (0.0, 0.5, 0.0), (0.0, 1.0, 0.0), 40.0),
)


def test_a_saved_scene_comes_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    save_scene(path, tmp_path / "net.keras", STATE)
    assert load_scene(path) == (tmp_path / "net.keras", STATE)
    save_scene(path, tmp_path / "net.keras", ViewState())
    assert load_scene(path)[1] == ViewState()
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_a_failed_save_keeps_the_old_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.json"
    save_scene(path, tmp_path / "net.keras", STATE)

    def fails(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fails)
    with pytest.raises(NeuronautError, match="cannot be written: No space left on device"):
        save_scene(path, tmp_path / "net.keras", ViewState())
    assert load_scene(path)[1] == STATE
    assert [p.name for p in tmp_path.iterdir()] == ["s.json"]


def test_a_scene_lies_beside_its_network_and_does_not_replace_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(NeuronautError, match="must lie beside its network"):
        save_scene(tmp_path / "sub" / "s.json", tmp_path / "net.keras", STATE)
    with pytest.raises(NeuronautError, match="cannot replace its network"):
        save_scene(tmp_path / "net.json", tmp_path / "net.json", STATE)
    with pytest.raises(NeuronautError, match=r"written as \.json"):
        save_scene(tmp_path / "other.keras", tmp_path / "net.keras", STATE)


@pytest.mark.parametrize(
    "state",
    [
        ViewState(opened=frozenset({"\ud800"})),
        ViewState(selected="\udcff"),
        ViewState(camera=Camera((float("nan"), 0.0, 0.0), (0.0, 0.0, 0.0))),
        ViewState(camera=Camera((1e12, 0.0, 0.0), (0.0, 0.0, 0.0))),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, state: ViewState) -> None:
    with pytest.raises(NeuronautError, match=r"s\.json: saved view: "):
        save_scene(tmp_path / "s.json", tmp_path / "net.keras", state)
    with pytest.raises(NeuronautError, match=r"s\.json: a scene cannot name a network"):
        save_scene(tmp_path / "s.json", tmp_path / "\udcff.keras", STATE)
    assert not list(tmp_path.iterdir())


def test_a_scene_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    save_scene(tmp_path / "s.json", tmp_path / "n.keras", STATE)
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "s.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


GOOD: dict[str, Any] = {"version": 1, "network": "n.keras", "view": {}}


def _seen_from(position: list[float], **more: Any) -> str:
    camera = {"position": position, "focal_point": [0, 0, 0], **more}
    return json.dumps({**GOOD, "view": {"camera": camera}})


@pytest.mark.parametrize(
    "name", ["../n.keras", "/etc/passwd", "a/b", "..", ".", "", "a\\b", "C:n", "x\n", "n" * 300, 5]
)
def test_a_network_outside_the_folder_is_refused(tmp_path: Path, name: object) -> None:
    path = tmp_path / "s.json"
    path.write_text(json.dumps({**GOOD, "network": name}))
    with pytest.raises(NeuronautError, match="own folder"):
        load_scene(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[]", "no JSON object"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("9" * 5000, "no JSON"),
        (json.dumps({**GOOD, "version": 2}), "newer"),
        (json.dumps({**GOOD, "version": True}), "no version"),
        (json.dumps({"network": "n"}), "no version"),
        (json.dumps({**GOOD, "run": "rm"}), "unknown entry 'run'"),
        (json.dumps({**GOOD, "view": []}), "view must be"),
        (json.dumps({**GOOD, "view": {"opend": []}}), "unknown entry 'opend'"),
        (json.dumps({**GOOD, "view": {"opened": "a"}}), "list of node paths"),
        (json.dumps({**GOOD, "view": {"camera": {"position": [1]}}}), "camera"),
        (json.dumps({**GOOD, "view": {"theme": "pink"}}), "theme"),
        (_seen_from([10**400, 0, 0]), "camera is not"),
        (_seen_from([2e9, 0, 0]), "camera is not"),
        (_seen_from([float("nan"), 0, 0]), "camera is not"),
        (_seen_from([1, 0, 0], view_angle=10**400), "camera is not"),
        (_seen_from([1, 0, 0], up=[0, 0, 0]), "up has no direction"),
        (_seen_from([1, 0, 0], up=[float("inf"), 0, 0]), "camera is not"),
        (json.dumps({**GOOD, "view": {"opened": ["a", "\ud800"]}}), "list of node paths"),
        (json.dumps({**GOOD, "view": {"selected": "\ud800"}}), "selected must be"),
        (json.dumps({**GOOD, "view": {"layout": "\ud800"}}), "layout must be"),
        (json.dumps({**GOOD, "view": {"\ud800": 1}}), "unknown entry"),
        (" " * (5 * 2**20), "larger than"),
    ],
)
def test_a_wrong_scene_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(NeuronautError) as caught:
        load_scene(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


def test_a_state_has_one_of_the_two_themes() -> None:
    with pytest.raises(NeuronautError, match="no theme called 'blue'"):
        ViewState(theme="blue")


def test_missing_binary_and_folder(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(b"\xff\x00")
    for name, says in [
        ("none.json", "no such file"),
        ("", "cannot be read"),
        ("b.json", "no JSON"),
    ]:
        with pytest.raises(NeuronautError, match=says):
            load_scene(tmp_path / name)


def test_a_file_of_a_model_in_json_is_no_scene(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    entries = {"weight_map": {"network": "a"}}
    for text in (
        json.dumps({"metadata": {}, **entries}),
        json.dumps({"modelTopology": {}, "weightsManifest": []}),
        '{"format": "' + "x" * 3_000_000 + '", "weightsManifest" : []}',
        json.dumps({"architectures": ["Llama"], "model_type": "llama"}),
    ):
        path.write_text(text)
        assert resolve_source(path) == (path, None)
    (tmp_path / "a folder.json").mkdir()
    assert resolve_source(tmp_path / "a folder.json")[1] is None
    (tmp_path / "n.keras").touch()
    for view in ({"opened": [json.dumps(entries)]}, {"opened": ["class_name", "nodes"]}):
        path.write_text(json.dumps({**GOOD, "view": view}))
        assert resolve_source(path)[1] is not None
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(NeuronautError, match="not a scene"):
        resolve_source(path)


def test_the_bundled_scene_is_there_with_its_network() -> None:
    assert "digits" in scene_names()
    network, state = load_scene(scene_path())
    assert is_scene(scene_path())
    assert network.name == "digits.keras"
    assert network.stat().st_size < 1_000_000
    assert isinstance(state, ViewState)
    with pytest.raises(NeuronautError, match="did you mean digits"):
        scene_path("digit")
