"""What an ONNX graph has besides operators: constants, graphs inside nodes, functions, detours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import kernel_of, model_of, network_of

from explorer.network import ByteRange

RNG = np.random.default_rng(5)
FLOAT = TensorProto.FLOAT


def _f(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def _value(name: str, shape: Any, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def test_constants_of_every_form(tmp_path: Path) -> None:
    matrix = _f(4, 3)
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([1.5], np.float32), "s"),
        numpy_helper.from_array(np.array([2], np.int64), "at"), [3])  # fmt: skip
    forms: dict[str, dict[str, Any]] = {
        "w": {"value": numpy_helper.from_array(matrix, "any")}, "number": {"value_float": 2.5},
        "numbers": {"value_floats": [1.0, 2.0, 3.0]}, "axis": {"value_ints": [1]},
        "index": {"value_int": 1}, "word": {"value_string": "a"}, "words": {"value_strings": ["a"]},
        "sparse": {"sparse_value": sparse},
    }  # fmt: skip
    nodes = [helper.make_node("Constant", [], [name], **form) for name, form in forms.items()]
    nodes += [
        helper.make_node("MatMul", ["x", "w"], ["a"], "product"),
        helper.make_node("Mul", ["a", "number"], ["b"], "scaled"),
        helper.make_node("Add", ["b", "numbers"], ["c"], "shifted"),
        helper.make_node("Add", ["c", "sparse"], ["d"], "sparsely"),
        helper.make_node("Unsqueeze", ["d", "axis"], ["e"], "wider"),
        helper.make_node("Gather", ["e", "index"], ["y"], "one", axis=2),
    ]
    network = network_of(model_of(nodes, {}, {"x": [1, 4]}), tmp_path / "x")
    assert [la.path for la in network.layers] == [
        "x", "product", "scaled", "shifted", "sparsely", "wider", "one"]  # fmt: skip
    np.testing.assert_array_equal(kernel_of(network, "product"), matrix)
    np.testing.assert_array_equal(kernel_of(network, "scaled", "scale"), np.float32(2.5))
    np.testing.assert_array_equal(kernel_of(network, "shifted", "bias"), [1, 2, 3])
    found = network.layer_by_path["sparsely"].weights[0]
    assert (found.shape, found.where) == ((3,), None)  # shown, and never as numbers
    assert not network.layer_by_path["wider"].weights  # an axis is no weight
    assert network.layer_by_path["wider"].output_shape == (1, 1, 3)


def _body(kind: str) -> tuple[list[Any], dict[str, Any], list[Any]]:
    """A node with graphs inside, its tensors, and what the model is given."""
    w, then, other = _f(4, 4), _f(4, 3), _f(4, 3)
    if kind == "If":  # both branches use the same names for different things
        graphs = [
            helper.make_graph([helper.make_node("MatMul", ["h", "w"], ["out"], "product")], branch,
                              [], [_value("out", [1, 3])], [numpy_helper.from_array(array, "w")])
            for branch, array in (("then", then), ("else", other))
        ]  # fmt: skip
        node = helper.make_node("If", ["t"], ["y"], "choice", then_branch=graphs[0],
                                else_branch=graphs[1])  # fmt: skip
        return [node], {"then": then, "else": other}, [_value("t", [], TensorProto.BOOL)]
    if kind == "Loop":
        body = helper.make_graph(
            [helper.make_node("MatMul", ["state", "w"], ["a"], "product"),
             helper.make_node("Add", ["a", "h"], ["next"], "sum"),
             helper.make_node("Identity", ["go"], ["on"], "on")], "body",
            [_value("i", [], TensorProto.INT64), _value("go", [], TensorProto.BOOL),
             _value("state", [1, 4])],
            [_value("on", [], TensorProto.BOOL), _value("next", [1, 4])],
            [numpy_helper.from_array(w, "w")])  # fmt: skip
        node = helper.make_node("Loop", ["n", "t", "h"], ["y"], "again", body=body)
        given = [_value("n", [], TensorProto.INT64), _value("t", [], TensorProto.BOOL)]
        return [node], {"w": w}, given
    body = helper.make_graph(
        [helper.make_node("MatMul", ["state", "w"], ["a"], "product"),
         helper.make_node("Add", ["a", "row"], ["next"], "sum"),
         helper.make_node("Relu", ["next"], ["out"], "relu")], "body",
        [_value("state", [4]), _value("row", [4])], [_value("next", [4]), _value("out", [4])],
        [numpy_helper.from_array(w, "w")])  # fmt: skip
    node = helper.make_node("Scan", ["start", "h"], ["last", "y"], "along", num_scan_inputs=1,
                            body=body)  # fmt: skip
    return [node], {"w": w}, [_value("start", [4])]


LINKS = {
    "If": {("before", "choice/then_branch/product"), ("before", "choice/else_branch/product"),
           ("choice/then_branch/product", "choice result"), ("t", "choice result"),
           ("choice/else_branch/product", "choice result")},
    "Loop": {("before", "again/body/product"), ("again/body/product", "again/body/sum"),
             ("before", "again/body/sum"), ("t", "again/body/on"),
             ("again/body/sum", "again result"), ("again/body/on", "again result"),
             ("n", "again result"), ("t", "again result"), ("before", "again result")},
    "Scan": {("start", "along/body/product"), ("along/body/product", "along/body/sum"),
             ("before", "along/body/sum"), ("along/body/sum", "along/body/relu"),
             ("along/body/sum", "along result"), ("along/body/relu", "along result"),
             ("start", "along result"), ("before", "along result")},
}  # fmt: skip


@pytest.mark.parametrize("kind", LINKS)
def test_graphs_inside_nodes(kind: str, tmp_path: Path) -> None:
    nodes, tensors, given = _body(kind)
    nodes = [helper.make_node("Relu", ["x"], ["h"], "before"), *nodes,
             helper.make_node("Tanh", ["y"], ["z"], "after")]  # fmt: skip
    model = model_of(nodes, {}, {"x": [1, 4]})
    model.graph.input.extend(given)
    network = network_of(model, tmp_path / "x")
    inner = {(k.source, k.target) for k in network.links}
    result = {"If": "choice", "Loop": "again", "Scan": "along"}[kind] + " result"
    assert inner == LINKS[kind] | {("x", "before"), (result, "after")}
    if kind == "If":
        for branch in ("then", "else"):
            found = kernel_of(network, f"choice/{branch}_branch/product")
            np.testing.assert_array_equal(found, tensors[branch])
        names = {w.name for la in network.layers for w in la.weights}
        assert len(names) == 2  # two tensors, though the file calls both w
    else:
        path = next(la.path for la in network.layers if la.path.endswith("product"))
        np.testing.assert_array_equal(kernel_of(network, path), tensors["w"])


def _functions(depth: int = 1, calls: int = 2) -> onnx.ModelProto:
    """A block of a product, a sum and an activation, called by functions of functions."""
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    block = helper.make_function(
        "own", "Block", ["x", "w", "b"], ["y"],
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["s"]),
         helper.make_node("Relu", ["s"], ["y"], "relu")], opset)  # fmt: skip
    made = [block]
    for level in range(depth):
        inner, names = f"More{level - 1}" if level else "Block", ["x", *"abcdefghij"[: calls - 1]]
        nodes = [
            helper.make_node(inner, [old, "w", "b"], [new], "" if i else "first", domain="own")
            for i, (old, new) in enumerate(zip(names, [*names[1:], "y"], strict=True))
        ]
        made.append(helper.make_function(
            "own", f"More{level}", ["x", "w", "b"], ["y"], nodes, opset))  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node(f"More{depth - 1}", ["x", "w", "b"], ["y"], "net", domain="own")], "g",
        [_value("x", [1, 4])], [_value("y", [1, 4])],
        [numpy_helper.from_array(_f(4, 4), "w"), numpy_helper.from_array(_f(4), "b")])  # fmt: skip
    return helper.make_model(graph, functions=made, opset_imports=opset, ir_version=10)


def test_functions_of_the_model_are_put_in_under_their_calls(tmp_path: Path) -> None:
    model = _functions()
    network = network_of(model, tmp_path / "x")
    blocks = ("net/first", "net/Block")
    names = [f"{block}/{op}" for block in blocks for op in ("MatMul", "Add", "relu")]
    assert [la.path for la in network.layers] == ["x", *names]
    assert {(k.source, k.target) for k in network.links} == set(
        zip(["x", *names[:-1]], names, strict=True)
    )
    expected = numpy_helper.to_array(model.graph.initializer[0])
    for block in blocks:
        np.testing.assert_array_equal(kernel_of(network, f"{block}/MatMul"), expected)
    assert all(la.output_shape == (1, 4) for la in network.layers)
    assert network.parameters == 20


def test_functions_that_would_become_too_many_are_left_alone(tmp_path: Path) -> None:
    """Eight functions that each call the next ten times are three hundred million operators."""
    assert len(network_of(_functions(6), tmp_path / "x").layers) == 1 + 3 * 2**6
    for depth, calls in ((8, 10), (20, 1)):  # too wide, too deep
        network = network_of(_functions(depth, calls), tmp_path / "x")
        assert [la.kind for la in network.layers] == ["InputLayer", f"More{depth - 1}"]
        assert any("single layers" in note for note in network.notes)


def test_functions_that_call_themselves_are_left_alone(tmp_path: Path) -> None:
    model = _functions()
    model.functions[0].node[0].op_type = "More0"
    model.functions[0].node[0].domain = "own"
    network = network_of(model, tmp_path / "x")
    assert [la.kind for la in network.layers] == ["InputLayer", "More0"]


def test_detours_of_a_tensor_are_followed(tmp_path: Path) -> None:
    """Transposed, reshaped, cast or rounded on its way: the numbers are those of the file."""
    w, v, u, r = _f(6, 4), _f(30), _f(3, 5).astype(np.float16), _f(3, 2)
    tensors = {"w": w, "v": v, "u": u, "r": r, "shape": np.array([6, -1]), "k": np.float32(0.1)}
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["a"], "turned"),
        helper.make_node("Reshape", ["v", "shape"], ["vs"]),
        helper.make_node("MatMul", ["a", "vs"], ["b"], "shaped"),
        helper.make_node("Cast", ["u"], ["uf"], to=FLOAT),
        helper.make_node("Transpose", ["uf"], ["ut"]),
        helper.make_node("Gemm", ["b", "ut"], ["c"], "both"),
        helper.make_node("QuantizeLinear", ["r", "k"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "k"], ["rd"]),
        helper.make_node("Gemm", ["c", "rd"], ["y"], "rounded"),
    ]
    tensors = {n: np.asarray(t) for n, t in tensors.items()}
    network = network_of(model_of(nodes, tensors, {"x": [1, 4]}), tmp_path / "x")
    assert [la.path for la in network.layers] == ["x", "turned", "shaped", "both", "rounded"]
    axes = {}
    for path, expected in (("turned", w), ("shaped", v.reshape(6, 5)), ("both", u), ("rounded", r)):
        np.testing.assert_array_equal(kernel_of(network, path), expected)
        kernel = network.layer_by_path[path].weight("kernel")
        assert kernel is not None
        axes[path] = kernel.axes
        units = expected.shape[kernel.axes.index("o")]
        assert network.layer_by_path[path].output_shape == (1, units)
    assert axes == {"turned": "oi", "shaped": "io", "both": "oi", "rounded": "io"}
    assert any("rounded" in note for note in network.notes)


def test_floats_in_typed_fields_are_read_in_place(tmp_path: Path) -> None:
    w = _f(40, 30)
    typed = helper.make_tensor("w", FLOAT, w.shape, w.reshape(-1).tolist())
    double = helper.make_tensor("d", TensorProto.DOUBLE, w.T.shape, w.T.reshape(-1).tolist())
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"], "one"),
             helper.make_node("MatMul", ["a", "d"], ["y"], "two")]  # fmt: skip
    network = network_of(model_of(nodes, {"w": typed, "d": double}, {"x": [1, 40]}), tmp_path / "x")
    for path, expected in (("one", w), ("two", w.T)):
        np.testing.assert_array_equal(kernel_of(network, path), expected)
        kernel = network.layer_by_path[path].weight("kernel")
        assert kernel is not None
        assert isinstance(kernel.where, ByteRange)


def test_many_small_tensors_are_all_read(tmp_path: Path) -> None:
    """What is small is sent along; what does not fit in there is still read in the file."""
    count, width = 300, 100
    biases = {f"b{i}": _f(width) for i in range(count)}
    nodes = [helper.make_node("Add", [f"v{i}", f"b{i}"], [f"v{i + 1}"], f"n{i}")
             for i in range(count)]  # fmt: skip
    nodes.append(helper.make_node("Relu", [f"v{count}"], ["y"], "end"))
    network = network_of(model_of(nodes, biases, {"v0": [1, width]}), tmp_path / "x")
    for i in (0, 7, count - 1):
        np.testing.assert_array_equal(kernel_of(network, f"n{i}", "bias"), biases[f"b{i}"])
    found = [w.where for la in network.layers for w in la.weights]
    assert len(found) == count
    assert all(isinstance(where, ByteRange) for where in found)
