"""From the operators of a TensorFlow graph to layers and links.

Keras and Estimators run a layer inside a name scope of its own. Operators that share such a scope
become one layer where that is sure to be right: one kernel at most, one thing that flows in, and
one that flows out. All others are layers themselves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from explorer.formats.naming.ordering import topological
from explorer.formats.naming.text import LONGEST_VALUE, Names
from explorer.formats.record import UnreadableError
from explorer.formats.tensorflow_graph.flow import Flow, Op, Ref
from explorer.formats.tensorflow_graph.named_layers import kind_of
from explorer.formats.tensorflow_graph.nodes import told_name
from explorer.formats.tensorflow_graph.operators import (
    BESIDE,
    KERNELS,
    activation_of,
    kernel_axes,
    kernel_meaning,
    meaning,
    roles_by_place,
)
from explorer.formats.tensorflow_graph.words import ELEMENTWISE
from explorer.network import Layer, Link, Network, Shape, Weight
from explorer.plain_text import clean

_ROLES = frozenset((
    "kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "embeddings",
    "recurrent_kernel", "depthwise_kernel", "pointwise_kernel", "alpha", "scale",
))  # fmt: skip
_AGAIN = re.compile(r"_\d+$")
_HIDDEN = ("data_format", "use_cudnn_on_gpu", "grad_a", "grad_b", "value", "dtype", "f")
_INPUT = re.compile(r"^(serving_default|serve|predict)_")


class Layers:
    """Layers and links of a graph.

    Parameters
    ----------
    flow : Flow
        Settled.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._data = [i for i, op in enumerate(flow.ops) if op.data and not _given(op)]
        self._readers: dict[int, set[int]] = {}
        for i in self._data:
            for ref in flow.ops[i].inputs:
                if ref is not None:
                    self._readers.setdefault(ref[0], set()).add(i)
        self._suffix: Counter[str] = Counter()
        self._matched: set[str] = set()
        self._roles: dict[tuple[int, ...], dict[str, Weight]] = {}

    def network(self, name: str, form: str, notes: Iterable[str]) -> Network:
        """What was found.

        Raises
        ------
        UnreadableError
            If nothing flows through it.
        """
        groups = self._groups()
        if not groups:
            raise UnreadableError("its graph holds no operator that data flow through")
        paths = self._paths(groups)
        layers, place = self._inputs(), dict[int, tuple[str, int]]()
        names = Names()
        layers = [replace(la, path=names.unique("", la.path)) for la in layers]
        given = [i for i, op in enumerate(self._flow.ops) if _given(op)]
        place |= {i: (la.path, 0) for i, la in zip(given, layers, strict=True)}
        owned: list[tuple[str, list[int]]] = []
        for path, (scope, members) in zip(paths, groups, strict=True):
            head, slash, last = path.rpartition("/")
            unique = names.unique(head + slash, last or "layer")
            layers.append(self._layer(unique, scope, members))
            place |= dict.fromkeys(members, (unique, 0))
            owned.append((unique, members))
        links = [link for path, members in owned for link in self._links(path, members, place)]
        used = {k.source for k in links} | {k.target for k in links}
        layers = [la for la in layers if la.path in used or la.kind != "InputLayer"]
        at = {la.path: i for i, la in enumerate(layers)}
        order = topological(len(at), {(at[k.source], at[k.target]) for k in links})
        ordered = tuple(layers[i] for i in order)
        return Network(clean(name), form, ordered, links=tuple(links), notes=tuple(notes))

    # -- which operators make a layer ------------------------------------------------------------

    def _groups(self) -> list[tuple[str, list[int]]]:
        """Scope and operators of each layer; the scope is empty for an operator of its own."""
        ops = self._flow.ops
        weighted = {scope for i in self._data if (scope := self._weighted(ops[i]))}
        folders = [_folder(ops[i].name) for i in self._data]
        above = {up for folder in set(folders) for up in _above(folder)}
        found: dict[str, list[int]] = {}
        for i, folder in zip(self._data, folders, strict=True):
            scope = next((s for s in (folder, *_above(folder)) if s in weighted), "")
            if not scope and folder not in above:
                scope = folder
            found.setdefault(scope or f"\0{i}", []).append(i)
        groups = []
        for scope, members in found.items():
            if not scope.startswith("\0") and self._one(scope, members):
                groups.append((scope, members))
            else:
                groups += [("", [i]) for i in members]
        return sorted(groups, key=lambda g: g[1][-1])

    def _weighted(self, op: Op) -> str:
        """The scope of the layer whose weights an operator reads."""
        if not op.weights:
            return ""
        parts = op.name.split("/")
        for weight in op.weights:
            owner = weight.name.split("/")[:-1]
            owner = owner[:-1] if owner[-1:] and owner[-1].endswith("_cell") else owner
            owner = owner[-1:]
            for end in range(len(parts) - 1, 0, -1):
                if owner and _AGAIN.sub("", parts[end - 1]) in (owner[0], _AGAIN.sub("", owner[0])):
                    rest = parts[end - 1].removeprefix(owner[0])
                    if rest and not _AGAIN.fullmatch(rest):
                        continue
                    scope = "/".join(parts[:end])
                    self._suffix[rest] += scope not in self._matched
                    self._matched.add(scope)
                    return scope
        return _folder(op.name)

    def _one(self, scope: str, members: list[int]) -> bool:
        """Whether operators of a scope are one layer."""
        ops, own = self._flow.ops, set(members)
        if len(members) == 1:
            return not any(ops[i].name.startswith(f"{scope}/") for i in self._data if i not in own)\
                or scope in self._matched  # fmt: skip
        outs = self._outs(members)
        taken = {
            ref for i in members for ref in ops[i].inputs
            if ref is not None and ops[ref[0]].data and ref[0] not in own
        }  # fmt: skip
        if len(outs) != 1 or len(taken) != 1:
            return False
        weights = self._named(members)
        if "recurrent_kernel" in weights:
            return kind_of(weights)[0] != "Module"
        kernels = [i for i in members if self._kernel(ops[i]) is not None]
        if kernels:
            return len(kernels) == 1 and all(i in kernels or ops[i].kind in BESIDE for i in members)
        if weights:
            return kind_of(weights)[0] not in ("Module", "Dense")
        return all(ops[i].kind in ELEMENTWISE for i in members)

    def _outs(self, members: list[int]) -> list[int]:
        """The operators of a layer that others read; the last ones where none does."""
        own = set(members)
        read = [i for i in members if self._readers.get(i, own) - own]
        return read or [i for i in members if i not in self._readers]

    def _kernel(self, op: Op) -> Weight | None:
        at = KERNELS.get(op.kind)
        return None if at is None or at >= len(op.inputs) else self._flow.weight_at(op.inputs[at])

    def _named(self, members: list[int]) -> dict[str, Weight]:
        """Weights of a layer by role: by their names, else by where they are read."""
        found = self._roles.get(tuple(members))
        if found is None:
            found = self._roles[tuple(members)] = self._by_role(members)
        return found

    def _by_role(self, members: list[int]) -> dict[str, Weight]:
        found: dict[str, Weight] = {}
        for i in members:
            for weight in roles_by_place(self._flow, self._flow.ops[i]):
                leaf = _AGAIN.sub("", weight.name.rpartition("/")[2])
                role = leaf if leaf in _ROLES else weight.role
                if role != weight.role:
                    weight = replace(weight, role=role)
                known = found.setdefault(role, weight)
                if known.name != weight.name:
                    role = f"{role}_{len(found)}"
                    found[role] = replace(weight, role=role)
        return found

    # -- layers ----------------------------------------------------------------------------------

    def _paths(self, groups: list[tuple[str, list[int]]]) -> list[str]:
        """Names of layers: what every one begins with, and numbers of a repeated run, left out."""
        full = [told_name(scope or self._flow.ops[members[0]].name) for scope, members in groups]
        common = {path.split("/", 1)[0] for path in full if path}
        if len(common) == 1 and all("/" in path for path in full):
            full = [path.split("/", 1)[1] for path in full]
        suffix, count = (self._suffix.most_common(1) or [("", 0)])[0]
        if suffix and 2 * count > sum(self._suffix.values()):
            full = ["/".join(p.removesuffix(suffix) or p for p in path.split("/")) for path in full]
        return full

    def _inputs(self) -> list[Layer]:
        return [
            Layer(_INPUT.sub("", told_name(op.name)) or "input", "InputLayer",
                  output_shape=op.shape)
            for op in self._flow.ops if _given(op)
        ]  # fmt: skip

    def _layer(self, path: str, scope: str, members: list[int]) -> Layer:
        ops = self._flow.ops
        flows = self._flowing(members)
        shapes = tuple(self._shape(ref) or () for ref in flows)
        shapes = shapes if all(shapes) else ()
        last = ops[(self._outs(members) or members)[-1]]
        main = next((ops[i] for i in members if self._kernel(ops[i]) is not None), None)
        own = self._named(members)
        if "recurrent_kernel" in own and len(members) > 1:
            (kind, config), main = kind_of(own), None
        elif main is not None:
            kernel = self._kernel(main)
            assert kernel is not None
            kind, config = kernel_meaning(self._flow, main, kernel, shapes[0] if shapes else None)
            axes = kernel_axes(main)
            own = {r: replace(w, axes=axes) if axes and w.name == kernel.name else w
                   for r, w in own.items()}  # fmt: skip
        elif len(members) == 1:
            kind, config = meaning(self._flow, last)
        elif own:
            kind, config = kind_of(own)
        else:
            kind, config = "Activation", {}
        shown = kind if scope and kind else last.kind
        more = [ops[i].kind for i in members if ops[i] is not main and not ops[i].weights
                and ops[i].kind in ELEMENTWISE]  # fmt: skip
        fused = main.attributes.get("fused_ops") if main is not None else None
        more += [kind for kind in fused if isinstance(kind, str)] if fused else []
        if main is not None and activation_of(more):
            config = {**config, "activation": activation_of(more)}
        if main is not None or len(members) == 1:
            config = {**_plain(main or last), **config}
        return Layer(path, shown, config, shapes, last.shape, tuple(own.values()),
                     "" if kind == shown else kind)  # fmt: skip

    def _flowing(self, members: list[int]) -> list[Ref]:
        """What flows into a layer, in order; into a folded one each thing once."""
        own, ops = set(members), self._flow.ops
        found = [
            ref for i in members for ref in ops[i].inputs
            if ref is not None and ref[0] not in own and ops[ref[0]].data
        ]  # fmt: skip
        return found if len(members) == 1 else list(dict.fromkeys(found))

    def _shape(self, ref: Ref) -> Shape | None:
        return self._flow.ops[ref[0]].shape if not ref[1] else None

    def _links(self, path: str, members: list[int], place: dict[int, tuple[str, int]]
               ) -> Iterable[Link]:  # fmt: skip
        for at, ref in enumerate(self._flowing(members)):
            source, _ = place[ref[0]]
            yield Link(source, path, ref[1], at, 0, self._shape(ref))


def _given(op: Op) -> bool:
    return op.data and op.kind == "Placeholder"


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _above(folder: str) -> Iterable[str]:
    while "/" in folder:
        folder = folder.rpartition("/")[0]
        yield folder


def _plain(op: Op) -> dict[str, object]:
    """Attributes as they are shown: short, and not those of the runtime."""
    return {
        clean(key): clean(value, LONGEST_VALUE) if isinstance(value, str) else value
        for key, value in op.attributes.items()
        if key not in _HIDDEN and key[:1].islower() and isinstance(value, (str, int, bool))
    }
