"""Groups and headers of HDF5 files against libhdf5."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from explorer.formats.containers.hdf5 import Hdf5
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError


def _read(path: Path) -> Hdf5:
    with path.open("rb") as file:
        hdf5 = Hdf5(Source(str(path), file.fileno()).view())
        _ = hdf5.root.links
        return hdf5


@pytest.mark.parametrize("members", [0, 1, 8, 9, 500, 5000])
@pytest.mark.parametrize("name", ["layer", "läyer"])
def test_members_of_groups_of_any_size(tmp_path: Path, members: int, name: str) -> None:
    """From one symbol table to a B-tree of several levels; other letters make a newer group."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for k in range(members):
            file.create_group(f"{name}_{k * 7919 % 10007}")
        expected = {key: h5py.h5o.get_info(group.id).addr for key, group in file.items()}
    assert _read(path).root.links == expected


def test_header_that_goes_on_elsewhere(tmp_path: Path) -> None:
    """Attributes that were added late lie in blocks of their own."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("g")
        for k in range(40):
            group.attrs[f"a{k}"] = f"value {k}"
            file.create_group(f"between_{k}")
        group.create_dataset("d", data=np.arange(6, dtype="<f4").reshape(2, 3))
        offset = group["d"].id.get_offset()
    with path.open("rb") as stream:
        group = Hdf5(Source(str(path), stream.fileno()).view()).root.child("g")
        assert group is not None
        assert [group.text(f"a{k}") for k in range(40)] == [f"value {k}" for k in range(40)]
        child = group.child("d")
        assert child is not None
        assert child.is_dataset
        assert not group.is_dataset
        tensor = child.tensor()
        assert (tensor.shape, tensor.dtype) == ((2, 3), "float32")
        assert tensor.where is not None
        assert tensor.where.offset == offset  # type: ignore[union-attr]


@pytest.mark.parametrize("signature", [b"TREE", b"SNOD", b"HEAP"])
def test_damaged_group_is_refused_in_one_line(tmp_path: Path, signature: bytes) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_group("inside")
    data = path.read_bytes()
    assert signature in data
    path.write_bytes(data.replace(signature, b"XXXX"))
    with pytest.raises(UnreadableError, match="damaged at '/'"):
        _read(path)


def test_tree_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        for k in range(500):
            file.create_group(f"g{k}")
    data = bytearray(path.read_bytes())
    root = next(at for at in _places(data, b"TREE") if data[at + 5] == 1)
    (count,) = struct.unpack_from("<H", data, root + 6)
    for k in range(count):  # every child is the root itself
        struct.pack_into("<Q", data, root + 24 + 16 * k + 8, root)
    path.write_bytes(bytes(data))
    with pytest.raises(UnreadableError, match="damaged"):
        _read(path)


def _places(data: bytearray, what: bytes) -> list[int]:
    found, at = [], data.find(what)
    while at >= 0:
        found.append(at)
        at = data.find(what, at + 1)
    return found
