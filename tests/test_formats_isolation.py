"""The child process keeps its limits, the parent trusts nothing it says, mutations do no harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers as kl

from explorer.errors import ModelError
from explorer.formats import Reading, open_network
from explorer.formats.record import UnreadableError
from explorer.formats.sandbox import isolation
from explorer.formats.sandbox.isolation import Child, Limits
from explorer.formats.sandbox.manifest import decode, encode
from explorer.network import ByteRange, FileStamp, Layer, Link, Network, Weight

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound file of each format."""
    keras.utils.set_random_seed(1)
    x = keras.Input((6,), name="x")
    y = kl.BatchNormalization(name="norm")(kl.Dense(5, name="first")(x))
    model = keras.Model(x, kl.Dense(3, name="last")(y), name="tiny")
    folder = tmp_path_factory.mktemp("good")
    paths = {suffix: folder / f"good.{suffix}" for suffix in ("keras", "h5")}
    for path in paths.values():
        model.save(path)
    return paths


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., bytes]:
    """Run a piece of code in place of the parser, under the same limits."""
    path = tmp_path / "any"
    path.write_bytes(b"any")
    setup = isolation._START.replace("main(sys.argv[3:])", "")

    def run(code: str, **limits: Any) -> bytes:
        start = setup + (
            "from explorer.formats.sandbox.child import limit\n"
            "limit(int(sys.argv[5]), int(sys.argv[6]))\n" + code
        )
        monkeypatch.setattr(isolation, "_START", start)
        with path.open("rb") as file:
            started = Child(str(path), file.fileno(), Limits(**limits))
            try:
                return started.manifest()
            finally:
                started.stop()

    return run


def test_child_that_hangs(child: Callable[..., bytes]) -> None:
    with pytest.raises(ModelError, match="more time or memory than allowed"):
        child("while True: pass", seconds=1)


def test_child_that_waits_for_nothing(child: Callable[..., bytes]) -> None:
    with pytest.raises(ModelError, match=r"longer than 0\.5 s"):
        child("import signal; signal.pause()", patience=0.5)


def test_child_that_closes_its_output_and_hangs(child: Callable[..., bytes]) -> None:
    with pytest.raises(ModelError):
        child("import os; os.close(1)\nwhile True: pass", seconds=1)


def test_child_that_takes_memory(child: Callable[..., bytes]) -> None:
    code = (
        "try: x = bytearray(2 << 30)\n"
        "except MemoryError: print('+limited', end='')\n"
        "else: print('+free', end='')"
    )
    assert child(code) == b"limited"


def test_child_that_talks_too_much(child: Callable[..., bytes]) -> None:
    with pytest.raises(ModelError, match="impossibly large"):
        child("while True: sys.stdout.write('x' * 100000)", output=1 << 20)


def test_child_that_crashes(child: Callable[..., bytes]) -> None:
    with pytest.raises(ModelError, match="stopped before the end"):
        child("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")


def test_child_cannot_write_files_and_has_no_input(
    child: Callable[..., bytes], tmp_path: Path
) -> None:
    written = str(tmp_path / "written")
    code = (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "print('+' + sys.stdin.read(), end='')\n"
        "try:\n"
        f"    file = open({written!r}, 'wb', buffering=0)\n"
        "    file.write(b'x')\n"
        "except OSError: print('no', end='')\n"
        "finally:\n"
        f"    import os; os.unlink({written!r})"
    )
    assert child(code) == b"no"


def test_child_dies_with_ctrl_c(good: dict[str, Path]) -> None:
    code = (
        "import signal, sys; from explorer.formats import open_network\n"
        "from explorer.formats.sandbox import isolation\n"
        # Ignored by what is started in the background of a shell, and so by the tests.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "setup = isolation._START.replace('main(sys.argv[3:])', '')\n"
        "isolation._START = setup + 'import os; os.write(1, str(os.getpid()).encode() + b\" \")\\n'"
        " + 'while True: pass'\n"
        "collect = isolation._collect\n"
        "def tell(process, path, limits):\n"
        "    print(process.pid, flush=True)\n"
        "    return collect(process, path, limits)\n"
        "isolation._collect = tell\n"
        "try: open_network(sys.argv[1])\n"
        "except KeyboardInterrupt: sys.exit(7)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(good["keras"])], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    child_id = int(parent.stdout.readline())
    parent.send_signal(signal.SIGINT)
    assert parent.wait(5) == 7
    parent.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.kill(child_id, 0)


def test_reading_that_is_given_up(good: dict[str, Path]) -> None:
    """Whoever began it and does not wait leaves neither a process nor a file behind."""
    before = set(os.listdir("/proc/self/fd"))
    with Reading(good["keras"]) as reading:
        started = reading._child._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(started, 0)
    assert set(os.listdir("/proc/self/fd")) == before
    reading.close()


def test_reading_loads_nothing_heavy_before_it_begins(good: dict[str, Path]) -> None:
    """The command line starts the child first: it must not wait for numpy."""
    code = (
        "import sys; from explorer.formats import Reading\n"
        "from explorer.scene_file import resolve_source\n"
        "with Reading(resolve_source(sys.argv[1])[0]): sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(good["keras"])], cwd=ROOT, check=True)


def test_file_that_changes_while_it_is_parsed(
    good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(good["keras"].read_bytes())

    parse = Child.manifest

    def parse_and_change(started: Child) -> bytes:
        result = parse(started)
        with path.open("ab") as file:
            file.write(b"more")
        return result

    monkeypatch.setattr(Child, "manifest", parse_and_change)
    with pytest.raises(ModelError, match="changed while it was read"):
        open_network(path)


STAMP = FileStamp("/f", 100, 1)


def _sound() -> Network:
    weight = Weight("w", "kernel", (5, 2), "float32", ByteRange("/f", 60, 40))
    first = Layer("a", "Dense", {"units": 5}, ((3, 2),), (3, 5), (weight,), "Dense")
    layers = (first, Layer("b", "ReLU", {}, ((None, 5),), (None, 5)))
    return Network("n", "keras", layers, links=(Link("a", "b", 0, 1, 0, (3, 5), "inferred"),))


def test_what_the_child_tells_arrives() -> None:
    sound = _sound()
    found = decode(encode(sound), STAMP)
    assert (found.layers, found.links) == (sound.layers, sound.links)


def test_what_layers_share_is_told_once() -> None:
    """A graph of many operators is small to send: also where its objects are only equal."""
    one = _sound().layers[0]
    config = dict(one.config)
    many = tuple(
        replace(one, path=str(i), config=config, weights=(replace(one.weights[0]),))
        for i in range(2000)
    )
    links = tuple(Link(str(i), str(i + 1), shape=(3, 5)) for i in range(1999))
    sent = encode(Network("n", "x", many, links=links))
    assert sent.count(b"kernel") == sent.count(b"units") == 1
    assert len(sent) < 60 * len(many)
    found = decode(sent, STAMP)
    assert (found.layers, found.links) == (many, links)


def test_parent_trusts_no_manifest() -> None:
    """Ranges outside the file, shapes that do not fit, links to nowhere: all refused."""
    text = encode(_sound()).decode()
    for old, new in (
        ("[60,40]", "[61,40]"),
        ("[60,40]", "[-1,40]"),
        ("[60,40]", "[60,36]"),
        ("[5,2]", "[5,3]"),
        ("[5,2]", "[-5,-2]"),
        ("[5,2]", "[1e1]"),
        ("[5,2]", "[true,10]"),
        ("float32", "object"),
        ('["a","b"]', '["a","a"]'),
        ('["a","b"]', '["a",""]'),
        ('["a","b"]', '["a","b","c"]'),
        ('["a","b"]', '["a"]'),
        ('["a","b"]', '["a",7]'),
        ('"layers"', '"tiers"'),
    ):
        assert old in text
        with pytest.raises(UnreadableError):
            decode(text.replace(old, new).encode(), STAMP)


@pytest.mark.parametrize("table", ["layers", "links"])
def test_parent_trusts_no_number_in_a_column(table: str) -> None:
    """Each column of numbers, wrong in each way there is."""
    sound = json.loads(encode(_sound()))
    for at, column in enumerate(sound[table]):
        if not isinstance(column[0], int):
            continue
        wrong = [-1, True, 10**6, 10**30, "0", None, [0], 0.0]
        for bad in [*([n, *column[1:]] for n in wrong), [*column, 0], column[1:], None, {}]:
            told = json.loads(json.dumps(sound))
            told[table][at] = bad
            with pytest.raises(UnreadableError):
                decode(json.dumps(told).encode(), STAMP)
    for bad in (["w"], [True], [1], [-1], 0, None, {"0": 0}):
        told = json.loads(json.dumps(sound))
        told["layers"][5][0] = bad
        with pytest.raises(UnreadableError):
            decode(json.dumps(told).encode(), STAMP)


def test_little_that_is_named_often_is_refused() -> None:
    """A few characters must not become more to walk than would have been sent without sharing."""
    layers = tuple(Layer(str(i), "Dense") for i in range(2000))
    sound = json.loads(encode(Network("n", "x", layers)))
    long = json.loads(json.dumps(sound))
    long["configs"] = [{"text": "x" * 100_000}]
    long["layers"][2] = [0] * 2000
    wide = json.loads(json.dumps(sound))
    wide["shapes"], wide["inputs"] = [None, [1]], [[1] * 1000]
    wide["layers"][3] = [0] * 2000
    row = ["w", "", [600_000], "uint8", "A" * 800_000, None, ""]
    heavy = {**sound, "weights": [row]}
    heavy["layers"] = [*sound["layers"][:5], [[0]] * 2000, sound["layers"][6]]
    for told in (long, wide, heavy):
        with pytest.raises(UnreadableError, match="what is repeated"):
            decode(json.dumps(told).encode(), STAMP)
