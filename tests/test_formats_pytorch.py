"""Files of PyTorch: the numbers are PyTorch's own, and nothing that a pickle names is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer.errors import ModelError
from explorer.formats import open_network, pytorch
from explorer.formats.containers.pickles import tensors_in, unpickle
from explorer.formats.containers.source import Source
from explorer.formats.record import UnreadableError
from explorer.network import Network
from explorer.weights.connections import connections_of
from explorer.weights.weight_reader import WeightReader


class Net(torch.nn.Module):
    """A little of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, (3, 2))
        self.norm = torch.nn.BatchNorm2d(8)
        self.deep = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, groups=8), torch.nn.ReLU(),
                                        torch.nn.Linear(8, 6))  # fmt: skip
        self.lstm = torch.nn.LSTM(8, 6, 2, bidirectional=True)
        self.gru = torch.nn.GRU(8, 6)
        self.head = torch.nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Enough to be traced."""
        return self.deep[0](self.norm(self.conv(x)))


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def _same(network: Network, state: dict[str, torch.Tensor]) -> None:
    found = {w.name: w for layer in network.layers for w in layer.weights}
    assert set(found) == set(state)
    with WeightReader(network) as reader:
        for name, tensor in state.items():
            expected = tensor.detach()
            if expected.dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn):
                expected = expected.to(torch.float32)
            np.testing.assert_array_equal(reader.read(found[name]), expected.numpy(), name)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_every_way_to_save_a_model_gives_its_tensors(net: Net, tmp_path: Path) -> None:
    state = net.state_dict()
    adam = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 3, 9, 9)).sum().backward()
    adam.step()
    checkpoint = {"epoch": 3, "model": state, "optimizer": adam.state_dict(), "args": object}
    torch.save(state, tmp_path / "state.pt")
    torch.save(checkpoint, tmp_path / "checkpoint.pth")
    torch.save(net, tmp_path / "whole.bin")
    torch.save(state, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.jit.trace(net, torch.zeros(1, 3, 9, 9)).save(tmp_path / "script.pt")
    for path in sorted(tmp_path.iterdir()):
        network = open_network(path)
        assert network.format == "pytorch"
        own = {k: v for k, v in state.items() if path.name != "script.pt" or "batches" not in k}
        found = {w.name for la in network.layers for w in la.weights}
        if path.name == "script.pt":
            own = {k: v for k, v in state.items() if k in found}
            assert {k for k in state if k.startswith(("conv", "norm.w", "deep.0"))} <= found
        _same(network, own)
        assert next(la.path for la in network.layers) == "conv"


def test_every_type_and_shared_storages(tmp_path: Path) -> None:
    whole = torch.arange(24, dtype=torch.float32)
    state = {
        f"x{i}.weight": (torch.randn(3, 4) * 4).to(dtype)
        for i, dtype in enumerate((torch.float64, torch.float16, torch.bfloat16, torch.int64,
                                   torch.int8, torch.uint8, torch.int16, torch.bool,
                                   torch.float8_e4m3fn))
    } | {"a.weight": whole[4:16].reshape(3, 4), "b.weight": whole[:12].reshape(4, 3),
         "tied.weight": whole[:12].reshape(4, 3), "one": torch.tensor(3.0)}  # fmt: skip
    torch.save(state, tmp_path / "x")
    network = open_network(tmp_path / "x")
    _same(network, state)


def test_a_turned_tensor_is_told_and_never_read_wrongly(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.arange(6.0).reshape(2, 3).T, "b.weight": torch.ones(2, 2),
                "c.weight": torch.ones(1).expand(3, 3)}, tmp_path / "x")  # fmt: skip
    network = open_network(tmp_path / "x")
    places = {la.path: la.weights[0].where for la in network.layers}
    assert places["a"] is None
    assert places["c"] is None
    assert places["b"] is not None
    assert any("2 tensors are" in note for note in network.notes)


def test_matrices_are_pytorchs(net: Net, tmp_path: Path) -> None:
    """The matrix of a connection is what the layer multiplies with: a one-hot goes through it."""
    torch.save(net.state_dict(), tmp_path / "x.pt")
    network = open_network(tmp_path / "x.pt")
    layers = network.layer_by_path
    with WeightReader(network) as reader:

        def dense(path: str, at: int = 0) -> np.ndarray:
            connection = connections_of(layers[path])[at]
            whole = np.zeros((connection.out_units, connection.in_units))
            for m in connection.matrices:
                flat = reader.read(m.weight).ravel()
                tap, row, column = np.indices((m.taps, m.major, m.minor))
                value = flat[m.offset + tap * m.tap_stride + row * m.major_stride
                             + column * m.minor_stride]  # fmt: skip
                out, inside = (row, column) if m.transposed else (column, row)
                out = row * m.minor + column if m.diagonal else out
                np.add.at(whole, (m.out_start + out, m.in_start + inside), value)
            return whole

        def slopes(layer: Any, channels: int, shape: tuple[int, ...]) -> np.ndarray:
            """Σ over taps: how the outputs of a convolution move with each input channel."""
            made = []
            for channel in range(channels):
                x = torch.zeros(1, channels, *shape)
                x[0, channel] = 1
                made.append((layer(x) - layer(torch.zeros_like(x))).detach()[0, :, 0, 0].numpy())
            return np.stack(made, axis=1)

        np.testing.assert_allclose(dense("conv"), slopes(net.conv, 3, (3, 2)), atol=1e-6)
        np.testing.assert_allclose(dense("deep/0"), slopes(net.deep[0], 8, (3, 3)), atol=1e-6)
        np.testing.assert_allclose(dense("head"), net.head.weight.detach().numpy())
        for name, own in (("lstm_l0", net.lstm), ("gru_l0", net.gru)):
            np.testing.assert_allclose(dense(name), own.weight_ih_l0.detach().numpy())
            np.testing.assert_allclose(dense(name, 1), own.weight_hh_l0.detach().numpy())
    assert layers["lstm_l1_reverse"].kind == "LSTM"
    assert layers["gru_l0"].config["units"] == 6


# -- what a stranger may send ----------------------------------------------------------------------


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def _archive(path: Path, data: bytes, members: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("x/data.pkl", data)
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return path


def test_nothing_that_a_pickle_names_is_run(tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    state = {"weight": torch.ones(2, 2), "evil": Command(touched)}
    torch.save(state, tmp_path / "x.pt")
    found = open_network(tmp_path / "x.pt")
    assert [w.name for la in found.layers for w in la.weights] == ["weight"]
    for protocol in range(6):
        unpickle(io.BytesIO(pickle.dumps(Command(touched), protocol)))
        unpickle(io.BytesIO(pickle.dumps([eval, os.system, __import__, open], protocol)))
    code = b"cbuiltins\neval\n(S'open(\"" + str(touched).encode() + b'", "w")\'\ntR.'
    unpickle(io.BytesIO(code))
    assert not touched.exists()


def test_bombs_end_quickly(tmp_path: Path) -> None:
    laughs = b"\x80\x02]q\x00"
    for i in range(40):  # each list holds the one before nine times
        laughs += b"(" + (b"h" + bytes([i])) * 9 + b"lq" + bytes([i + 1])
    laughs += b"."
    assert tensors_in(unpickle(io.BytesIO(laughs))) == {}
    unpickle(io.BytesIO(b"\x80\x02]r" + struct.pack("<I", 0x7FFFFFFF) + b"."))
    for data in (
        b"",
        b".",
        b"\x80\x09.",
        b"\x80\x02(((((",
        b"\x80\x02]",
        b"cx\ny\n",
        b"\x8e" + b"\xff" * 8,
    ):
        with pytest.raises(UnreadableError):
            unpickle(io.BytesIO(data))
    deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
    assert tensors_in(unpickle(io.BytesIO(deep))) == {}


def _tensor_pickle(storage: tuple[Any, ...], args: tuple[Any, ...]) -> bytes:
    """A state dict of one tensor, written as PyTorch does, with numbers of our own."""

    class Writer(pickle._Pickler):
        def persistent_id(self, value: object) -> object:
            return value if isinstance(value, tuple) and value[:1] == ("storage",) else None

    class Made:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (storage, *args, False, {})

    out = io.BytesIO()
    Writer(out, 2).dump({"weight": Made()})
    return out.getvalue()


@pytest.mark.parametrize(("size", "args", "reason"), [
    (4, (0, (100,), (1,)), "reaches beyond its storage"),
    (4, (3, (2,), (1,)), "reaches beyond its storage"),
    (4, (0, (2, 2), (2**40, 1)), "reaches beyond its storage"),
    (2**40, (0, (4,), (1,)), "shorter than its tensors"),
    (2**63, (0, (4,), (1,)), "impossible storage"),
    (-1, (0, (4,), (1,)), "impossible storage"),
    (4, (-1, (4,), (1,)), "holds no tensors"),
    (4, (0, (2**62, 4), (1, 1)), "holds no tensors"),
    (4, (0, (4,), (1, 1)), "holds no tensors"),
])  # fmt: skip
def test_tensors_that_lie_are_told(size: int, args: tuple[Any, ...], reason: str,
                                   tmp_path: Path) -> None:  # fmt: skip
    storage = ("storage", torch.FloatStorage, "0", "cpu", size)
    path = _archive(tmp_path / "x", _tensor_pickle(storage, args), {"x/data/0": bytes(16)})
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(UnreadableError, match=reason):
            pytorch.read(Source(str(path), descriptor))
    finally:
        os.close(descriptor)


def test_a_storage_is_no_path(tmp_path: Path) -> None:
    storage = ("storage", torch.FloatStorage, "../../../etc/passwd", "cpu", 4)
    path = _archive(tmp_path / "x", _tensor_pickle(storage, (0, (4,), (1,))))
    with pytest.raises(ModelError, match="holds no x/data/"):
        open_network(path)


def test_a_legacy_file_cut_off_is_told(net: Net, tmp_path: Path) -> None:
    torch.save(net.state_dict(), tmp_path / "x", _use_new_zipfile_serialization=False)
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[: len(data) - 500])
    with pytest.raises(ModelError, match="cut off within its tensors"):
        open_network(tmp_path / "x")
