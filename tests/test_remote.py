"""Measuring in processes that open the model by themselves."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from raw_network import sections, stamp, write

from explorer.errors import ModelError
from explorer.network import Network
from explorer.pyramid.plan import Piece
from explorer.pyramid.pyramid import Pyramid
from explorer.pyramid.workers import remote
from explorer.pyramid.workers.building import build_all
from explorer.pyramid.workers.remote import RemoteWork, close_idle, maker
from explorer.weights.connections import Connection
from explorer.weights.weight_reader import WeightReader

Made = tuple[Network, list[Connection]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return write(tmp_path / "numbers.bin")


def alone(network: Network, connections: list[Connection]) -> list[tuple[object, bytes]]:
    with WeightReader(network) as reader:
        pyramid = Pyramid(reader)
        for connection in connections:
            pyramid.build(connection)
        return sections(pyramid, connections)


def a_piece(connections: list[Connection]) -> Piece:
    connection = next(c for c in connections if c.target == "tall")  # too large to be kept whole
    return Pyramid(None).plan(connection).parts[0], 0  # type: ignore[arg-type]


def rewrite(path: Path, at: int) -> None:
    """Change one byte and nothing that a stamp shows."""
    before = os.stat(path)
    with path.open("r+b") as file:
        file.seek(at)
        old = file.read(1)[0]
        file.seek(at)
        file.write(bytes([old ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_other_processes_come_to_the_same_bytes(made: Made) -> None:
    network, connections = made
    work = RemoteWork.of(network)
    assert len(pickle.dumps(work)) < 1000
    fresh = multiprocessing.get_context("spawn")
    with WeightReader(network) as reader, ProcessPoolExecutor(2, mp_context=fresh) as pool:
        pyramid = Pyramid(reader)
        assert build_all(pyramid, connections, (pool, 2), work)
        assert sections(pyramid, connections) == alone(network, connections)
        # What goes wrong there is told here in the same line.
        Path(network.files[0].path).write_bytes(b"")
        again = pool.submit(work, [a_piece(connections)])
        with pytest.raises(ModelError, match=r"numbers\.bin: "):
            again.result()


def test_threads_share_one_open_file(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    network, connections = made
    close_idle()
    opened: list[object] = []

    class Counted(WeightReader):
        def __init__(self, network: Network) -> None:
            opened.append(self)
            super().__init__(network)

    monkeypatch.setattr(remote, "WeightReader", Counted)
    with WeightReader(network) as reader, ThreadPoolExecutor(4) as pool:
        pyramid = Pyramid(reader)
        assert build_all(pyramid, connections, (pool, 4), RemoteWork.of(network))
        assert sections(pyramid, connections) == alone(network, connections)
    assert len(opened) == 1


def test_files_that_nobody_reads_are_closed(tmp_path: Path) -> None:
    close_idle()
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("the system does not show which files are open")

    def held() -> set[str]:
        paths = (os.readlink(entry) for entry in folder.iterdir() if entry.is_symlink())
        return {Path(p).name for p in paths if p.startswith(str(tmp_path))}

    for name in "abc":
        network, connections = write(tmp_path / name)
        RemoteWork.of(network)([a_piece(connections)])
        assert held() == {name}  # the one before was closed
    close_idle()
    assert held() == set()


@pytest.mark.parametrize("at", [0, 5, 60_000, -60_000, -1])
def test_another_file_of_the_same_size_and_time_is_refused(made: Made, at: int) -> None:
    network, connections = made
    work = RemoteWork.of(network)
    path = Path(network.files[0].path)
    rewrite(path, at % path.stat().st_size)
    with pytest.raises(ModelError, match=r"numbers\.bin: not the file .*its bytes differ"):
        work([a_piece(connections)])


def test_another_model_is_refused_wherever_it_differs(tmp_path: Path) -> None:
    network, connections = write(tmp_path / "numbers.bin")
    work = RemoteWork.of(network)
    path, time = tmp_path / "numbers.bin", network.files[0].mtime_ns
    whole, other = path.read_bytes(), write(tmp_path / "other.bin", seed=4)[0]
    ends = remote._END
    trained = (tmp_path / "other.bin").read_bytes()
    assert len(trained) == len(whole)
    path.write_bytes(whole[:ends] + trained[ends:-ends] + whole[-ends:])
    os.utime(path, ns=(time, time))
    assert other.files[0].size == path.stat().st_size
    with pytest.raises(ModelError, match="its bytes differ"):
        work([a_piece(connections)])


def test_what_differs_is_told(made: Made) -> None:
    network, connections = made
    work, piece = RemoteWork.of(network), a_piece(connections)
    path = Path(network.files[0].path)
    whole, time = path.read_bytes(), network.files[0].mtime_ns
    path.write_bytes(whole[:-3])
    with pytest.raises(ModelError, match=rf"it has {len(whole) - 3} bytes, not {len(whole)}"):
        work([piece])
    path.write_bytes(whole)
    os.utime(path, ns=(time, time + 1))
    with pytest.raises(ModelError, match="changed at another time"):
        work([piece])
    path.unlink()
    with pytest.raises(ModelError, match=r"cannot be opened \(No such file"):
        work([piece])
    os.mkfifo(path)  # nobody writes into it, and nobody waits for that
    with pytest.raises(ModelError, match="not the file"):
        work([piece])


def test_a_copy_at_the_same_path_will_do(made: Made, tmp_path: Path) -> None:
    network, connections = made
    work, path = RemoteWork.of(network), Path(network.files[0].path)
    shutil.copy2(path, tmp_path / "copy")
    (tmp_path / "copy").replace(path)  # another inode, as on another machine
    assert work([a_piece(connections)])


def test_a_file_rewritten_while_it_is_read_is_refused(made: Made) -> None:
    network, connections = made
    work, piece = RemoteWork.of(network), a_piece(connections)
    assert work([piece])
    write(Path(network.files[0].path), seed=5)
    with pytest.raises(ModelError, match="changed while it was open"):
        work([piece])


def test_a_small_file_is_looked_at_whole(tmp_path: Path) -> None:
    path = tmp_path / "few"
    for size in (0, 1, 5000):
        path.write_bytes(bytes(size))
        seen = remote.SeenFile.of(stamp(path))
        seen.check()
        for at in {0, size // 2, size - 1} if size else ():
            rewrite(path, at)
            with pytest.raises(ModelError, match="its bytes differ"):
                seen.check()
            rewrite(path, at)
        seen.check()


def test_two_machines_can_tell_whether_they_measure_alike() -> None:
    assert maker()["neuronaut"]
    assert maker() == pickle.loads(pickle.dumps(dict(maker())))
    error = pickle.loads(pickle.dumps(ModelError("a.keras", "is gone")))
    assert (str(error), error.path, error.reason) == ("a.keras: is gone", "a.keras", "is gone")
