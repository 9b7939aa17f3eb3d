"""The same kinds of layers as one network of PyTorch, in every format that it is saved to."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn
from truth import Array, Matrix, convolved, multiplied

SIZES = {"first": (4, (3, 3)), "deep": (8, (2, 3)), "grouped": (16, (3, 2))}
"""In channels and window of each convolution."""


class Net(nn.Module):
    """Convolutions, recurrent layers both ways, attention, a skip and two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 16, (2, 3), groups=8)
        self.grouped = nn.Conv2d(16, 12, (3, 2), groups=2)
        self.lstm = nn.LSTM(12, 5, batch_first=True)
        self.both = nn.LSTM(5, 4, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 6, batch_first=True)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.hidden = nn.Linear(6, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Through all of them."""
        x = self.grouped(self.deep(torch.relu(self.first(image))))
        x = x.flatten(2).transpose(1, 2)
        x = self.gru(self.both(self.lstm(x)[0])[0])[0]
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.head(torch.relu(self.hidden(x.mean(1))))


def network() -> Net:
    """The network with random weights and biases."""
    torch.manual_seed(23)
    net = Net()
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0.0, 0.4)
    return net.eval()


def numpy(tensor: torch.Tensor) -> Array:
    """An array of a tensor."""
    return tensor.detach().numpy().astype(np.float64)


class Oracle:
    """Answers of the real modules."""

    def __init__(self, net: Net) -> None:
        self.net = net

    @functools.cache  # noqa: B019
    def matrix(self, name: str) -> Matrix:
        """Of a convolution or a linear layer."""
        module = self.net.get_submodule(name)
        if name not in SIZES:
            return multiplied(lambda x: numpy(module(torch.tensor(x).float())), module.in_features)

        def answer(images: Array) -> Array:
            planes = torch.tensor(images).float().permute(0, 3, 1, 2)
            high, wide = SIZES[name][1]
            module.padding = (high - 1, wide - 1)  # every tap sees the middle whatever the padding
            return numpy(module(planes).permute(0, 2, 3, 1))

        kept = module.padding
        found = convolved(answer, *SIZES[name])
        module.padding = kept
        return found

    def states(self, name: str, inputs: Array) -> Array:
        """What a recurrent module answers without its biases, in the order in which it reads.

        Of ``both/backward``, which reads from the end, inputs are given from the end too.
        """
        head, _, way = name.partition("/")
        module = copy.deepcopy(getattr(self.net, head))
        for key, parameter in module.named_parameters():
            if key.startswith("bias"):
                nn.init.zeros_(parameter)
        with torch.no_grad():
            given = torch.tensor(inputs[::-1].copy() if way == "backward" else inputs).float()
            found = numpy(module(given[None])[0][0])
        if way == "backward":
            return found[::-1, found.shape[1] // 2 :]
        return found[:, : found.shape[1] // 2] if way else found

    def attended(self, inputs: Array) -> Array:
        """What the attention answers without biases, (time, 6) to (time, 6)."""
        module = copy.deepcopy(self.net.attention)
        nn.init.zeros_(module.in_proj_bias)
        nn.init.zeros_(module.out_proj.bias)
        x = torch.tensor(inputs).float()[None]
        return numpy(module(x, x, x)[0][0])


def written(net: Net, form: str, folder: Path) -> Path:
    """The network in a format."""
    image, path = torch.randn(1, 4, 6, 6), folder / form
    if form == "pt2":
        torch.export.save(torch.export.export(net, (image,)), folder / "m.pt2")
        return folder / "m.pt2"
    if form.startswith("onnx"):
        torch.onnx.export(net, (image,), str(path), dynamo=form == "onnx dynamo", verbose=False)
    elif form == "torchscript":
        torch.jit.save(torch.jit.trace(net, image), path)
    elif form == "safetensors":
        safetensors.torch.save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=form != "pth")
    return path
