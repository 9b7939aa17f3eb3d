"""One Keras network with every kind of layer that joins units by weights, in every format."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from keras import layers as kl
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.python.framework import convert_to_constants
from tensorflow.python.grappler import tf_optimizer
from truth import Array, Matrix, convolved, multiplied

SIZES = {"first": (4, (3, 3)), "deep": (8, (2, 3)), "grouped": (16, (3, 2))}
"""In channels and window of each convolution."""


def network() -> keras.Model:
    """Convolutions, recurrent layers both ways, attention, a skip and two dense layers."""
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 4), batch_size=1, name="image")
    x = kl.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    x = kl.DepthwiseConv2D((2, 3), depth_multiplier=2, name="deep")(x)
    x = kl.Conv2D(12, (3, 2), groups=2, name="grouped")(x)
    x = kl.Reshape((9, 12), name="rows")(x)
    x = kl.LSTM(5, return_sequences=True, name="lstm")(x)
    x = kl.Bidirectional(kl.LSTM(4, return_sequences=True), name="both")(x)
    x = skip = kl.GRU(6, return_sequences=True, name="gru")(x)
    x = kl.MultiHeadAttention(2, 3, value_dim=4, name="attention")(x, x)
    x = kl.Add(name="skip")([x, skip])
    x = kl.GlobalAveragePooling1D(name="mean")(x)
    x = kl.Dense(7, activation="relu", name="hidden")(x)
    model = keras.Model(image, kl.Dense(3, name="head")(x), name="net")
    rng = np.random.default_rng(17)
    for variable in model.trainable_variables:  # converters leave out biases that are zero
        variable.assign(rng.normal(0, 0.4, variable.shape))
    model(np.zeros((1, 6, 6, 4)))  # exporters want a model that was called
    return model


def recurrent(model: keras.Model, name: str) -> Any:
    """A recurrent layer by its name, ``both/forward`` too."""
    head, _, way = name.partition("/")
    layer = model.get_layer(head)
    return getattr(layer, f"{way}_layer") if way else layer


class Oracle:
    """Answers of the real layers."""

    def __init__(self, model: keras.Model) -> None:
        self.model = model

    @functools.cache  # noqa: B019
    def matrix(self, name: str) -> Matrix:
        """Of a convolution, a dense layer or a part of attention."""
        head, _, part = name.partition("/")
        layer = self.model.get_layer(head)
        if name in SIZES:
            # A layer that is built by its own configuration takes images of any size.
            twin = type(layer).from_config({**layer.get_config(), "activation": "linear"})
            twin.build((None, None, None, SIZES[name][0]))
            twin.set_weights(layer.get_weights())
            return convolved(lambda x: np.asarray(twin(x)), *SIZES[name])
        if part == "attention_output":
            return multiplied(lambda x: np.asarray(layer._output_dense(x.reshape(-1, 1, 2, 4))), 8)
        if part:
            inner = getattr(layer, f"_{part}_dense")
            return multiplied(lambda x: np.asarray(inner(x[:, None])), 6)
        weights, bias = layer.kernel.shape, layer.bias
        return multiplied(
            lambda x: np.asarray(keras.ops.matmul(x, layer.kernel) + bias), weights[0]
        )

    def states(self, name: str, inputs: Array) -> Array:
        """What a recurrent layer answers without its biases, (time, in) to (time, units)."""
        layer = recurrent(self.model, name)
        twin = type(layer).from_config({**layer.get_config(), "go_backwards": False})
        twin.build((1, *inputs.shape))
        twin.set_weights([w if w.shape[-1] != w.size and len(w) > 2 else 0 * w
                          for w in layer.get_weights()])  # fmt: skip
        found: Array = np.asarray(twin(inputs[None].astype(np.float32)))[0]
        return found


def frozen(model: keras.Model, path: Path) -> None:
    """A frozen graph, whose loops are switches and merges."""
    path.write_bytes(_graph(model).SerializeToString())


def _graph(model: keras.Model) -> Any:
    function = tf.function(lambda image: model(image, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((1, 6, 6, 4), tf.float32, "image"))
    return convert_to_constants.convert_variables_to_constants_v2(concrete).graph.as_graph_def()


def browser(model: keras.Model, graph: bool) -> tuple[dict[str, Any], dict[str, Array]]:
    """Topology and tensors as the converter of TensorFlow.js writes them, of layers or a graph."""
    if not graph:
        told = {"class_name": "Functional", "config": model.get_config()}
        topology = {"keras_version": keras.__version__, "backend": "tensorflow",
                    "model_config": told}  # fmt: skip
        return topology, {v.path: v.numpy() for v in model.weights}
    definition, tensors = _folded(_graph(model)), {}
    for node in definition.node:
        if node.op == "Const":
            tensors[node.name] = tf.make_ndarray(node.attr["value"].tensor)
            node.attr["value"].tensor.ClearField("tensor_content")
    return MessageToDict(definition), tensors


def _folded(definition: Any) -> Any:
    """A graph as the converter of TensorFlow.js has TensorFlow simplify it."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
        meta = tf.compat.v1.train.export_meta_graph(graph_def=definition, graph=graph)
    meta.collection_def["train_op"].node_list.value.extend(("image", "Identity"))
    config = config_pb2.ConfigProto()
    rewrites = config.graph_options.rewrite_options
    rewrites.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    rewrites.optimizers[:] = ["pruning", "constfold", "arithmetic", "dependency", "remap"]
    return tf_optimizer.OptimizeGraph(config, meta)
