"""From the graph of a program of ``torch.export`` to layers and links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from explorer.formats.naming.text import Names, clean_tree
from explorer.formats.onnx_model.operators import Meaning
from explorer.formats.record import UnreadableError
from explorer.formats.torch_program.operators import CELLS, CONSTANT, Node, cells, meaning
from explorer.network import ByteRange, Layer, Link, Network, Scope, Shape, Weight
from explorer.plain_text import clean

_OWN = "torch.nn.modules."
_TURNS = ("t", "transpose", "permute")
_CUTS = ("split", "split_with_sizes", "chunk")
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")
_MOST = 64  # numbers of a list that is shown
Module = tuple[str, str]
"""Path of a module and name of its class."""


class Graph:
    """Layers and links of a program.

    Parameters
    ----------
    module : mapping
        ``graph_module`` of the file.
    weights : mapping of str to Weight
        By their names in the program; tied ones are the same object.
    notes : list of str
    """

    def __init__(
        self, module: Mapping[str, Any], weights: Mapping[str, Weight], notes: list[str]
    ) -> None:
        graph = module["graph"]
        self._weights, self._notes, self._nodes = weights, notes, graph["nodes"]
        values = graph["tensor_values"].items()
        self._shapes: dict[str, Shape | None] = {n: _shape(v["sizes"]) for n, v in values}
        self._stored: dict[str, Weight] = {}
        self._turned: set[str] = set()
        self._made: dict[str, tuple[str, int]] = {}
        self._names = Names()
        self._layers: list[Layer] = []
        self._links: list[Link] = []
        self._used: set[str] = set()
        specs = module["signature"]["input_specs"]
        stored = {
            str(e["arg"].get("name")) for s in specs for k, e in s.items() if k != "user_input"
        }
        stacks = [_stack(n) for n in self._nodes if _tensors(n["outputs"]) and
                  not _from_nothing(n) and not _turns(n, stored)]  # fmt: skip
        self._alone = _alone(stacks)
        self._scopes = self._all_scopes(stacks)
        self._signature(specs)
        for node in self._nodes:
            self._node(node)
        self._unused()

    def network(self, name: str) -> Network:
        """What was found."""
        if not self._layers:
            raise UnreadableError("its graph holds no operator")
        return Network(clean(name), "pt2", tuple(self._layers), self._scopes, tuple(self._links),
                       notes=tuple(dict.fromkeys(self._notes)))  # fmt: skip

    # -- names -----------------------------------------------------------------------------------

    def _all_scopes(self, stacks: list[list[Module]]) -> tuple[Scope, ...]:
        """Modules with more than one operator, outer before inner."""
        found: dict[str, str] = {}
        for stack in stacks:
            for path, kind in stack:
                if path and path not in self._alone:
                    found.setdefault(path, kind.rpartition(".")[2])
        scopes = [Scope(_path(path), clean(kind)) for path, kind in found.items()]
        for scope in scopes:  # no layer may have the path of a scope
            head, _, last = scope.path.rpartition("/")
            self._names.unique(f"{head}/" if head else "", last)
        return tuple(sorted(scopes, key=lambda s: s.path.count("/")))

    def _called(self, node: Mapping[str, Any], kind: str) -> tuple[str, str]:
        """Path of a node's layer, and its kind in PyTorch's own words."""
        stack = _stack(node)
        path, module = stack[-1] if stack else ("", "")
        if path in self._alone:
            head, _, last = _path(path).rpartition("/")
            called = module.rpartition(".")[2] if module.startswith(_OWN) else kind
            return self._names.unique(f"{head}/" if head else "", last), clean(called)
        head = _path(path)
        name = str(node.get("name") or _tensors(node["outputs"])[0])
        return self._names.unique(f"{head}/" if head else "", name), clean(kind)

    # -- walking ---------------------------------------------------------------------------------

    def _signature(self, specs: list[Mapping[str, Any]]) -> None:
        """What each input of the graph is: a tensor of the file, or what a person gives."""
        for spec in specs:
            ((kind, entry),) = spec.items()
            if kind == "user_input":
                for name in _tensors([entry["arg"]]):
                    path = self._names.unique("", name)
                    self._layers.append(
                        Layer(path, "InputLayer", output_shape=self._shapes.get(name))
                    )
                    self._made[name] = (path, 0)
                continue
            key = next((str(entry[k]) for k in entry if k.endswith("_name")), "")
            if key in self._weights and "name" in entry.get("arg", {}):
                self._stored[entry["arg"]["name"]] = self._weights[key]

    def _node(self, node: Mapping[str, Any]) -> None:
        outputs = _tensors(node["outputs"])
        if not outputs or _from_nothing(node):
            return  # arithmetic of shapes, checks, constants
        kind = _kind(node)
        given = {entry["name"]: _tensors([entry["arg"]]) for entry in node["inputs"]}
        weights = {
            name if len(names) == 1 else f"{name}_{i}": self._stored[n]
            for name, names in given.items() for i, n in enumerate(names) if n in self._stored
        }  # fmt: skip
        flowing = [n for names in given.values() for n in names if n in self._made]
        turned = {k for k, names in given.items() if any(n in self._turned for n in names)}
        self._used |= {w.name for w in weights.values()}
        if kind in _TURNS and not flowing and len(weights) == 1:
            (weight,) = weights.values()
            if len(weight.shape) == 2 and not turned:
                self._stored[outputs[0]] = weight
                self._turned.add(outputs[0])
                return
        if kind in _CUTS and not flowing and len(weights) == 1 and not turned:
            (weight,) = weights.values()
            pieces = _pieces(weight, [self._shapes.get(name) for name in outputs])
            if pieces:
                self._stored.update(zip(outputs, pieces, strict=True))
                return
        told = {e["name"]: v for e in node["inputs"] if (v := _value(e["arg"])) is not None}
        read = Node(kind, told, weights, frozenset(turned), [self._shapes.get(n) for n in flowing],
                    [self._shapes.get(n) for n in outputs])  # fmt: skip
        if any("as_graph" in e["arg"] for e in node["inputs"]):
            self._notes.append(f"{clean(kind)}: the graphs inside are not shown")
        path, shown = self._called(node, kind)
        params = [self._stored[n] for n in given.get("params", []) if n in self._stored]
        layers = cells(read, params) if kind in CELLS else []
        if not layers:
            self._put(path, shown, read, meaning(read), flowing)
            self._hand_on(outputs, path)
            return
        first = [n for n in given["input"] if n in self._made]
        self._recurrent(path, shown, read, layers, first, outputs)

    def _put(self, path: str, kind: str, node: Node, found: Meaning, flowing: list[str]) -> None:
        shapes = tuple(s or () for s in node.shapes)
        config = clean_tree({**node.values, **found.config})
        self._layers.append(
            Layer(path, kind, config, shapes if all(shapes) else (),
                  node.outputs[0] if node.outputs else None, found.weights, found.operation)
        )  # fmt: skip
        for at, name in enumerate(flowing):
            source, output = self._made[name]
            self._links.append(Link(source, path, output, at, 0, self._shapes.get(name)))

    def _hand_on(self, outputs: list[str], path: str) -> None:
        for at, name in enumerate(outputs):
            self._made[name] = (path, at)

    def _recurrent(self, path: str, kind: str, node: Node, layers: list[list[Meaning]],
                   flowing: list[str], outputs: list[str]) -> None:  # fmt: skip
        """One layer per layer and direction; where there are two, one that joins them."""
        whole = node.outputs[0]
        plain = Node(node.kind, node.values, {}, frozenset(), [], [])
        single = len(layers) == len(layers[0]) == 1
        if not single:
            self._scopes = (*self._scopes, Scope(path, kind))
        for number, ways in enumerate(layers):
            made = []
            for way, found in enumerate(ways):
                own = path if single else f"{path}/l{number}{'_reverse' * way}"
                units = found.config["units"]
                shape = None if whole is None else (*whole[:-1], units)
                shapes = [self._shapes.get(n) for n in flowing]
                one = Node(node.kind, plain.values, {}, frozenset(), shapes, [shape])
                self._put(own, kind, one, found, flowing)
                made.append((own, shape))
            last, shape = made[0]
            if len(made) > 1:
                last = f"{path}/l{number}_concatenate"
                self._layers.append(Layer(last, "concatenate", {"axis": -1}, (), whole, (),
                                          "Concatenate"))  # fmt: skip
                for at, (own, part) in enumerate(made):
                    self._links.append(Link(own, last, 0, at, 0, part))
                shape = whole
            flowing = [f"{outputs[0]} of {number}"]
            self._made[flowing[0]] = (last, 0)
            self._shapes[flowing[0]] = shape
        self._hand_on(outputs, last)

    def _unused(self) -> None:
        """Tensors that no operator reads, with the layer of their module where there is one."""
        places = {layer.path: i for i, layer in enumerate(self._layers)}
        rest: dict[str, list[Weight]] = {}
        for name, weight in self._weights.items():
            if weight.name in self._used:
                continue
            self._used.add(weight.name)
            owner, _, role = name.rpartition(".")
            own = Weight(weight.name, clean(role), weight.shape, weight.dtype, weight.where)
            at = places.get(_path(owner)) if owner else None
            if at is None:
                rest.setdefault(owner, []).append(own)
                continue
            la = self._layers[at]
            self._layers[at] = Layer(la.path, la.kind, la.config, la.input_shapes, la.output_shape,
                                     (*la.weights, own), la.operation)  # fmt: skip
        for owner, weights in rest.items():
            head = _path(owner)
            path = self._names.unique(f"{head}/" if head else "", "unused")
            self._layers.append(Layer(path, "Module", weights=tuple(weights)))


def _path(dotted: str) -> str:
    return "/".join(clean(part) for part in dotted.split(".") if part)


def _stack(node: Mapping[str, Any]) -> list[Module]:
    """The modules around a node, outer first: ``key,path,class;…``."""
    text = node.get("metadata", {}).get("nn_module_stack", "")
    parts = [entry.split(",") for entry in str(text)[:20_000].split(";") if entry]
    return [(p[1], p[-1]) for p in parts if len(p) >= 3]


def _alone(stacks: list[list[Module]]) -> set[str]:
    """Paths of PyTorch's own modules that are one operator and nothing else."""
    around = Counter(path for stack in stacks for path in {p for p, _ in stack})
    inner = {stack[-1] for stack in stacks if stack}
    return {path for path, kind in inner if path and around[path] == 1 and kind.startswith(_OWN)}


def _kind(node: Mapping[str, Any]) -> str:
    """``torch.ops.aten.conv2d.default`` -> ``conv2d``; in place or not."""
    parts = str(node["target"])[:500].split(".")
    name = parts[3] if parts[:2] == ["torch", "ops"] and len(parts) > 3 else parts[-1]
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


def _from_nothing(node: Mapping[str, Any]) -> bool:
    return _kind(node) in CONSTANT


def _turns(node: Mapping[str, Any], stored: set[str]) -> bool:
    """Whether all that a node does is to transpose or to cut a tensor of the file."""
    given = _tensors([entry["arg"] for entry in node["inputs"]])
    return _kind(node) in (*_TURNS, *_CUTS) and set(given) <= stored


def _pieces(weight: Weight, shapes: list[Shape | None]) -> list[Weight]:
    """The rows of a tensor that each part of it has; none where it is cut along another axis."""
    if not weight.shape or not isinstance(weight.where, ByteRange):
        return []
    rows = [shape[0] if shape else None for shape in shapes]
    rest = all(shape is not None and shape[1:] == weight.shape[1:] for shape in shapes)
    if not rest or sum(r or 0 for r in rows) != weight.shape[0] or not all(rows):
        return []
    each, at, made = weight.where.nbytes // weight.shape[0], 0, []
    for count in (r for r in rows if r is not None):
        where = replace(weight.where, offset=weight.where.offset + at * each, nbytes=count * each)
        name, shape = f"{weight.name}[{at}:{at + count}]", (count, *weight.shape[1:])
        made.append(replace(weight, name=name, shape=shape, where=where))
        at += count
    return made


def _tensors(arguments: list[Mapping[str, Any]]) -> list[str]:
    """Names of the tensors in arguments, in order."""
    return [name for argument in arguments for name in _named(argument)]


def _named(argument: Mapping[str, Any]) -> Iterator[str]:
    for key, value in argument.items():
        if key == "as_tensor":
            yield str(value["name"])
        elif key == "as_tensors":
            yield from (str(v["name"]) for v in value)
        elif key == "as_optional_tensors":
            yield from (str(v["as_tensor"]["name"]) for v in value if "as_tensor" in v)
        elif key == "as_optional_tensor" and isinstance(value, dict) and "as_tensor" in value:
            yield str(value["as_tensor"]["name"])
        elif key == "as_nested_tensors":
            yield from (str(v["name"]) for inner in value for v in inner)


def _value(argument: Mapping[str, Any]) -> Any:
    """A plain argument; ``None`` for tensors, graphs and what only a run knows."""
    ((key, value),) = argument.items()
    if key not in _PLAIN or (isinstance(value, list) and len(value) > _MOST):
        return None
    return value


def _shape(sizes: list[Mapping[str, Any]]) -> Shape:
    """Lengths of a tensor; ``None`` where only a run knows them."""
    return tuple(
        s["as_int"] if isinstance(s.get("as_int"), int) and s["as_int"] >= 0 else None
        for s in sizes
    )
