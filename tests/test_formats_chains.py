"""Links inferred from names of PyTorch's modules: none that the exported graph does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import explorer
from explorer.formats import open_network
from explorer.network import Network
from explorer.open_model import OpenModel
from explorer.report import edges_json

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
Pairs = set[tuple[str, str]]
_PARTS = ("query", "key", "value", "rnn")


class Block(nn.Module):
    """A block of a ResNet."""

    def __init__(self, inside: int, out: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False, groups=groups)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1:
            side = nn.Conv2d(inside, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(side, nn.BatchNorm2d(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of both ways."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Two stages, called as torchvision calls them."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8, 1, groups), Block(8, 8, 1, groups))
        self.layer2 = nn.Sequential(Block(8, 16, 2, groups), Block(16, 16, 1, groups))
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Through all of it."""
        x = self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


class Vgg(nn.Module):
    """Features, pooled to 3 x 3, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Linear(72, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Through all of it."""
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class SideBySide(nn.Module):
    """Numbered layers that could be a chain by their widths, and are none."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of all."""
        return torch.stack([head(x) for head in self.heads]).sum(0)


def encoder(first: bool) -> nn.Module:
    """A stack of PyTorch's own encoder layers."""
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, norm_first=first, batch_first=True)
    return nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)


def decoder(first: bool) -> nn.Module:
    """A stack of PyTorch's own decoder layers."""
    layer = nn.TransformerDecoderLayer(8, 2, 12, 0.0, norm_first=first, batch_first=True)
    return nn.TransformerDecoder(layer, 2)


def flat() -> nn.Module:
    """Convolutions in groups, a flattening, a dense layer."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 8, 3, groups=8),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


IMAGE, ROW = (torch.zeros(2, 3, 12, 12),), torch.zeros(2, 5, 8)
WHOLE: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {
    "sequential": (flat(), (torch.zeros(2, 3, 10, 10),)),
    "nested": (nn.Sequential(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), nn.Linear(6, 3)),
               (torch.zeros(2, 4),)),
    "resnet": (ResNet(), IMAGE),
    "resnext": (ResNet(groups=4), IMAGE),
    "vgg": (Vgg(), IMAGE),
}  # fmt: skip
PARTLY: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {
    "lists": (SideBySide(), (torch.zeros(2, 4),)),
    "encoder": (encoder(False), (ROW,)),
    "encoder, norm first": (encoder(True), (ROW,)),
    "decoder": (decoder(False), (ROW, ROW)),
    "decoder, norm first": (decoder(True), (ROW, ROW)),
    "attention": (nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True),
                  (ROW, torch.zeros(2, 5, 6), torch.zeros(2, 5, 4))),
}  # fmt: skip


def truth(module: nn.Module, example: tuple[Any, ...]) -> Pairs:
    """Modules with parameters, and which of them read what others give, as exported."""
    program = torch.export.export(module.train(), example)
    names = program.graph_signature.inputs_to_parameters
    before: dict[Any, set[str]] = {}
    stored: dict[Any, set[str]] = {}  # what comes of parameters alone
    pairs: Pairs = set()
    for node in program.graph.nodes:
        if node.name in names:
            stored[node] = {names[node.name].rpartition(".")[0].replace(".", "/")}
            continue
        inputs = node.all_input_nodes
        if inputs and all(a in stored for a in inputs):
            stored[node] = set().union(*map(stored.__getitem__, inputs))
            continue
        own = set().union(*(stored.get(a, set()) for a in inputs))
        given = set().union(*(before.get(a, set()) for a in inputs))
        pairs |= {(a, b) for a in given for b in own if a != b}
        before[node] = own or given
    return pairs


def inferred(network: Network) -> Pairs:
    """The same of a network: layers of the file, through those put in between."""
    onward: dict[str, list[str]] = {}
    for link in network.links:
        assert link.origin == "inferred"
        onward.setdefault(link.source, []).append(link.target)
    pairs = set()
    for layer in network.layers:
        todo = list(onward.get(layer.path, ())) if layer.weights else []
        while todo:
            end = todo.pop()
            if network.layer_by_path[end].weights:
                pairs.add((_module(layer.path), _module(end)))
            else:
                todo += onward.get(end, ())
    return {(a, b) for a, b in pairs if a != b}


def _module(path: str) -> str:
    """The module that a layer is a part of."""
    head, _, last = path.rpartition("/")
    return head if last in _PARTS else path


def saved(module: nn.Module, folder: Path) -> Path:
    torch.save(module.state_dict(), folder / "module.pt")
    return folder / "module.pt"


@pytest.mark.parametrize("name", WHOLE)
def test_a_chain_is_the_exported_graph(name: str, tmp_path: Path) -> None:
    module, example = WHOLE[name]
    network = open_network(saved(module, tmp_path))
    assert inferred(network) == truth(module, example)
    assert not any("do not fit" in note for note in network.notes)
    told = {n.replace(".", "/"): m.groups for n, m in module.named_modules()
            if isinstance(m, nn.Conv2d)}  # fmt: skip
    assert told == {
        la.path: la.config.get("groups", 1) for la in network.layers if la.op == "Conv2D"
    }


@pytest.mark.parametrize("name", PARTLY)
def test_what_is_not_sure_has_no_link(name: str, tmp_path: Path) -> None:
    module, example = PARTLY[name]
    found, real = inferred(open_network(saved(module, tmp_path))), truth(module, example)
    assert found <= real
    assert len(found) == {"lists": 0, "attention": 1}.get(name, len(found))
    assert ("layers/0/linear1", "layers/0/linear2") in found or "coder" not in name


@pytest.mark.parametrize("name", [n for n in PARTLY if "coder" in n])
def test_a_live_transformer_tells_where_its_norms_stand(name: str) -> None:
    module, example = PARTLY[name]
    with explorer.open_network(module) as view:
        assert inferred(view.network) == truth(module, example)
        for link in view.network.links:  # what it attends to is not in the module
            assert not link.target.endswith(("multihead_attn/key", "multihead_attn/value"))


def test_a_chain_of_which_one_pair_does_not_fit_has_no_links(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(7, 2))
    network = open_network(saved(module, tmp_path))
    assert not network.links
    assert not network.links_known


def test_edges_through_a_flattening_are_what_the_module_answers(tmp_path: Path) -> None:
    module = flat().eval()
    planes = torch.zeros(8, 2, 2)
    slope = torch.autograd.functional.jacobian(lambda x: module[6](x.flatten()), planes).numpy()
    expected = np.sqrt((slope.astype(float) ** 2).mean((2, 3)))
    with OpenModel.open(str(saved(module, tmp_path))) as model:
        found = edges_json(model, "3", "6", 1000)["edges"]
        assert len(found) == 80
        for edge in found:
            value = expected[edge["to_unit"], edge["from_unit"]]
            assert edge["magnitude"] == pytest.approx(value, rel=1e-5)
        depthwise = edges_json(model, "2", "3", 1000)["edges"]
        assert {(e["from_unit"], e["to_unit"]) for e in depthwise} == {(i, i) for i in range(8)}
        pairs = {(e["from_unit"] // 2, e["to_unit"] // 4) for e in
                 edges_json(model, "0", "2", 1000)["edges"]}  # fmt: skip
        assert pairs == {(0, 0), (1, 1)}


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_levels_of_a_recurrent_module_feed_each_other(kind: type, tmp_path: Path) -> None:
    module = kind(3, 5, num_layers=2, bidirectional=True)
    network = open_network(saved(module, tmp_path))
    both = ("rnn_l1", "rnn_l1_reverse")
    assert {(k.source, k.target) for k in network.links} == {
        *((f"rnn_l{n}{way}", f"rnn_l{n}_concatenate") for n in (0, 1) for way in ("", "_reverse")),
        *(("rnn_l0_concatenate", path) for path in both),
    }
    gates = {"LSTM": ["input gate", "forget gate", "cell", "output gate"],
             "GRU": ["reset gate", "update gate", "candidate"]}[kind.__name__]  # fmt: skip
    with OpenModel.open(str(tmp_path / "module.pt")) as model:
        for source, shift in (("rnn_l0", 0), ("rnn_l0_reverse", 5)):
            hot = torch.eye(10)[shift : shift + 5]  # the other direction rests
            answer = nn.functional.linear(hot, module.weight_ih_l1_reverse).detach().numpy()
            for number, gate in enumerate(gates):
                found = edges_json(model, source, f"rnn_l1_reverse[{gate}]", 1000)["edges"]
                assert len(found) == 25
                for edge in found:
                    value = answer[edge["from_unit"], 5 * number + edge["to_unit"] % 5]
                    assert edge["signed_mean"] == pytest.approx(value, rel=1e-6)


def test_a_live_attention_has_its_heads_and_passes_values_to_what_reads_them() -> None:
    torch.manual_seed(3)
    module = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    with explorer.open_network(module) as view:
        assert view.network.layer_by_path["mix"].config["heads"] == 2
        found = view.edges("value", "out_proj", top=1000)["edges"]
    # Of one token alone attention hands its value on, whatever query and key are.
    token = torch.zeros(1, 1, 8)
    values = torch.linalg.pinv(module.in_proj_weight[16:])

    def attend(value: torch.Tensor) -> torch.Tensor:
        return module(token, token, (value @ values.T).reshape(1, 1, 8))[0].reshape(8)

    slope = torch.autograd.functional.jacobian(attend, torch.zeros(8)).numpy()
    assert len(found) == 64
    for edge in found:
        value = slope[edge["to_unit"], edge["from_unit"]]
        assert edge["signed_mean"] == pytest.approx(value, abs=1e-4)


def test_biases_give_a_transposed_convolution_away(tmp_path: Path) -> None:
    module = nn.ConvTranspose2d(6, 4, 3, groups=2)
    (layer,) = open_network(saved(module, tmp_path)).layers
    assert (layer.op, layer.config["groups"]) == ("Conv2DTranspose", 2)
    assert {w.axes for w in layer.weights} == {"iokk", ""}


def test_a_live_convolution_is_grouped_and_transposed_as_it_is() -> None:
    module = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2, bias=False),
                           nn.ConvTranspose2d(6, 4, 3, groups=2, bias=False))  # fmt: skip
    with explorer.open_network(module) as view:
        assert [la.op for la in view.network.layers] == ["Conv2D", "Conv2DTranspose"]
        found = view.edges("0", "1", top=1000)["edges"]
        assert len(found) == 12
        kernel = module[1].weight.detach().numpy().astype(float)
        for edge in found:
            source, target = edge["from_unit"], edge["to_unit"]
            assert source // 3 == target // 2
            rms = np.sqrt((kernel[source, target % 2] ** 2).mean())
            assert edge["magnitude"] == pytest.approx(rms, rel=1e-6)


class Recurrent(nn.Module):
    """Levels and directions one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 6)
        self.first = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True)
        self.second = nn.GRU(10, 4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of the last step."""
        return self.head(self.second(self.first(self.words(x))[0])[0][:, -1])


def planes() -> nn.Module:
    """Convolutions that are transposed, in groups, depthwise, along one axis."""
    return nn.Sequential(
        nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2), nn.Conv2d(4, 8, 3, groups=4), nn.SiLU(),
        nn.ConvTranspose2d(8, 6, (2, 3)), nn.Flatten(2), nn.Conv1d(6, 5, 3), nn.AvgPool1d(2),
    )  # fmt: skip


LIVE: dict[str, tuple[nn.Module, tuple[Any, ...]]] = {
    "recurrent": (Recurrent(), (torch.zeros(2, 7, dtype=torch.long),)),
    "planes": (planes(), (torch.zeros(2, 6, 5, 5),)),
    "transformer": (nn.Transformer(8, 2, 1, 1, 12, 0.0, batch_first=True), (ROW, ROW)),
}


def recorded(network: Network) -> Pairs:
    """Modules with parameters, and which read what others give, by links that are recorded."""
    own = {
        la.path: {w.name.partition("[")[0].rpartition(".")[0].replace(".", "/")
                  for w in la.weights}
        for la in network.layers
    }  # fmt: skip
    onward: dict[str, list[str]] = {}
    for link in network.links:
        assert link.origin == "recorded"
        onward.setdefault(link.source, []).append(link.target)
    pairs: Pairs = set()
    for layer in network.layers:
        todo, seen = list(onward.get(layer.path, ())) if own[layer.path] else [], set()
        while todo:
            end = todo.pop()
            if end in seen:
                continue
            seen.add(end)
            pairs |= {(a, b) for a in own[layer.path] for b in own[end] if a != b}
            todo += [] if own[end] else onward.get(end, ())
    return pairs


@pytest.fixture(scope="module")
def live() -> Any:
    """Views of modules with an example, each made once."""
    made: dict[str, explorer.View] = {}

    def get(name: str) -> explorer.View:
        if name not in made:
            module, example = LIVE[name]
            made[name] = explorer.open_network(module.eval(), example=example)
        return made[name]

    yield get
    for view in made.values():
        view.close_files()


@pytest.mark.parametrize("name", LIVE)
def test_a_live_module_with_an_example_is_its_exported_graph(name: str, live: Any) -> None:
    module, example = LIVE[name]
    assert recorded(live(name).network) == truth(module, example)
    assert live(name).network.parameters == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("source", "target"), [("input", "0"), ("0", "1"), ("1", "3"), ("3", "5")])
def test_one_hots_through_convolutions_are_the_edges(source: str, target: str, live: Any) -> None:
    view = live("planes")
    module = LIVE["planes"][0].get_submodule(target)
    size = (9,) * (len(module.kernel_size))
    expected = np.zeros((module.out_channels, module.in_channels))
    for channel in range(module.in_channels):
        hot = torch.zeros(1, module.in_channels, *size)
        hot[(0, channel, *(4 for _ in size))] = 1.0
        bias, module.bias = module.bias, None
        answer = module(hot)[0].flatten(1).double()
        module.bias = bias
        taps = module.weight[0, 0].numel()
        expected[:, channel] = (answer.square().sum(1) / taps).sqrt().detach().numpy()
    start = view.network.links[0].source if source == "input" else source
    found = view.edges(start, target, top=1000)["edges"]
    assert len(found) == np.count_nonzero(expected)
    for edge in found:
        value = expected[edge["to_unit"], edge["from_unit"]]
        assert edge["magnitude"] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(("source", "target", "name", "columns"), [
    ("words", "first/l0_reverse", "first.weight_ih_l0_reverse", (0, 6)),
    ("first/l0_reverse", "first/l1", "first.weight_ih_l1", (5, 10)),
    ("first/l1", "second/l0", "second.weight_ih_l0", (0, 5)),
    ("second/l0", "second/l1", "second.weight_ih_l1", (0, 4)),
])  # fmt: skip
def test_gates_of_a_live_module_read_what_the_level_before_gives(
    source: str, target: str, name: str, columns: tuple[int, int], live: Any
) -> None:
    module = LIVE["recurrent"][0]
    weight = module.get_parameter(name)
    hots = torch.eye(weight.shape[1])[slice(*columns)]
    answer = nn.functional.linear(hots, weight).detach().numpy()
    gates = {
        "first": ("input gate", "forget gate", "cell", "output gate"),
        "second": ("reset gate", "update gate", "candidate"),
    }[target.partition("/")[0]]
    units = weight.shape[0] // len(gates)
    for number, gate in enumerate(gates):
        found = live("recurrent").edges(source, f"{target}[{gate}]", top=1000)["edges"]
        assert len(found) == units * len(hots)
        for edge in found:
            value = answer[edge["from_unit"], number * units + edge["to_unit"] % units]
            assert edge["signed_mean"] == pytest.approx(value, rel=1e-6)
