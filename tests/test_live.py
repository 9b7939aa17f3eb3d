"""Live objects of PyTorch and ONNX open like the files they would be saved to."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import explorer
from explorer.errors import NeuronautError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Net(torch.nn.Module):
    """A convolution, a skip and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.second = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Through all of them."""
        y = torch.relu(self.first(x))
        return self.head((y + self.second(y)).mean((2, 3)))


def test_a_module_of_pytorch_opens_by_its_state_or_with_an_example_by_its_graph() -> None:
    net = Net().eval()
    with explorer.open_network(net) as view:
        assert [la.path for la in view.network.layers] == ["first", "second", "head"]
        assert not view.network.links_known
    with explorer.open_network(net, example=(torch.zeros(1, 3, 8, 8),)) as view:
        assert {k.origin for k in view.network.links} == {"recorded"}
        found = view.edges("first", "second", top=100)["edges"]
        rms = np.sqrt((net.second.weight.detach().numpy().astype(float) ** 2).mean((2, 3)))
        assert len(found) == 16
        for edge in found:
            expected = rms[edge["to_unit"], edge["from_unit"]]
            assert edge["magnitude"] == pytest.approx(expected, rel=1e-6)


def test_a_model_of_onnx_opens() -> None:
    value = helper.make_tensor_value_info
    kernel = np.arange(6, dtype=np.float32).reshape(3, 2)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "dense")], "small", [value("x", 1, [1, 3])],
        [value("y", 1, [1, 2])], [numpy_helper.from_array(kernel, "w")])  # fmt: skip
    with explorer.open_network(helper.make_model(graph, ir_version=9)) as view:
        assert (view.network.name, view.network.format) == ("small", "onnx")
        found = view.edges("x", "dense", top=1)["edges"][0]
        assert (found["to_unit"], found["from_unit"], found["magnitude"]) == (1, 2, 5.0)


def test_what_cannot_be_opened_is_told() -> None:
    with pytest.raises(NeuronautError, match="cannot open a list: give a path"):
        explorer.open_network([1, 2])
    with pytest.raises(NeuronautError, match="PyTorch cannot export this module"):
        explorer.open_network(Net(), example=(torch.zeros(1, 7, 8, 8),))
    with pytest.raises(NeuronautError, match=r"used with a torch\.nn\.Module alone"):
        explorer.open_network(onnx.ModelProto(), example=(1,))
